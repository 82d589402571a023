"""Which models to train, from the arguments of the three scripts, and their sharing between processes.

A model is trained on one thread from its own seed, so its numbers depend neither on other folds nor on the number
of processes. Torch is imported only when there is a model to train.
"""
import dataclasses
import logging
import multiprocessing
import os
import signal
from pathlib import Path

from tqdm import tqdm

from slide_ex import checksums, script
from slide_ex.ids import counted
from slide_ex.project import features_file, model_folder, splits_file, targets_file
from training import model_config

POOLING_HELP = "tiles: every tile has its own dropout; mean: slide means with noise of that size; default %(default)s"


@dataclasses.dataclass(frozen=True)
class Task:
    """One model to train."""
    target: targets_file.Target
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
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)),
                        help="models at a time, default %(default)s, the CPUs of this job")


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
    slides = features_file.read_slides(args.project_path / "features.h5")
    splits_path = args.project_path / "splits.json"
    splits = splits_file.read(splits_path)
    tasks = []
    for target in targets:
        unused = splits_file.check_patients(splits, splits_path, slides, target)
        if unused:
            logging.info(f"{target.name}: in no fold, so not used: {counted(unused)}")
        for outer in chosen(args.outer_fold, splits["n_outer"]):
            for inner in chosen(args.inner_fold, splits["n_inner"]):
                record = {"target": target.name, "outer": outer, "inner": inner, **dataclasses.asdict(config),
                          "encoder": slides.attributes["encoder"], "weights": slides.attributes.get("weights"),
                          "features_sha256": slides.sha256, "targets_sha256": target.sha256,
                          "splits_sha256": checksums.of_content(splits)}
                path = model_folder.folder(args.project_path / "results", target.name, outer, inner)
                tasks.append(Task(target, outer, inner, config, record, path))
    todo = [task for task in tasks if not model_folder.is_finished(task.path, task.record, args.overwrite)]
    logging.info(f"{len(tasks)} models, {len(tasks) - len(todo)} finished before")
    if not todo:
        return
    from training import train_model  # and torch with it
    pool = train_model.pooling_of(slides, config)
    n_processes = 1 if pool.device.type == "cuda" else min(args.processes, len(todo))
    failed = share(todo, lambda task: train_model.train_one(task, slides, splits, pool), n_processes)
    if failed:
        names = ", ".join(f"{task.target.name} {task.path.name}" for task in failed)
        raise ValueError(f"{len(failed)} of {len(todo)} models failed: {names}; fix what the lines above say and run "
                         "the same command again, which trains only what is left")


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
        script.end_with_parent()
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
