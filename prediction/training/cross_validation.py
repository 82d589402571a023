"""Which models to train, from the arguments of the three scripts, and their sharing between processes.

Networks are trained one by one; the low-rank models of a target and outer fold are solved together, because they share
their choice of penalty, rank and colour weight. A model is trained on one thread from its own seed, so its numbers
depend neither on other folds nor on the number of processes. Torch is imported only when there is a model to train.
"""
import contextlib
import dataclasses
import logging
from pathlib import Path

import numpy as np

from slide_ex import checksums, claim, sharing
from slide_ex.ids import counted
from slide_ex.project import features_file, model_folder, splits_file, targets_file
from training import low_rank, model_config

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
    n_models = 1

    @property
    def label(self):
        return f"{self.target.name} {self.path.name}"


@dataclasses.dataclass(frozen=True)
class LowRankTask:
    """The low-rank models of some inner folds of one outer fold."""
    target: targets_file.Target
    outer: int
    colour_weights: tuple
    models: list  # of (inner, record, path), as in Task

    @property
    def label(self):
        return f"{self.target.name} low-rank, outer fold {self.outer}"

    @property
    def n_models(self):
        return len(self.models)


def add_arguments(parser, max_epochs, patience):
    """Arguments that the three training scripts share."""
    parser.add_argument("outer_fold", help="0-based number, or all")
    parser.add_argument("inner_fold", help="0-based number, or all")
    parser.add_argument("--model", choices=[*model_folder.MODELS, model_folder.BOTH], default=model_folder.NETWORK,
                        help="network: as published; low-rank: ridge in closed form, in seconds (the options below are "
                             "of the network); default %(default)s")
    parser.add_argument("--max-epochs", type=int, default=max_epochs, help="default %(default)s")
    parser.add_argument("--patience", type=int, default=patience, help="epochs without progress, default %(default)s")
    parser.add_argument("--hidden", type=int, default=512, help="hidden units, default %(default)s")
    parser.add_argument("--learning-rate", type=float, default=model_config.Config.learning_rate,
                        help="of the network, default %(default)s, as published")
    parser.add_argument("--standardise", action="store_true",
                        help="the features of the network, by the training slides; not published")
    parser.add_argument("--seed", type=int, default=42, help="default %(default)s")
    parser.add_argument("--keep", choices=["best", "last"], default="best", help="epoch to keep, default %(default)s")
    parser.add_argument("--processes", type=int, default=sharing.n_cpus(),
                        help="models at a time, default %(default)s, the CPUs of this job")


def config_of(args, head, pooling):
    """The model's configuration, from the arguments; ValueError for numbers below 1."""
    for name in ("max_epochs", "patience", "hidden", "processes"):
        if getattr(args, name) < 1:
            raise ValueError(f"--{name.replace('_', '-')} {getattr(args, name)}: give at least 1")
    if not 0 < args.learning_rate < 1:
        raise ValueError(f"--learning-rate {args.learning_rate}: give a number above 0 and below 1")
    return model_config.Config(head, pooling, args.max_epochs, args.patience, args.hidden,
                               learning_rate=args.learning_rate, seed=args.seed, keep=args.keep,
                               standardise=args.standardise)


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
    numbers = [(outer, inner) for outer in chosen(args.outer_fold, splits["n_outer"])
               for inner in chosen(args.inner_fold, splits["n_inner"])]
    for target in targets:
        unused = splits_file.check_patients(splits, splits_path, slides, target)
        if unused:
            logging.info(f"{target.name}: in no fold, so not used: {counted(unused)}")
    kinds = model_folder.kinds(args.model)
    for target in targets:  # these folders say what is to be there, also when this process does not live to its end
        for kind in kinds:
            model_folder.of_target(args.project_path / "results", kind, target.name).mkdir(parents=True, exist_ok=True)
    failed = []
    if model_folder.LOW_RANK in kinds:  # first, because they take seconds
        failed += train_low_rank_models(args, targets, slides, splits, numbers)
    if model_folder.NETWORK in kinds:
        failed += train_networks(args, targets, slides, splits, numbers, config)
    if failed:
        again = " without --overwrite" if args.overwrite else ""
        raise ValueError(f"{sum(task.n_models for task, _ in failed)} models failed: {sharing.listed(failed)}; when "
                         f"that is fixed, run the same command again{again}, which trains only what is left")


