"""Trains the models of some folds, one after the other or shared between processes, each on its own.

A model is trained on one thread from its own seed, so its numbers depend neither on other folds nor on the number
of processes. Torch is imported where a model is trained.
"""
import dataclasses
import glob
import logging
import multiprocessing
import os
import signal
import socket
import threading
import time
from pathlib import Path

import cohort_files
import fold_results
import model_config
import patient_splits
import prediction_script
from tqdm import tqdm

POOLING_HELP = "tiles: every tile has its own dropout; mean: slide means with noise of that size; default %(default)s"


@dataclasses.dataclass(frozen=True)
class Task:
    """One model to train."""
    target: cohort_files.Target
    outer: int
    inner: int
    config: model_config.Config
    record: dict  # of all that changes the result, for config.json
    path: Path    # fold folder


def add_arguments(parser, max_epochs, patience):
    """Arguments that the three training scripts share."""
    parser.add_argument("outer_fold", help="0-based number, or all")
    parser.add_argument("inner_fold", help="0-based number, or all")
    parser.add_argument("--max-epochs", type=int, default=max_epochs, help="default %(default)s")
    parser.add_argument("--patience", type=int, default=patience, help="epochs without progress, default %(default)s")
    parser.add_argument("--hidden", type=int, default=512, help="hidden units, default %(default)s")
    parser.add_argument("--seed", type=int, default=42, help="default %(default)s")
    parser.add_argument("--keep", choices=["best", "last"], default="best", help="epoch to keep, default %(default)s")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="models at a time, default %(default)s")


def config_of(args, head, pooling):
    """The model's configuration, from the arguments; ValueError for numbers below 1."""
    for name in ("max_epochs", "patience", "hidden", "processes"):
        if getattr(args, name) < 1:
            raise ValueError(f"--{name.replace('_', '-')} {getattr(args, name)}: give at least 1")
    return model_config.Config(head, pooling, args.max_epochs, args.patience, args.hidden, seed=args.seed,
                               keep=args.keep)


def chosen(fold, n_folds):
    """Fold numbers for a command-line argument: a number or `all`."""
    if fold == "all":
        return list(range(n_folds))
    if not fold.isdigit() or int(fold) >= n_folds:
        raise ValueError(f"there is no fold '{fold}': give 0 to {n_folds - 1}, or all")
    return [int(fold)]


