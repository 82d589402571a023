"""How far a project is: the state of every stage, and the commands that make what is missing or stale."""
import contextlib
import logging

from slide_ex.ids import format_indexes
from slide_ex.stages import label_states, model_states, plan, project_facts, result_states, slide_states
from slide_ex.stages.state import pass_down


def of_project(project):
    """All states, in the order in which the stages run: inputs, then plan.PIPELINE, then predictions."""
    with quiet():
        return states_of(project)


@contextlib.contextmanager
def quiet():
    """Keep silent what readers note about slides and patients that they leave out: here it is no news."""
    before = logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        yield
    finally:
        logging.disable(before)


def states_of(project):
    facts = project_facts.read(project)
    to_predict_only = label_states.is_to_predict_only(project, facts)
    models = model_states.models(project, facts, to_predict_only)
    return pass_down([
        label_states.inputs(project, facts), label_states.deconvolution(project, facts),
        label_states.targets(project, facts), slide_states.slides(project, facts), slide_states.masks(project, facts),
        slide_states.features(project, facts), label_states.splits(project, facts), *models,
        result_states.results(project, facts, to_predict_only),
        result_states.figures(project, to_predict_only), result_states.predictions(project, facts)])


def following(states):
    """The first state that is not over, None where all are."""
    return next((state for state in states if not state.is_over()), None)


def words(state, units):
    """Words of one command, after the project, that makes some units of a stage; units: all of them stale, or none.

    Of models it names the target, and all folds: those that are finished are skipped.
    """
    stage = plan.BY_NAME[state.name]
    redo = list(state.redo) if set(units) & set(state.stale) else []
    chosen = []
    if stage.made_for == plan.SLIDE:
        place = {slide_id: i for i, slide_id in enumerate(state.units)}
        chosen = ["all" if len(units) == len(state.units) else format_indexes([place[unit] for unit in units])]
    elif stage.made_for == plan.MODEL:
        targets = model_states.targets_of(units)
        chosen = ["all", "all"] + ([targets[0] if len(targets) == 1 else "all"] if state.name == "expression" else [])
    return chosen + state.options + redo


def next_words(state):
    """Words of the next command of a stage that is not over: what is stale first, then what is missing."""
    return words(state, state.stale or state.missing or state.units)
