"""What is collected of one target, by itself: its table, its rows of the summary, its predictions; and of all.

Forked processes share what was read and decomposed before. What each leaves for the files of all targets is in a file
of its own, so that predictions of no more than one target a process are in memory.
"""
import argparse
import dataclasses
import itertools
import logging
from pathlib import Path

import numpy as np

from evaluation import baselines, gram, out_of_fold, result_tables, training_length
from slide_ex import record, script, sharing, text_table
from slide_ex.project import features_file, model_folder, predictions_file, targets_file
from transfer import trained_models

MODEL = "slide-ex"  # in summary.csv, what --use chose; the others have their own names
BYTES_OF_A_LABEL = 60   # that a process has in memory, as measured, for each label of its target


@dataclasses.dataclass(frozen=True)
class Collection:
    """What the tables of all targets are made from."""
    args: argparse.Namespace
    slides: features_file.Slides
    targets: dict           # of name to function that reads the target
    splits: dict
    configs: dict           # trained_models.finished_folds
    used: dict              # of target to the kind of model of which its table is
    site_of: dict
    bulk_path: Path | None
    tables: dict            # of target to its path


@dataclasses.dataclass(frozen=True)
class Collected:
    """What one target leaves for the files of all: its rows of the summary and its predictions."""
    label: str      # its name
    path: Path      # of the files, without their suffixes

    def write(self, rows, predicted):
        """rows: list of dict; predicted: predictions_file.Predicted"""
        record.write(self.path.with_suffix(".json"), {"rows": [
            {column: value.item() if isinstance(value, np.generic) else value for column, value in row.items()}
            for row in rows]})
        predictions_file.write(self.path.with_suffix(".h5"), [(self.label, predicted)], {})

    def read_rows(self):
        return record.read(self.path.with_suffix(".json"), predictions_file.OUT_OF_FOLD_MADE_BY)["rows"]

    def read_predicted(self):
        return predictions_file.read_target(self.path.with_suffix(".h5"), self.label)


def collect_all(collection, folder):
    """Write the tables of all targets, as many at a time as there are CPUs and memory for; list of Collected, whose
    files are in the folder."""
    args, path = collection.args, collection.args.project_path / targets_file.NAME
    tasks = [Collected(name, folder / str(number)) for number, name in enumerate(collection.configs)]
    n_processes = sharing.affordable(min(args.processes, len(tasks)), BYTES_OF_A_LABEL * targets_file.n_labels(path))
    known = shared_of_baselines(collection, path) if n_processes > 1 and args.baselines else {}
    n_threads = max(1, gram.threads // n_processes)

    def work(task):
        if n_processes > 1:
            gram.use_threads(n_threads)
        collect(collection, task, known)
    sharing.share_all(tasks, work, n_processes, "target", "collected")
    return tasks


def shared_of_baselines(collection, targets_path):
    """Read and decompose, before processes are forked, what baselines of most targets need; see baselines.predict."""
    if collection.bulk_path:
        baselines.bulk_table(collection.bulk_path)
    folds = sorted({fold for of_target in collection.configs.values()
                    for fold in trained_models.common_folds(of_target)})
    return baselines.decompose(collection.slides, targets_file.read_patients(targets_path), collection.splits, folds)


def collect(collection, task, known):
    """Write the table of a target, and what it leaves (`task`); known: see baselines.predict."""
    args, name, of_target = collection.args, task.label, collection.configs[task.label]
    folds = trained_models.common_folds(of_target)
    trained = trained_predictions(args.project_path / "results", name, of_target, folds)
    trained = {head: out_of_fold.with_sites(of_head, collection.site_of) for head, of_head in trained.items()}
    predicted = trained.pop(collection.used[name])
    write_table(result_tables.of_target(name, predicted, args.project_path / targets_file.NAME, args.bootstrap,
                                        args.seed), collection.tables[name])
    heads = {MODEL: collection.used[name]} | {head: head for head in trained}
    models, by_model = itertools.chain({MODEL: predicted, **trained}.items(),
                                       of_baselines(collection, name, folds, known)), {}
    if name == "direct":
        models = list(models)
        by_model = {kind: one.predictions for kind, one in models if one and kind in (*model_folder.MODELS, "ridge")
                    and list(one.patient_ids) == list(predicted.patient_ids)}
    rows = result_tables.summary_rows(name, models, args.bootstrap, args.seed, heads)
    if model_folder.NETWORK in of_target:
        add_training_length(rows, args.project_path / "results", name, of_target[model_folder.NETWORK])
    task.write(rows, predictions_file.Predicted(predicted.patient_ids, predicted.outputs, predicted.predictions,
                                                predicted.labels, by_model))
    quality = result_tables.quality(name)
    logging.info(f"{name}: {rows[0]['n_patients']} patients, {quality} " + ", ".join(
        f"{row['model']} {row[quality]:.3f}" for row in rows))


def of_baselines(collection, name, folds, known):
    """Name and OutOfFold of each baseline of a target, None where there is none, one after the other."""
    if not collection.args.baselines:
        return
    target = collection.targets[name]()
    for model in baselines.MODELS:
        of_model = baselines.predict(model, collection.slides, target, collection.splits, folds, collection.bulk_path,
                                     collection.args.seed, known)
        yield model, of_model and out_of_fold.with_sites(of_model, collection.site_of)


def trained_predictions(results, name, kinds, folds):
    """OutOfFold by kind of model of a target, and of their mean where there are both."""
    found = {kind: out_of_fold.collect(model_folder.root(results, kind), name, folds) for kind in kinds}
    return found | {trained_models.BLEND: out_of_fold.blend(list(found.values()))} if len(found) > 1 else found


def add_training_length(rows, results, name, configs):
    """Add n_hardly_trained to the rows of networks, with a warning where some are; configs: dict by fold."""
    n_ended, n_first, n_networks = training_length.hardly_trained(results, name, configs)
    if n_ended or n_first:
        logging.warning(f"{name}: {n_ended + n_first} of {n_networks} networks are hardly trained: {n_ended} ended at "
                        f"--max-epochs, {n_first} are of the first {training_length.FIRST_EPOCHS} epochs; see "
                        "docs/models.md")
    for row in rows:
        if row["head"] in (model_folder.NETWORK, trained_models.BLEND):
            row["n_hardly_trained"] = n_ended + n_first


def write_table(table, path):
    with script.whole(path) as part:
        text_table.write_results(table, part)
