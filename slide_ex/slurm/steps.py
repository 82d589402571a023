"""What a project lacks, as tasks: the states of its stages turned into commands, for Slurm or for this machine.

A task is what one process tree does: some commands of a stage, which make some of its units that are missing or stale.
"""
import shlex
from dataclasses import dataclass, replace
from pathlib import Path

from slide_ex.slurm import task_lists
from slide_ex.stages import model_states, plan, project_states
from slide_ex.stages.model_states import Model
from slide_ex.stages.state import NOT_NEEDED

CONTINUE = plan.Stage("continue", "submit_slurm.py", (), needs=plan.Needs(15, 2, 1))   # after everything else


@dataclass(frozen=True)
class Work:
    """How the work on a project is cut into tasks, and what their commands have in common."""
    project: Path
    python: str            # that runs the scripts
    slides_per_task: int
    folds_per_task: int
    allow_missing: int     # slides, of features.h5
    cpus_of: dict          # stage name to the CPUs of each of its tasks
    options_of: dict       # stage name to more words of its commands, where there are any


@dataclass(frozen=True)
class Task:
    """Commands, one after the other, and the names of the units that they make."""
    commands: tuple
    units: tuple


@dataclass(frozen=True)
class Step:
    """Tasks of one stage that are submitted together; `is_retry` after a kill for memory, with twice as much."""
    stage: plan.Stage
    tasks: tuple
    is_retry: bool = False

    @property
    def name(self):
        return self.stage.name + (task_lists.RETRY if self.is_retry else "")


@dataclass(frozen=True)
class Tried:
    """What a chain of jobs has done so far, as sets of (stage name, unit)."""
    under_way: frozenset = frozenset()       # in the queue
    ended: frozenset = frozenset()           # well or not
    lacked_memory: frozenset = frozenset()   # of these; tried once more, with twice as much

    def settles(self, stage, unit):
        """Whether a unit is not to be submitted (again) in this chain."""
        return (stage.name, unit) in self.under_way | (self.ended - self.lacked_memory)


def make(states, work, tried=Tried()):
    """The steps to submit now, in order: what is missing or stale.

    What was tried before in this chain is not tried again, except for stages that follow one which is. A stage is left
    out when one before it was tried and is still not over, and when something has to be fixed before its models are
    known.
    """
    steps, moving, stopped = [], {name for name, _ in tried.under_way}, set()
    for state in in_pipeline(states):
        stage, before = plan.BY_NAME[state.name], plan.ancestors(state.name)
        if stage.made_for == plan.MODEL and (before & (moving | stopped) or not are_over(states, before)):
            break   # their tasks are not known yet: the job at the end of this chain goes on
        follows = before & {step.stage.name for step in steps}
        lacking = [*state.stale, *state.missing]
        todo = [unit for unit in lacking if follows or not tried.settles(stage, unit)]
        was_in_vain = lacking and not todo and state.name not in moving
        if before & stopped or model_states.are_unknown(state) or (was_in_vain and stage.made_for == plan.PROJECT):
            stopped.add(state.name)
            continue
        for is_retry in (False, True):
            units = [unit for unit in todo if ((state.name, unit) in tried.lacked_memory) == is_retry]
            if units:
                steps.append(Step(stage, tuple(tasks(state, units, work)), is_retry))
                moving.add(state.name)
    return steps


def fitting(steps, n_tasks):
    """Of the steps the first `n_tasks` tasks, and no step that follows one which is cut."""
    found, cut = [], set()
    for step in steps:
        now = () if cut & plan.ancestors(step.stage.name) else step.tasks[:n_tasks]
        n_tasks -= len(now)
        if len(now) < len(step.tasks):
            cut.add(step.stage.name)
        if now:
            found.append(replace(step, tasks=now))
    return found


def in_pipeline(states):
    """States of the stages that are steps of the pipeline and are needed here."""
    wanted = {stage.name for stage in plan.PIPELINE}
    return [state for state in states if state.name in wanted and state.status != NOT_NEEDED]


def are_over(states, names):
    return all(state.is_over() for state in states if state.name in names)


def tasks(state, units, work):
    """Tasks that make these units of a stage; what is stale and what is missing are tasks of their own."""
    stale = set(state.stale)
    for of_kind in ([unit for unit in units if unit in stale], [unit for unit in units if unit not in stale]):
        for part in parts(state, of_kind, work):
            yield Task(tuple(commands(state, part, work)), tuple(part))


def parts(state, units, work):
    """The units of each task."""
    made_for = plan.BY_NAME[state.name].made_for
    if made_for == plan.SLIDE:
        return pieces(units, work.slides_per_task)
    if made_for == plan.MODEL:
        return [part for target in model_states.targets_of(units)
                for part in pieces([unit for unit in units if Model.of(unit).target == target], work.folds_per_task)]
    return [units] if units else []


def commands(state, units, work):
    """The commands of a task; of models, which are all of one target, as few as can be."""
    if plan.BY_NAME[state.name].made_for != plan.MODEL:
        return [command(state, work, project_states.words(state, units))]
    after_folds = [*project_states.words_after_folds(state, units), "--processes", str(work.cpus_of[state.name])]
    return [command(state, work, [*fold, *after_folds]) for fold in folds(units, state.units)]


def folds(units, all_units):
    """Words for the folds of these models of one target: `all` for all folds, or all inner ones of an outer."""
    wanted = [Model.of(unit) for unit in units]
    every = [model for model in map(Model.of, all_units) if model.target == wanted[0].target]
    if len(wanted) == len(every):
        return [("all", "all")]
    found = []
    for outer in dict.fromkeys(model.outer for model in wanted):
        inner = [model.inner for model in wanted if model.outer == outer]
        if len(inner) == sum(model.outer == outer for model in every):
            inner = ["all"]
        found += [(outer, i) for i in inner]
    return found


def command(state, work, words):
    """A command line, quoted for a shell."""
    extra = list(work.options_of.get(state.name, ()))
    if state.name == "features" and work.allow_missing:
        extra += ["--allow-missing", str(work.allow_missing)]
    script = str(plan.ROOT / plan.BY_NAME[state.name].script)
    return shlex.join([work.python, script, str(work.project), *words, *extra])


def pieces(names, size):
    """Consecutive pieces of at most `size` names."""
    return [names[i:i + size] for i in range(0, len(names), size)]
