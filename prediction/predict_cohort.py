"""Predict the patients of another hospital with trained models: expression, abundance and response, without labels.

Reads   <project_path>/features.h5, and where they are there targets.h5 and clinical.csv, for statistics;
        --models: the folder of a trained project, or of a bundle (prediction/export_model.py)
Writes  <project_path>/predictions/<name of the trained project or bundle>/: predictions.h5, slides.csv and, with
        labels, <cell type>_genes.csv, abundance.csv, direct.csv, summary.csv, overlap.csv (columns: data/README.md);
        with --csv also predictions and half-widths of their intervals as tables

A prediction is the mean of all models. --outer-only takes the first inner model of each outer fold, by default five
of 25. Patients that the models were trained on are refused.

    python prediction/predict_cohort.py hospital2 --models demo
"""
import logging
from pathlib import Path

from slide_ex import script

import pandas as pd
from tqdm import tqdm

from evaluation import intervals
from slide_ex import checksums, record, text_table
from slide_ex.ids import counted
from slide_ex.project import features_file, predictions_file
from slide_ex.stages import plan
from transfer import cohort_prediction, model_bundle, trained_models, training_range, transfer_tables

MADE_BY = "prediction/predict_cohort.py"


def main(args):
    slides = features_file.read_slides(args.project_path / "features.h5")
    models = model_bundle.read_any(args.models, args.cell_types, args.partial, args.use)
    trained_models.refuse_other_features(models, slides)
    trained_models.refuse_shared_patients(models, slides)
    folds = {name: trained_models.first_inner(target) if args.outer_only else target.folds
             for name, target in models.targets.items()}
    labels = transfer_tables.read_labels(args.project_path, list(models.targets))
    half_widths = {name: target.half_widths() for name, target in models.targets.items()}
    settings = {"models_sha256": models.sha256, "features_sha256": slides.sha256, "outer_only": args.outer_only}
    inputs = checksums.of_content(settings, {name: target.sha256 for name, target in labels.items()}, args.bootstrap,
                                   args.seed, args.csv, [t.pearson_r.to_json() for t in models.targets.values()],
                                   [None if widths is None else widths.tolist() for widths in half_widths.values()])
    folder = args.project_path / "predictions" / models.name
    if not args.overwrite and is_finished(args.project_path, models.name, settings, inputs):
        logging.info(f"predictions: finished ({folder})")
        return
    with script.whole(folder) as part:
        part.mkdir()
        text_table.write_results(range_table(models, slides), part / "slides.csv")
        tables = transfer_tables.Tables(args.project_path / "targets.h5", args.bootstrap, args.seed)
        n_models = {}
        for name, target in tqdm(models.targets.items(), unit="target", disable=None):
            predicted = cohort_prediction.predict(target, slides, folds[name])
            known = transfer_tables.with_nan(predicted, labels.get(name))
            predictions_file.write_cohort_target(part / "predictions.h5", name, slides, predicted, known,
                                                 half_widths[name])
            if args.csv:
                write_predictions(predicted, name, part, half_widths[name])
            n_models[name] = predicted.n_models
            logging.info(f"{name}: {len(predicted.patient_ids)} patients, {predicted.n_models} models")
            if name in labels:
                tables.add(name, predicted, labels[name], target.pearson_r, half_widths[name])
        for name, table in tables.finished().items():
            text_table.write_results(table, part / f"{name}.csv")
        written = sorted(path.name for path in part.iterdir())
        predictions_file.write_attributes(part / predictions_file.NAME, settings | {
            "trained": models.name, "n_models": max(n_models.values()), "encoder": slides.attributes["encoder"],
            "weights": slides.attributes.get("weights", ""), "inputs_sha256": inputs,
            "files": predictions_file.as_attribute(written)})
    logging.info(f"{len(slides.slide_ids)} slides predicted: {folder}")


def is_finished(project, name, settings, inputs):
    """Whether the predictions are there; ValueError when they are of other models, folds or features."""
    *_, marker = plan.outputs(project, "predictions", name=name)
    if not marker.is_file():
        return False
    found = predictions_file.read_attributes(marker, MADE_BY)
    record.refuse_other(marker.parent, {name: found.get(name) for name in settings}, settings,
                        "keep it and give the same models and options, or replace it with --overwrite")
    files = predictions_file.files_of(found)
    return found["inputs_sha256"] == inputs and bool(files) and all((marker.parent / name).is_file() for name in files)


def range_table(models, slides):
    """One row a slide: how far it is from the slides that the models learnt from."""
    distance, quantile = training_range.distances(models.training, slides.mean_features)
    outside = quantile > training_range.OUTSIDE
    if outside.any():
        logging.info(f"outside the range of the training slides: {counted(slides.slide_ids[outside])}")
    return pd.DataFrame({"slide_id": slides.slide_ids, "patient_id": slides.patient_ids, "n_tiles": slides.n_tiles,
                         "distance": distance, "quantile": quantile, "outside": outside})


def write_predictions(predicted, name, folder, half_widths):
    """One row a patient, one column a gene or cell type; the names differ from those of the statistics."""
    if half_widths is not None:
        text_table.write_results(pd.DataFrame({"output": predicted.outputs, intervals.NAME: half_widths}),
                                 folder / f"{name}_intervals.csv")
    table = pd.DataFrame(predicted.predictions, predicted.patient_ids, predicted.outputs).rename_axis("patient_id")
    suffix = "_predictions" if name in predictions_file.GROUPS else ""
    text_table.write_results(table.reset_index(), folder / f"{name}{suffix}.csv")


if __name__ == "__main__":
    parser = script.parser(__doc__)
    parser.add_argument("--models", type=Path, required=True, help="folder of a trained project or of a bundle")
    parser.add_argument("--cell-types", nargs="+", default=[], metavar="NAME",
                        help="cell types, abundance or direct; default all that are trained")
    trained_models.add_arguments(parser)
    parser.add_argument("--outer-only", action="store_true", help="one model of each outer fold instead of all")
    parser.add_argument("--partial", action="store_true", help="predict although models are missing")
    parser.add_argument("--csv", action="store_true", help="write predictions as tables too")
    parser.add_argument("--bootstrap", type=int, default=1000, help="resamplings for intervals, default %(default)s")
    parser.add_argument("--seed", type=int, default=42, help="of the bootstrap, default %(default)s")
    script.run(main, parser.parse_args(), "predict_cohort")
