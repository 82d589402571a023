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

from slide_ex import script

import pandas as pd

from collection import target_collection
from slide_ex import checksums, gene_table, sharing
from slide_ex.project import (
    clinical_file,
    features_file,
    model_folder,
    predictions_file,
    splits_file,
    targets_file,
)
from slide_ex.stages import plan
from transfer import trained_models


def main(args):
    project, results = args.project_path, args.project_path / "results"
    if args.processes < 1:
        raise ValueError(f"--processes {args.processes}: give at least 1")
    splits = splits_file.read(project / splits_file.NAME)
    slides = features_file.read_slides(project / features_file.NAME)
    targets = targets_file.readers(project)
    configs = trained_models.finished_folds(results, targets, splits, slides, args.partial)
    used = {name: trained_models.BLEND if len(of_target) > 1 else list(of_target)[0]
            for name, of_target in trained_models.in_use(configs, args.use).items()}
    by_model = {model: {name: of_target[model] for name, of_target in configs.items() if model in of_target}
                for model in model_folder.MODELS}
    bulk_path = gene_table.find(project, "bulk_expression")
    site_of = read_sites(project)
    made_from = {"models_sha256": model_folder.models_sha256(by_model), "use": args.use or "",
                 "inputs_sha256": checksums.of_content(configs, site_of, args.use, args.seed, args.bootstrap,
                                                       args.baselines, bulk_path and checksums.of_file(bulk_path))}
    tables, (summary_path, missing_path, marker) = outputs(project, configs)
    if is_collected([*tables.values(), summary_path, missing_path, marker], made_from, args.overwrite):
        logging.info(f"results: finished ({summary_path})")
        return
    marker.unlink(missing_ok=True)
    remove_orphans(results, tables)
    collection = target_collection.Collection(args, slides, targets, splits, configs, used, site_of, bulk_path, tables)
    with script.room_beside(marker) as room:
        collected = target_collection.collect_all(collection, room)
        write_table = target_collection.write_table
        write_table(pd.DataFrame([row for of_target in collected for row in of_target.read_rows()]), summary_path)
        write_table(pd.DataFrame({"slide_id": features_file.missing_slides(slides.attributes)}), missing_path)
        written = checksums.of_files([*tables.values(), summary_path, missing_path], marker.parent)
        with script.whole(marker) as part:
            predictions_file.write(part, ((of_target.label, of_target.read_predicted()) for of_target in collected),
                                   made_from | {"models": json.dumps(used), "encoder": slides.attributes["encoder"],
                                                "weights": slides.attributes.get("weights", "")}, written)


def read_sites(project):
    """Patient to Site of clinical.csv, where there is one."""
    path = project / clinical_file.NAME
    return clinical_file.read_groups(path, "Site") if clinical_file.has_column(path, "Site") else {}


def outputs(project, targets):
    """Path of the table of each target (dict), and the paths of summary, missing slides and predictions.h5."""
    tables = {name: predictions_file.table_of(project / "results", name) for name in targets}
    return tables, plan.outputs(project, "results")


def is_collected(paths, made_from, overwrite):
    """Whether all tables are there and come from these inputs; others are made again without asking, in minutes."""
    if overwrite or not all(path.is_file() for path in paths):
        return False
    return made_from.items() <= predictions_file.read_attributes(paths[-1]).items()


def remove_orphans(results, tables):
    """Remove tables of targets that have no models any more: nothing would say that they are old."""
    known = [*predictions_file.tables_of_genes(results).values(),
             *(predictions_file.table_of(results, name) for name in predictions_file.GROUPS)]
    for path in set(known) - set(tables.values()):
        path.unlink(missing_ok=True)


if __name__ == "__main__":
    parser = script.parser(__doc__)
    parser.add_argument("--partial", action="store_true", help="make tables although models are missing")
    trained_models.add_arguments(parser)
    parser.add_argument("--no-baselines", dest="baselines", action="store_false", help="only the trained models")
    parser.add_argument("--bootstrap", type=int, default=1000, help="resamplings for intervals, default %(default)s")
    parser.add_argument("--seed", type=int, default=42, help="of bootstrap and shuffled labels, default %(default)s")
    parser.add_argument("--processes", type=int, default=sharing.n_cpus(),
                        help="targets at a time, if memory allows it; default %(default)s, the CPUs of this job")
    script.run(main, parser.parse_args(), "collect_results")