def train_networks(args, targets, slides, splits, numbers, config):
    """Train the networks of the folds `numbers` that are not finished; list of sharing.Failed."""
    tasks = [Task(target, outer, inner, config, *record_and_path(
        args.project_path, model_folder.NETWORK, target, outer, inner, slides, splits, config.record()))
        for target in targets for outer, inner in numbers]
    todo = [task for task in tasks if not is_finished(task.path, task.record, args.overwrite)]
    logging.info(f"{len(tasks)} models, {len(tasks) - len(todo)} finished before")
    if not todo:
        return []
    from training import duration, train_model  # and torch with it
    pool = train_model.pooling_of(slides, config)
    told = duration.warning(pool, todo, slides, splits) if config.pooling == "tiles" else ""
    if told:
        logging.warning(told)
    n_processes = 1 if pool.device.type == "cuda" else args.processes
    import_metrics(todo)

    def work(task):
        with left_to_do(task.label, task.path, task.record, args.overwrite) as is_left:
            if is_left:
                train_model.train_one(task, slides, splits, pool)
    return sharing.share(todo, work, n_processes)


def train_low_rank_models(args, targets, slides, splits, numbers):
    """The same for low-rank models; tasks of one outer fold follow one another, because they share decompositions."""
    without = slides.slide_ids[~np.isfinite(slides.mean_rgb).all(1)]  # features of other tools come without colours
    if len(without):
        logging.info(f"low-rank models use no colour, because the mean colour is not known of {counted(without)}")
    weights = (0.0,) if len(without) else low_rank.COLOUR_WEIGHTS
    options = {"model": model_folder.LOW_RANK, "penalties": low_rank.PENALTIES, "ranks": low_rank.RANKS,
               "colour_weights": weights, "colours_sha256": checksums.of_content(slides.mean_rgb)}
    todo, n_finished = [], 0
    for outer in sorted({outer for outer, _ in numbers}):
        for target in targets:
            models = [(inner, *record_and_path(args.project_path, model_folder.LOW_RANK, target, outer, inner, slides,
                                               splits, options)) for k, inner in numbers if k == outer]
            left = [(inner, record, path) for inner, record, path in models
                    if not is_finished(path, record, args.overwrite)]
            n_finished += len(models) - len(left)
            if left:
                todo.append(LowRankTask(target, outer, weights, left))
    logging.info(f"{len(targets) * len(numbers)} low-rank models, {n_finished} finished before")
    if not todo:
        return []
    from training import train_low_rank  # and torch with it
    trainer = train_low_rank.Trainer(slides, splits)
    import_metrics(todo)

    def work(task):
        with contextlib.ExitStack() as claims:
            left = [(inner, record, path) for inner, record, path in task.models
                    if claims.enter_context(left_to_do(task.label, path, record, args.overwrite))]
            if left:
                trainer.train(dataclasses.replace(task, models=left))
    return sharing.share(todo, work, args.processes)


def import_metrics(tasks):
    """Import what a response needs of scikit-learn before processes are forked, once for all of them."""
    if any(task.target.name == "direct" for task in tasks):
        from sklearn import linear_model, metrics  # noqa: F401


def is_finished(path, record, overwrite):
    """Whether a model is; then a claim that a killed process left beside it goes."""
    is_there = model_folder.is_finished(path, record, overwrite)
    if is_there:
        claim.forget(path)
    return is_there


def left_to_do(label, path, record, overwrite):
    """Claim the folder of a model for a with-block; gives whether it is to be made here, see claim.left_to_do."""
    return claim.left_to_do(path, label, lambda: model_folder.is_finished(path, record, overwrite))


def record_and_path(project, model, target, outer, inner, slides, splits, options):
    """What decides the numbers of a model, for its config.json, and its folder."""
    record = {"target": target.name, "outer": outer, "inner": inner, **options,
              "encoder": slides.attributes["encoder"], "weights": slides.attributes.get("weights"),
              "features_sha256": slides.sha256, "targets_sha256": target.sha256,
              "splits_sha256": checksums.of_content(splits)}
    return record, model_folder.folder(model_folder.root(project / "results", model), target.name, outer, inner)
