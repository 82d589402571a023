"""What a project still lacks, and the commands that make it: one plan, carried out by Slurm or on this machine.

A unit is what final outputs stand for: a slide, a model, or a stage as a whole. The stages rename an output to its
final name when it is whole, so a unit is missing exactly when one of its outputs is. A task is what one process tree
does: some commands of a stage, which make some missing units. Standard library only: HDF5 files are not opened, their
existence and the tables beside them say enough.
"""
import csv
import json
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SINGLE = {  # stages of one command: script, output, and what makes the output outdated when it is newer
    "deconvolution": ("deconvolution/1main_deconvolution.py", "deconvolution/expression.h5", None),
    "targets": ("deconvolution/prepare_targets.py", "targets.h5", None),
    "masks": ("slide_processing/collect_mask.py", "mask.pdf", "mask/*.pdf"),
    "features": ("slide_processing/collect_features.py", "features.h5", "features/*.h5"),
    "splits": ("prediction/make_splits.py", "splits.json", None),
    "results": ("prediction/collect_results.py", "results/predictions.h5", "results/*_preds/result_*"),
    "figures": ("prediction/figures.py", "figures/figures.json", "results/predictions.h5")}
FOLDS_NEED = ("targets", "features", "splits")
TRAINING = {"abundance": ("prediction/1main_abundance_regression.py", "cell_fraction_preds"),
            "direct": ("prediction/1main_direct.py", "direct_preds")}  # other targets are cell types


@dataclass(frozen=True)
class Stage:
    """A stage of the pipeline and what one task of it asks of the cluster."""
    name: str
    after: tuple    # names of the stages whose outputs it reads
    minutes: int    # time limit for each unit of a task
    memory_gb: int
    cpus: int
    gres: str


@dataclass(frozen=True)
class Task:
    """Commands, one after the other, and the names of the units that they make."""
    commands: tuple
    units: tuple


@dataclass(frozen=True)
class Step:
    """Tasks of one stage that are submitted together; `is_retry` after a kill for memory, with twice as much."""
    stage: Stage
    tasks: tuple
    is_retry: bool = False

    @property
    def name(self):
        return self.stage.name + ("-retry" if self.is_retry else "")


