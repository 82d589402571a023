"""Collect the trained models into tables: every patient predicted by models that never saw the patient.

Reads   <project_path>/results/*_preds/, splits.json, features.h5, targets.h5, clinical.csv;
        bulk_expression.tsv[.gz], if it is there, for the baseline "bulk target"
Writes  <project_path>/results/<cell type>_genes.csv, abundance.csv, direct.csv, summary.csv, missing_slides.csv,
        predictions.h5
        (columns: data/README.md)

    python prediction/collect_results.py demo
"""
import logging

import pandas as pd
from tqdm import tqdm

from evaluation import baselines, out_of_fold, result_tables
from slide_ex import checksums, gene_table, script, text_table
from slide_ex.project import features_file, predictions_file, splits_file, targets_file
from slide_ex.stages import plan
from transfer import trained_models


def main(args):
    project, results = args.project_path, args.project_path / "results"
    splits = splits_file.read(project / splits_file.NAME)
    slides = features_file.read_slides(project / features_file.NAME)
    targets = targets_file.readers(project)
    configs = trained_models.finished_folds(results, targets, splits, slides, args.partial)
    bulk_path = gene_table.find(project, "bulk_expression")
    made_from = {"models_sha256": checksums.of_content(configs), "inputs_sha256": checksums.of_content(
        configs, args.seed, args.bootstrap, args.baselines, bulk_path and checksums.of_file(bulk_path))}
    tables, (summary_path, missing_path, marker) = outputs(project, configs)
    if is_collected([*tables.values(), summary_path, missing_path, marker], made_from, args.overwrite):
        logging.info(f"results: finished ({summary_path})")
        return
    marker.unlink(missing_ok=True)
    remove_orphans(results, tables)
    predicted, summary = {}, []
    for name, folds in tqdm(configs.items(), unit="target", disable=None):
        predicted[name] = out_of_fold.collect(results, name, list(folds))
        write_table(result_tables.of_target(name, predicted[name], project / "targets.h5", args.bootstrap, args.seed),
                    tables[name])
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
    write_table(pd.DataFrame(summary), summary_path)
    write_table(pd.DataFrame({"slide_id": features_file.missing_slides(slides.attributes)}), missing_path)
    with script.whole(marker) as part:
        predictions_file.write(part, predicted, made_from | {
            "encoder": slides.attributes["encoder"], "weights": slides.attributes.get("weights", "")})


def outputs(project, targets):
    """Path of the table of each target (dict), and the paths of summary, missing slides and predictions.h5."""
    tables = {name: project / "results" / (f"{name}.csv" if name in predictions_file.GROUPS else f"{name}_genes.csv")
              for name in targets}
    return tables, plan.outputs(project, "results")


def is_collected(paths, made_from, overwrite):
    """Whether all tables are there and come from these inputs; others are made again without asking, in minutes."""
    if overwrite or not all(path.is_file() for path in paths):
        return False
    return made_from.items() <= predictions_file.read_attributes(paths[-1]).items()


def remove_orphans(results, tables):
    """Remove tables of targets that have no models any more: nothing would say that they are old."""
    known = [*results.glob("*_genes.csv"), *(results / f"{name}.csv" for name in predictions_file.GROUPS)]
    for path in set(known) - set(tables.values()):
        path.unlink(missing_ok=True)


def write_table(table, path):
    with script.whole(path) as part:
        text_table.write_results(table, part)


if __name__ == "__main__":
    parser = script.parser(__doc__)
    parser.add_argument("--partial", action="store_true", help="make tables although models are missing")
    parser.add_argument("--no-baselines", dest="baselines", action="store_false", help="only the trained models")
    parser.add_argument("--bootstrap", type=int, default=1000, help="resamplings for intervals, default %(default)s")
    parser.add_argument("--seed", type=int, default=42, help="of bootstrap and shuffled labels, default %(default)s")
    script.run(main, parser.parse_args(), "collect_results")
