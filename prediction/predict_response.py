"""Predict response to chemotherapy (pCR) from cell-type expression, and compare it with bulk, the direct model, ...

Reads   clinical.csv (Patient.ID, Response) and one of: results/predictions.h5 (default), predictions/<name>/
        predictions.h5 (--from <name>), targets.h5 (--from targets: the RNA itself, the upper reference)
Writes  <project_path>/response/<setting>/: comparison.csv (AUC, average precision, odds ratio, tests; one row a
        feature set), scores.csv (patients x feature sets: probability of pCR), settings.json; with --train-on
        new_patients.csv, the scores of patients whose response is not known (columns: data/README.md)

Four classifiers (DECODEM) are tuned and fitted for each feature set: inside the cohort, in 5 stratified folds of
patients drawn anew with each seed, or on all patients of another project with --train-on. There the classifiers learn
from predictions out of fold of the project that trained the models; here they score predictions/<its name>/.

    python prediction/predict_response.py demo
    python prediction/predict_response.py hospital2 --train-on demo
"""
import itertools
import logging
import os
from pathlib import Path

from evaluation import result_tables
from response import classifiers, cohorts, comparison_table, feature_sets, scoring
from slide_ex import checksums, record, script
from slide_ex.project import clinical_file, description_file
from slide_ex.stages import plan

RECORDED = "clinical_columns", "min_r", "confidence", "scale_in_cohort", "search", "repeats", "seed", "bootstrap"


def main(args):
    check(args)
    clinical_file.record_words(args.project_path, args)
    train, new, setting = cohorts.read_both(args.project_path, args.source, args.train_on,
                                                     args.clinical_columns)
    tables = feature_sets.in_both(train, new, args.min_r, args.confidence, args.genes_from)
    rows = feature_sets.chosen(args.features, tables, set(train.sets) | set(new.sets))
    used = {name: tables[name] for name in tables if any(name in members for members in rows.values())}
    patients = cohorts.align(train, new, used)
    arrays = feature_sets.arrays(used, patients, args.scale_in_cohort)
    settings = settings_of(args, rows, patients, arrays)
    folder = plan.outputs(args.project_path, "response", setting=setting)[-1].parent
    if is_finished(args.project_path, setting, settings, args.overwrite):
        logging.info(f"response: finished ({folder})")
        return
    if "xgboost" not in settings["classifiers"]:
        logging.info("xgboost is not installed: the other three classifiers are averaged without it")
    parts = scoring.draw_parts(patients, train is new, args.repeats, args.seed)
    fitted = dict(scoring.of_sets(arrays, patients.y, parts, args.search, args.processes))
    scores = scoring.of_rows(rows, fitted, arrays, parts, patients.new_ids)
    comparison = comparison_table.comparison(scores, patients, rows, used, args.bootstrap, args.seed)
    with script.whole(folder) as part:
        part.mkdir()
        comparison_table.write(part, scores, patients, comparison)
        files = sorted(path.name for path in part.iterdir())
        record.write(part / "settings.json", settings | {"files": files},
                     [part / name for name in files])
    for _, row in comparison.iterrows():
        if len(rows[row["features"]]) != 2:  # the many pairs are in the table
            logging.info(f"{row['features']}: AUC {row['auc']:.2f} [{row['auc_low']:.2f}, {row['auc_high']:.2f}]")
    logging.info(f"{len(patients.new_ids)} patients scored: {folder}")


def check(args):
    """ValueError and FileNotFoundError for arguments that mean nothing."""
    for name in ("search", "repeats", "bootstrap", "processes"):
        if getattr(args, name) < 1:
            raise ValueError(f"--{name} {getattr(args, name)}: give at least 1")
    if args.scale_in_cohort and not args.train_on:
        raise ValueError("--scale-in-cohort changes nothing inside one cohort, which is scaled alike anyway: give "
                         "--train-on with it")
    if args.genes_from and not (args.genes_from / "results").is_dir():
        raise FileNotFoundError(f"{args.genes_from / 'results'} is not a folder: --genes-from takes a trained project")


def is_finished(project, setting, settings, overwrite):
    """Whether all files of a setting are there, made as now; ValueError when they were made in another way."""
    *_, marker = plan.outputs(project, "response", setting=setting)
    if overwrite or not marker.is_file():
        return False
    made = record.read(marker, "prediction/predict_response.py")
    files = made.pop("files", [])
    record.refuse_other(marker.parent, made, settings)
    return bool(files) and all((marker.parent / name).is_file() for name in files)


def settings_of(args, rows, patients, arrays):
    """Everything that changes the result, for settings.json."""
    inputs = patients.ids, patients.y, patients.new_ids, patients.new_y, *itertools.chain(*arrays.values())
    return {"source": args.source, "train_on": args.train_on and args.train_on.resolve().name,
            "features": list(rows), **{name: getattr(args, name) for name in RECORDED},
            "classifiers": list(classifiers.classifiers(args.seed)),
            "inputs_sha256": checksums.of_content(*inputs)}


if __name__ == "__main__":
    parser = script.parser(__doc__)
    parser.add_argument("--features", nargs="+", metavar="SET",
                        help="cell types, Bulk, abundance, direct, 'mean colour', clinical, ensembles as 'CAFs + PVL', "
                             "and the groups 'cell types', pairs and 'top triple'; default all that there are")
    parser.add_argument("--from", dest="source", metavar="NAME",
                        help="trained models whose predictions in predictions/ are used; results: those out of fold; "
                             "targets: RNA; default results, with --train-on its name")
    parser.add_argument("--train-on", type=Path, metavar="PROJECT", help="learn from the patients of another project")
    parser.add_argument("--clinical-columns", nargs="+", default=[], metavar="COLUMN",
                        help="columns of clinical.csv for the feature set clinical; default none")
    description_file.add_response_options(parser)
    parser.add_argument("--min-r", type=float, default=result_tables.R_THRESHOLDS[0],
                        help="R of genes in the training cohort, more than; default %(default)s")
    parser.add_argument("--confidence", type=float,
                        help="of genes in the training cohort, at least; DECODEM's is 0.99; default that of targets.h5")
    parser.add_argument("--genes-from", type=Path, metavar="PROJECT",
                        help="take R and confidence from the results/ of this project; default beside the predictions")
    parser.add_argument("--scale-in-cohort", action="store_true",
                        help="with --train-on: features from 0 to 1 over the patients of each cohort, as in "
                             "DECODEM; then no patient can be scored alone")
    parser.add_argument("--search", type=int, default=10, help="settings tried a classifier, default %(default)s")
    parser.add_argument("--repeats", type=int, default=5, help="seeds to average over, default %(default)s")
    parser.add_argument("--bootstrap", type=int, default=1000, help="resamplings for intervals, default %(default)s")
    parser.add_argument("--seed", type=int, default=42, help="of folds, classifiers, bootstrap; default %(default)s")
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)),
                        help="trainings at a time, default %(default)s, the CPUs of this job")
    script.run(main, parser.parse_args(), "predict_response")
