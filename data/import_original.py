"""Take over a project made for the published scripts: features, labels, folds, response and trained models.

Pickles are read without running them (data/original/pickles.py). Rows are joined by the ids that the tables hold; where
they hold none, by row number as the published scripts do, and the log says so. The models become those of prediction/
and predict the test slides again; differences to the predictions stored beside them are reported.

Reads   <original_path>/metadata.csv, feature/*.pkl or features.pkl, breast_<cell type>_log_exp_merged.pkl with
        breast_<cell type>_gene_file.csv, breast_cell_frac_merged.pkl, cell_types_file.csv,
        splits/train_valid_test_idx.npz, patient_data.pkl, results/*_preds/result_*_*/model_trained.pth
Writes  <project_path>/metadata.csv, features.h5, targets.h5, splits.json, clinical.csv, results/, preparation.json

    python data/import_original.py old_project my_project --encoder ctranspath
"""
import argparse
import contextlib
import logging
from pathlib import Path

from slide_ex.script import parser, run, whole

from inputs import preparation
from original import models, original_project, targets
from slide_ex import checksums
from slide_ex.project import clinical_file, features_file, features_writing, metadata_file, model_folder, splits_file

PUBLISHED = {"tile_px": 512, "magnification": 20, "normalisation": "macenko"}  # of the tiles of the published scripts


def main(args):
    original, project = args.original_path, args.project_path
    if not original.is_dir():
        raise FileNotFoundError(f"{original} is not a folder: give the project folder of the published scripts")
    sources = sorted(path for path in original.rglob("*") if path.is_file())
    now = {"original": checksums.of_sizes(sources), "encoder": args.encoder, "log_base": args.log_base,
           "patient_column": args.patient_column, "without_splits": args.without_splits}
    if preparation.is_finished(project, now, args.overwrite):
        logging.info("%s is finished: skipped", project / "preparation.json")
        return
    slides = original_project.read_slides(original, args.patient_column)
    folds, test_slides = (None, None) if args.without_splits else original_project.folds(original, slides)
    response, note = original_project.response(original, slides)
    logging.info(note or "no patient_data.pkl: no response")

    preparation.begin(project, now)
    with whole(project / "targets.h5") as part:
        labelled, notes = targets.write(part, original, slides, args.log_base)
    for line in notes:
        logging.info(line)
    with whole(project / "features.h5") as part:
        n_tiles = features_writing.write(part, slides, original_project.bags(original, slides),
                                         features_file.WEIGHTS_OF_IMPORTS | PUBLISHED
                                         | {"encoder": args.encoder, "source": "import_original.py"})
    logging.info("features.h5: %d slides, %d tiles", len(slides), n_tiles.sum())
    outputs = ["metadata.csv", "targets.h5", "features.h5"]
    if folds:
        folds = original_project.restricted(folds, labelled)
        splits_file.write(project / "splits.json", folds)
        logging.info("splits.json: %d x %d folds, no patient on two sides", folds["n_outer"], folds["n_inner"])
        for line, folders in models.import_all(original, project, slides, folds, test_slides, response):
            logging.info(line)
            outputs += [f"{folder}/{name}" for folder in folders for name in model_folder.IMPORTED]
        outputs.append("splits.json")
    if response is not None:
        with whole(project / "clinical.csv") as part:
            clinical_file.write(part, response.rename_axis("Patient.ID").rename("Response").to_frame())
        outputs.append("clinical.csv")
    with whole(project / "metadata.csv") as part:
        metadata_file.write(part, slides)
    preparation.end(project, now, outputs)


if __name__ == "__main__":
    first = argparse.ArgumentParser(add_help=False)
    first.add_argument("original_path", type=Path, help="the project folder of the published scripts")
    p = argparse.ArgumentParser(parents=[first, parser(__doc__)], add_help=False, description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--encoder", required=True, help="what made the features, e.g. ctranspath (768 numbers) or resnet50 "
                   "(2048): the original does not record it")
    p.add_argument("--patient-column", help="column of metadata.csv with the patient, where ids are no TCGA barcodes")
    p.add_argument("--log-base", type=float, help="base of the labels' logarithm, for the record")
    p.add_argument("--without-splits", action="store_true", help="leave out folds and models")
    arguments = p.parse_args()
    with contextlib.suppress(OSError):  # what is wrong with the path is said by run()
        arguments.project_path.mkdir(parents=True, exist_ok=True)
    run(main, arguments, "import_original")