def read_table(path):
    """Rows of a CSV file as dicts; FileNotFoundError names the file."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing, see data/README.md")
    with open(path, newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


def slide_ids(project):
    """`Slide.ID` of each row of metadata.csv, all different; the stage itself checks the rest of the table."""
    ids = [(row.get("Slide.ID") or "").strip() for row in read_table(project / "metadata.csv")]
    if not ids or not all(ids) or len(set(ids)) < len(ids):
        raise ValueError(f"{project / 'metadata.csv'} needs a column Slide.ID, filled and without repetition")
    return ids


def target_names(project):
    """Cell types that have genes to learn, `abundance`, and `direct` where a response is known."""
    counts = read_table(project / "deconvolution" / "target_genes.csv")
    names = [row["cell_type"] for row in counts if int(list(row.values())[-1]) > 0]  # last column: after all filters
    clinical = project / "clinical.csv"
    responses = read_table(clinical) if clinical.is_file() else []
    return names + ["abundance"] + ["direct"] * any((row.get("Response") or "").strip() for row in responses)


def n_folds(project):
    """Numbers of outer and inner folds."""
    splits = json.loads((project / "splits.json").read_text())
    return splits["n_outer"], splits["n_inner"]


def units(project, stage_name):
    """All units of a stage: name to the list of its outputs."""
    if stage_name == "slides":
        return {i: [project / "features" / f"{i}.h5", project / "mask" / f"{i}.pdf"] for i in slide_ids(project)}
    if stage_name == "folds":
        n_outer, n_inner = n_folds(project)
        folders = {name: project / "results" / TRAINING.get(name, (None, f"{name}_preds"))[1]
                   for name in target_names(project)}
        return {f"{name} {outer} {inner}": [folder / f"result_{outer}_{inner}"] for name, folder in folders.items()
                for outer in range(n_outer) for inner in range(n_inner)}
    return {stage_name: [project / SINGLE[stage_name][1]]}


def missing(project, stage_name):
    """Names of the units that lack an output, in order; labels from elsewhere need no deconvolution."""
    if stage_name == "deconvolution" and (project / "targets.h5").exists():
        return []
    return [name for name, outputs in units(project, stage_name).items() if not all(path.exists() for path in outputs)]


def is_outdated(project, stage_name):
    """Whether a collection is older than something it was collected from."""
    _, output, sources = SINGLE[stage_name]
    if sources is None or not (project / output).exists():
        return False
    made = (project / output).stat().st_mtime
    return any(source.stat().st_mtime > made for source in project.glob(sources))


def folds_are_known(project):
    """Whether everything is there that training reads, and from which its task list is made."""
    return not any(missing(project, name) for name in FOLDS_NEED)


def make(project, stages, args, under_way=frozenset(), tried=None, retried=frozenset()):
    """The steps to submit now, in order.

    Parameters
    ----------
    under_way : set of (stage name, unit)
        In the queue: not submitted again.
    tried : dict of (stage name, unit) to bool, or None
        Whether units that this chain of jobs tried before ended well. They are not tried again, except for stages
        that follow one which is.
    retried : set of (stage name, unit)
        Killed for memory: tried again with more.
    """
    steps, moving, stopped = [], {stage for stage, _ in under_way}, set()
    by_name = {stage.name: stage for stage in stages}
    tried = {key: well for key, well in (tried or {}).items() if key not in retried}
    settled = {*under_way, *tried}
    for stage in stages:
        before = ancestors(stage, by_name)
        if stage.name == "folds" and (not folds_are_known(project) or before & (moving | stopped)):
            break  # the task list is not known yet: the job at the end of this chain goes on
        if stage.name in SINGLE:
            key = (stage.name, stage.name)
            follows = before & {step.stage.name for step in steps}
            todo = single_todo(project, stage.name, before & moving)
            gone = key in tried and not follows
            if set(stage.after) & stopped or gone and (not tried[key] or missing(project, stage.name)):
                stopped.add(stage.name)
            if stage.name in stopped or gone or key in under_way and not follows:
                todo = []
        else:
            todo = [name for name in missing(project, stage.name) if (stage.name, name) not in settled]
        for is_retry in (False, True):
            names = [name for name in todo if ((stage.name, name) in retried) == is_retry]
            if names:
                steps.append(Step(stage, tuple(tasks(project, stage, names, args)), is_retry))
                moving.add(stage.name)
    return steps


def single_todo(project, name, is_renewed):
    """The one unit of a stage in a list, or nothing to do. `is_renewed`: something before it is being made."""
    return [name] if is_renewed or missing(project, name) or is_outdated(project, name) else []


def ancestors(stage, by_name):
    """Names of all stages before `stage`."""
    return set(stage.after).union(*(ancestors(by_name[name], by_name) for name in stage.after))


def tasks(project, stage, names, args):
    """Tasks that make the units `names` of a stage."""
    if stage.name == "slides":
        index = {slide_id: i for i, slide_id in enumerate(slide_ids(project))}
        return [Task((command(project, args, stage.name, "slide_processing/1main_processing.py",
                              format_indexes([index[name] for name in part])),), tuple(part))
                for part in parts(names, args.slides_per_task)]
    if stage.name == "folds":
        by_target = {}
        for name in names:
            by_target.setdefault(name.rsplit(" ", 2)[0], []).append(name)
        return [Task(tuple(fold_commands(project, args, target, part)), tuple(part))
                for target, of_target in by_target.items() for part in parts(of_target, args.folds_per_task)]
    return [Task((command(project, args, stage.name, SINGLE[stage.name][0]),), tuple(names))]


def fold_commands(project, args, target, names):
    """Commands that train the models `names` of one target: `all` for all folds, or all inner ones of an outer."""
    n_outer, n_inner = n_folds(project)
    inner_of = {}
    for name in names:
        _, outer, inner = name.rsplit(" ", 2)
        inner_of.setdefault(outer, []).append(inner)
    if len(names) == n_outer * n_inner:
        folds = [("all", "all")]
    else:
        folds = [fold for outer, inner in inner_of.items()
                 for fold in ([(outer, "all")] if len(inner) == n_inner else [(outer, i) for i in inner])]
    script = TRAINING.get(target, ("prediction/1main_cs_exp_regression.py",))[0]
    return [command(project, args, "folds", script, *fold, *([] if target in TRAINING else [target]),
                    "--processes", str(args.cpus_of_folds)) for fold in folds]


def command(project, args, stage_name, script, *words):
    """A command line, quoted for a shell."""
    extra = shlex.split(args.stage_args.get(stage_name, ""))
    if stage_name == "features" and args.allow_missing:
        extra += ["--allow-missing", str(args.allow_missing)]
    return shlex.join([args.python, str(ROOT / script), str(project), *words, *extra])


def parts(names, size):
    """Consecutive pieces of at most `size` names."""
    return [names[i:i + size] for i in range(0, len(names), size)]


def format_indexes(indexes):
    """Ascending numbers as 1main_processing.py takes them: [0, 1, 2, 5] is 0-2,5."""
    runs = []
    for index in indexes:
        if runs and index == runs[-1][1] + 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    return ",".join(f"{first}-{last}" if last > first else str(first) for first, last in runs)
