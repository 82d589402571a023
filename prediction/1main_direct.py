"""Train the direct models: response to chemotherapy (pCR or RD) from a slide, without expression.

Reads   <project_path>/features.h5, clinical.csv, splits.json
Writes  <project_path>/results/direct_preds/result_<outer>_<inner>/ (files: data/README.md)

    python prediction/1main_direct.py demo all all
"""
from slide_ex import script
from slide_ex.project import clinical_file, description_file, splits_file, targets_file
from training import cross_validation

MAX_EPOCHS, PATIENCE = 1000, 500  # published: docs/method.md


def main(args):
    clinical_file.record_words(args.project_path, args)
    clinical = args.project_path / clinical_file.NAME
    target = targets_file.read_response(clinical)
    clinical_file.compare(clinical, splits_file.read(args.project_path / splits_file.NAME)["patients"])
    config = cross_validation.config_of(args, "classification", "tiles")  # the mean does not commute with ReLU
    cross_validation.train(args, [target], config)


if __name__ == "__main__":
    parser = script.parser(__doc__)
    cross_validation.add_arguments(parser, MAX_EPOCHS, PATIENCE)
    description_file.add_response_options(parser)
    script.run(main, parser.parse_args(), "direct")
