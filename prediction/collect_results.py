"""Collect the trained models into tables: every patient predicted by models that never saw the patient.

Reads   <project_path>/results/*_preds/, splits.json, features.h5, targets.h5, clinical.csv;
        bulk_expression.tsv[.gz], if it is there, for the baseline "bulk target"
Writes  <project_path>/results/<cell type>_genes.csv, abundance.csv, direct.csv, summary.csv, missing_slides.csv,
        predictions.h5
        (columns: data/README.md)

    python prediction/collect_results.py demo
"""
import json
import logging

import h5py
import pandas as pd
from tqdm import tqdm

from evaluation import baselines, out_of_fold, result_tables
from slide_ex import script
from slide_ex.project import cohort_files, predictions_file
from training import patient_splits
from transfer import trained_models


def main(args):
    project, results = args.project_path, args.project_path / "results"
    splits = patient_splits.read(project / "splits.json")
    slides = cohort_files.read_slides(project / "features.h5")
    targets = trained_models.target_readers(project)
    configs = trained_models.finished_folds(results, targets, splits, slides, args.partial)
    bulk_path = bulk_file(project)
    inputs = cohort_files.checksum(configs, args.seed, args.bootstrap, args.baselines,
                                   cohort_files.file_sha256(bulk_path) if bulk_path.is_file() else None)
    if is_collected(results / "predictions.h5", inputs) and not args.overwrite:
        logging.info(f"results: finished ({results / 'summary.csv'})")
        return
    predicted, summary = {}, []
    for name, folds in tqdm(configs.items(), unit="target", disable=None):
        predicted[name] = out_of_fold.collect(results, name, list(folds))
        write_table(result_tables.of_target(name, predicted[name], project / "targets.h5", args.bootstrap, args.seed),
                    results / (f"{name}.csv" if name in predictions_file.GROUPS else f"{name}_genes.csv"))
        models = {"slide-ex": predicted[name]}
        if args.baselines:
            target = targets[name]()
            models |= {model: baselines.predict(model, slides, target, splits, list(folds), bulk_path, args.seed)
                       for model in baselines.MODELS}
        rows = [result_tables.summary_row(name, model, of_model, args.bootstrap, args.seed)
                for model, of_model in models.items() if of_model is not None]
        summary += rows
        quality = "auc" if name == "direct" else "median_r"
        logging.info(f"{name}: {rows[0]['n_patients']} patients, {quality} " + ", ".join(
            f"{row['model']} {row[quality]:.3f}" for row in rows))
    write_table(pd.DataFrame(summary), results / "summary.csv")
    missing = json.loads(slides.attributes.get("missing_slide_ids", "[]"))  # of collect_features.py --allow-missing
    write_table(pd.DataFrame({"slide_id": missing}), results / "missing_slides.csv")
    with script.whole(results / "predictions.h5") as part:
        with h5py.File(part, "w") as file:
            file.attrs.update(encoder=slides.attributes["encoder"], weights=slides.attributes.get("weights", ""),
                              inputs_sha256=inputs)
            for name, of_target in predicted.items():
                predictions_file.write_target(file, name, {"patient_ids": of_target.patient_ids}, of_target.outputs,
                                              labels=of_target.labels, predictions=of_target.predictions)


def bulk_file(project):
    """The bulk expression of the cohort, compressed or not; it may not be there."""
    packed = project / "bulk_expression.tsv.gz"
    return packed if packed.is_file() else project / "bulk_expression.tsv"


def is_collected(path, inputs):
    """Whether predictions.h5, which is written last, comes from these inputs."""
    if not path.is_file():
        return False
    with h5py.File(path) as file:
        return file.attrs.get("inputs_sha256") == inputs


def write_table(table, path):
    with script.whole(path) as part:
        result_tables.write(table, part)


if __name__ == "__main__":
    parser = script.parser(__doc__)
    parser.add_argument("--partial", action="store_true", help="make tables although models are missing")
    parser.add_argument("--no-baselines", dest="baselines", action="store_false", help="only the trained models")
    parser.add_argument("--bootstrap", type=int, default=1000, help="resamplings for intervals, default %(default)s")
    parser.add_argument("--seed", type=int, default=42, help="of bootstrap and shuffled labels, default %(default)s")
    script.run(main, parser.parse_args(), "collect_results")
