"""Predict response to chemotherapy (pCR), or survival, from cell-type expression, and compare with bulk and others.

Reads   clinical.csv (Patient.ID, Response; with --endpoint time and event) and one of: results/predictions.h5
        (default), predictions/<name>/predictions.h5 (--from <name>), targets.h5 (--from targets: RNA, the upper
        reference)
Writes  <project_path>/response/<setting>/: comparison.csv (AUC, average precision, odds ratio, tests; one row a
        feature set), scores.csv (patients x feature sets: probability of pCR), settings.json; with --train-on
        new_patients.csv, the scores of patients whose response is not known (columns: data/README.md)
        with --endpoint <project_path>/survival/<event>_<setting>/: comparison.csv (concordance, log-rank test),
        scores.csv (log hazard), kaplan_meier.csv (by tertiles of the scores), settings.json, new_patients.csv

Four classifiers (DECODEM) are tuned and fitted for each feature set: inside the cohort, in 5 stratified folds of
patients drawn anew with each seed, or on all patients of another project with --train-on. There the classifiers learn
from predictions out of fold of the project that trained the models; here they score predictions/<its name>/.

    python prediction/predict_response.py demo
    python prediction/predict_response.py hospital2 --train-on demo
    python prediction/predict_response.py brca --endpoint Time,Event
"""
import itertools
import logging
from pathlib import Path

from slide_ex import script

from evaluation import result_tables
from response import classifiers, cohorts, comparison_table, cox, feature_sets, scoring, survival
from slide_ex import checksums, ids, record, sharing
from slide_ex.project import clinical_file, description_file
from slide_ex.stages import plan

METRICS = {"auc": "AUC", "c_index": "C"}
RECORDED = "clinical_columns", "min_r", "confidence", "scale_in_cohort", "search", "repeats", "seed", "bootstrap"


def main(args):
    check(args)
    clinical_file.record_words(args.project_path, args)
    if not args.endpoint and description_file.read(args.project_path).response_column in args.clinical_columns:
        raise ValueError("--clinical-columns: the response is what is predicted; leave its column out")
    stage, model, statistics, metric = ("survival", cox, survival, "c_index") if args.endpoint else (
        "response", classifiers, comparison_table, "auc")
    train, new, setting = cohorts.read_both(args.project_path, args.source, args.train_on, args.clinical_columns,
                                            args.endpoint)
    setting = f"{args.endpoint[1]}_{setting}" if args.endpoint else setting
    tables = feature_sets.in_both(train, new, args.min_r, args.confidence, args.genes_from)
    rows = feature_sets.chosen(args.features, tables, set(train.sets) | set(new.sets))
    used = {name: tables[name] for name in tables if any(name in members for members in rows.values())}
    patients = cohorts.align(train, new, used)
    if "clinical" in used and not args.endpoint:
        feature_sets.say_telling(used["clinical"][0].loc[patients.ids], patients.y == 1)
    arrays = feature_sets.arrays(used, patients, args.scale_in_cohort)
    settings = settings_of(args, rows, patients, arrays)
    marker = plan.outputs(args.project_path, stage, setting=setting)[-1]
    folder = marker.parent
    if record.is_finished_folder(marker, "prediction/predict_response.py", settings, args.overwrite):
        logging.info(f"{stage}: finished ({folder})")
        return
    if "xgboost" not in settings.get("classifiers", ["xgboost"]):
        logging.info("xgboost is not installed: the other three classifiers are averaged without it")
    parts = scoring.draw_parts(patients, train is new, args.repeats, args.seed)
    fitted = scoring.of_sets(arrays, patients.y, parts, args.search, args.processes, model)
    scores = scoring.of_rows(rows, fitted, arrays, parts, patients.new_ids)
    comparison = statistics.comparison(scores, patients, rows, used, args.bootstrap, args.seed)
    with script.whole(folder) as part:
        part.mkdir()
        statistics.write(part, scores, patients, comparison)
        files = sorted(path.name for path in part.iterdir())
        record.write(part / "settings.json", settings | {"files": files},
                     [part / name for name in files])
    for _, row in comparison.iterrows():
        if len(rows[row["features"]]) != 2:  # the many pairs are in the table
            logging.info(f"{row['features']}: {METRICS[metric]} {row[metric]:.2f} [{row[f'{metric}_low']:.2f}, "
                         f"{row[f'{metric}_high']:.2f}]")
    logging.info(f"{len(patients.new_ids)} patients scored: {folder}")


def check(args):
    """ValueError and FileNotFoundError for arguments that mean nothing."""
    for name in ("search", "repeats", "bootstrap", "processes"):
        if getattr(args, name) < 1:
            raise ValueError(f"--{name} {getattr(args, name)}: give at least 1")
    if args.endpoint and (len(set(args.endpoint)) != 2 or len(args.endpoint) != 2 or not all(args.endpoint)):
        raise ValueError(f"--endpoint {','.join(args.endpoint)}: give two columns of clinical.csv, as Time,Event")
    ids.refuse_unsafe(args.endpoint[1:], "the column of events", "--endpoint")
    telling = [column for column in args.clinical_columns
               if column in args.endpoint or args.endpoint and clinical_file.tells_survival(column)]
    if telling:
        raise ValueError(f"--clinical-columns {ids.some(telling)}: it tells the endpoint that is predicted; leave "
                         "it out")
    if args.scale_in_cohort and not args.train_on:
        raise ValueError("--scale-in-cohort changes nothing inside one cohort, which is scaled alike anyway: give "
                         "--train-on with it")
    if args.genes_from and not (args.genes_from / "results").is_dir():
        raise FileNotFoundError(f"{args.genes_from / 'results'} is not a folder: --genes-from takes a trained project")


def settings_of(args, rows, patients, arrays):
    """Everything that changes the result, for settings.json."""
    inputs = patients.ids, patients.y, patients.new_ids, patients.new_y, *itertools.chain(*arrays.values())
    models = {"endpoint": args.endpoint, "prior_sds": cox.PRIOR_SDS} if args.endpoint else {
        "classifiers": list(classifiers.classifiers(args.seed))}
    return {"source": args.source, "train_on": args.train_on and args.train_on.resolve().name,
            "features": list(rows), **{name: getattr(args, name) for name in RECORDED},
            **models, "inputs_sha256": checksums.of_content(*inputs)}


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
    parser.add_argument("--endpoint", type=lambda text: tuple(part.strip() for part in text.split(",")), default=(),
                        metavar="TIME,EVENT", help="survival in the place of response: two columns of clinical.csv")
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
    parser.add_argument("--processes", type=int, default=sharing.n_cpus(),
                        help="trainings at a time, default %(default)s, the CPUs of this job")
    script.run(main, parser.parse_args(), "predict_response")