def train(args, targets, config):
    """Train the models of the chosen folds for each target; finished ones are skipped, failures listed at the end."""
    slides = cohort_files.read_slides(args.project_path / "features.h5")
    splits_path = args.project_path / "splits.json"
    splits = patient_splits.read(splits_path)
    tasks = []
    for target in targets:
        unused = patient_splits.check_patients(splits, splits_path, slides, target)
        if unused:
            logging.info(f"{target.name}: in no fold, so not used: {cohort_files.examples(unused)}")
        for outer in chosen(args.outer_fold, splits["n_outer"]):
            for inner in chosen(args.inner_fold, splits["n_inner"]):
                record = {"target": target.name, "outer": outer, "inner": inner, **dataclasses.asdict(config),
                          "encoder": slides.attributes["encoder"], "weights": slides.attributes.get("weights"),
                          "features_sha256": slides.sha256, "targets_sha256": target.sha256,
                          "splits_sha256": cohort_files.checksum(splits)}
                path = fold_results.folder(args.project_path / "results", target.name, outer, inner)
                tasks.append(Task(target, outer, inner, config, record, path))
    todo = [task for task in tasks if args.overwrite or not fold_results.is_finished(task.path, task.record)]
    logging.info(f"{len(tasks)} models, {len(tasks) - len(todo)} finished before")
    if not todo:
        return
    import torch
    torch.set_num_threads(1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    import pooling
    pool = pooling.POOLINGS[config.pooling](slides, device)
    n_processes = 1 if device.type == "cuda" else min(args.processes, len(todo))
    failed = share(todo, lambda task: train_one(task, slides, splits, pool), n_processes)
    if failed:
        raise RuntimeError(f"{len(failed)} of {len(todo)} models failed, see above: "
                           + ", ".join(f"{task.target.name} {task.path.name}" for task in failed))


def train_one(task, slides, splits, pool):
    """Train the model of one fold and write its folder, whole or not at all."""
    import mlp
    import torch
    started = time.perf_counter()
    with prediction_script.whole(task.path) as part:
        part.mkdir()
        refuse_second_process(task.path)
        rows, labels = rows_and_labels(task, slides, splits)
        device = pool.means.device
        on_device = {name: torch.from_numpy(of_part).to(device) for name, of_part in rows.items()}
        data = torch.from_numpy(labels).to(device), on_device["train"], on_device["valid"]
        try:
            network, history = mlp.fit(pool, *data, task.config)
        except torch.cuda.OutOfMemoryError:
            if task.config.pooling == "mean" or pool.tiles is None:
                raise
            logging.warning("GPU out of memory: tile features are read from features.h5 from now on")
            pool.tiles = None
            network, history = mlp.fit(pool, *data, task.config)
        parts = {name: {"slide_ids": slides.slide_ids[rows[name]], "patient_ids": slides.patient_ids[rows[name]],
                        "labels": labels[rows[name]], "predictions": mlp.predict(network, pool, on_device[name])}
                 for name in ("valid", "test")}
        fold_results.write(part, task.record, network, history, task.target.outputs, parts)
    score = list(history[0])[-1]
    best = max(history, key=lambda epoch: epoch[score])
    logging.info(f"{task.target.name} {task.path.name}: best {score} {best[score]:.3f} in epoch {best['epoch']} of "
                 f"{len(history)}, {time.perf_counter() - started:.1f} s")


def rows_and_labels(task, slides, splits):
    """Row numbers of the slides of train, valid and test, and the labels of all slides (NaN without).

    ValueError for a part without slides and for a classifier's training or validation part of one class only.
    """
    outer = splits["outer"][task.outer]
    patients = {**outer["inner"][task.inner], "test": outer["test"]}
    rows = {name: slides.rows_of(set(of_part) & set(task.target.patient_ids)) for name, of_part in patients.items()}
    labels = task.target.of_slides(slides)
    for name, of_part in rows.items():
        if len(of_part) == 0:
            raise ValueError(f"no slide in the {name} part of fold {task.outer} {task.inner}: draw fewer folds with "
                             "make_splits.py --outer --inner --overwrite")
        if task.config.head == "classification" and name != "test" and len(set(labels[of_part, 0])) < 2:
            raise ValueError(f"one class only in the {name} part of fold {task.outer} {task.inner}: draw the folds "
                             "again with make_splits.py --stratify response --overwrite")
    return rows, labels


def refuse_second_process(path):
    """OSError when another running process of this machine is at work on the same fold."""
    before_pid, after_pid = f".part-{socket.gethostname()}-", f"-{path.name}"
    for other in path.parent.glob(f"{glob.escape(before_pid)}*{after_pid}"):
        pid = other.name.removeprefix(before_pid).removesuffix(after_pid)
        if pid.isdigit() and int(pid) != os.getpid() and prediction_script.is_running(int(pid)):
            raise OSError(f"{path} is being made by process {pid}: wait for it, or stop it")


def share(tasks, work, n_processes):
    """Call work(task) for each task in n_processes forked processes; the tasks that failed, each logged on a line.

    Forked processes share the data of this one without copies. They end with it, even when it is killed.
    """
    context = multiprocessing.get_context("fork")
    next_task, done = context.Value("i", 0), context.Array("b", len(tasks))

    def work_on_all():
        while True:
            with next_task.get_lock():
                number, next_task.value = next_task.value, next_task.value + 1
            if number >= len(tasks):
                return
            task = tasks[number]
            try:
                work(task)
                done[number] = True
            except Exception as error:
                logging.error(f"failed: {task.target.name} {task.path.name}: {type(error).__name__}: {error}")

    def in_process():
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it too, and ends this process
        threading.Thread(target=lambda: (multiprocessing.parent_process().join(), os._exit(1)), daemon=True).start()
        work_on_all()

    if n_processes == 1:
        work_on_all()
    else:
        processes = [context.Process(target=in_process) for _ in range(n_processes)]
        try:
            for process in processes:
                process.start()
            with tqdm(total=len(tasks), unit="model", disable=None) as bar:
                while any(process.is_alive() for process in processes):
                    processes[0].join(0.2)
                    bar.update(sum(done) - bar.n)
        finally:
            for process in processes:
                process.terminate()
                process.join()
    return [task for task, is_done in zip(tasks, done) if not is_done]
