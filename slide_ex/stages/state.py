"""How far a project is with one stage: what is there, what is stale, what stands in its way, how it goes on."""
import dataclasses

from slide_ex.ids import some
from slide_ex.stages import plan

DONE, MISSING, PARTIAL, STALE, NOT_NEEDED = "done", "missing", "partial", "stale", "not needed"


@dataclasses.dataclass
class State:
    """One stage of a project.

    A unit is what the stage is run for: a slide (its id), a model (model_states.Model in words), or the stage itself.
    Stale units are there, but were made from something else than there is now.
    """
    name: str                 # of the stage in plan.PIPELINE, or "inputs"
    status: str = MISSING
    about: str = ""
    options: list = dataclasses.field(default_factory=list)   # words of the command that make further units as the rest
    options_of: dict = dataclasses.field(default_factory=dict)  # the same of single targets, of models
    problems: list = dataclasses.field(default_factory=list)  # what must be fixed before the script can run
    notes: list = dataclasses.field(default_factory=list)
    units: list = dataclasses.field(default_factory=list)     # all of them
    missing: list = dataclasses.field(default_factory=list)   # of the units
    stale: list = dataclasses.field(default_factory=list)     # of the units
    allowed: list = dataclasses.field(default_factory=list)   # missing units that nobody asks for
    redo: tuple = ("--overwrite",)    # words that make a stale output again

    def is_over(self):
        return self.status in (DONE, NOT_NEEDED)


def not_needed(name, why):
    return State(name, NOT_NEEDED, why)


def ended(state, changed=()):
    """The state as done, or as stale with what has changed."""
    state.status = STALE if changed else DONE
    state.units = [state.name]
    if changed:
        state.stale = [state.name]
        state.about += f"; changed since: {some(changed)}"
    return state


def absent(state):
    """The state of a stage of one unit that is not there yet."""
    state.units = state.missing = [state.name]
    return state


def pass_down(states):
    """What is done, but was made from the output of a stage that has to run again, is stale too."""
    by_name = {state.name: state for state in states}
    for state in states:
        if state.status != DONE or state.name not in plan.BY_NAME or state.name == "splits":
            continue    # folds are drawn once: they are stale only when they lack patients
        again = [name for name in plan.BY_NAME[state.name].after if by_name[name].status in (STALE, PARTIAL, MISSING)]
        if again:
            state.status, state.stale = STALE, list(state.units)
            state.about += f"; comes after {some(again)}"
    return states
