"""Train the models that predict the abundance of all cell types from a slide.

Reads   <project_path>/features.h5, targets.h5, splits.json
Writes  <project_path>/results/cell_fraction_preds/result_<outer>_<inner>/ (files: data/README.md)

    python prediction/1main_abundance_regression.py demo all all
"""
from slide_ex import script
from slide_ex.project import targets_file
from training import cross_validation

MAX_EPOCHS, PATIENCE = 1000, 50  # published: docs/method.md


def main(args):
    target = targets_file.read_abundance(args.project_path / "targets.h5")
    cross_validation.train(args, [target], cross_validation.config_of(args, "regression", args.pooling))


if __name__ == "__main__":
    parser = script.parser(__doc__)
    cross_validation.add_arguments(parser, MAX_EPOCHS, PATIENCE)
    parser.add_argument("--pooling", choices=["mean", "tiles"], default="mean", help=cross_validation.POOLING_HELP)
    script.run(main, parser.parse_args(), "abundance_regression")
