"""How far a project is: the state of every stage, and the commands that make what is missing or stale."""
import contextlib
import logging

from slide_ex.ids import format_indexes
from slide_ex.stages import label_states, model_states, plan, project_facts, result_states, slide_states
from slide_ex.stages.state import pass_down


def of_project(project, wanted=()):
    """All states, in the order in which the stages run: inputs, then plan.PIPELINE, then predictions.

    wanted : kinds of models (model_folder.MODELS) that are to be there of each target, beside those that are
    """
    with quiet():
        return states_of(project, wanted)


@contextlib.contextmanager
def quiet():
    """Keep silent what readers note about slides and patients that they leave out: here it is no news."""
    before = logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        yield
    finally:
        logging.disable(before)


def states_of(project, wanted):
    facts = project_facts.read(project)
    to_predict_only = label_states.is_to_predict_only(project, facts)
    models = model_states.models(project, facts, to_predict_only, wanted)
    return pass_down([
        label_states.inputs(project, facts), label_states.deconvolution(project, facts),
        label_states.targets(project, facts), slide_states.slides(project, facts), slide_states.masks(project, facts),
        slide_states.features(project, facts), label_states.splits(project, facts), *models,
        result_states.results(project, facts, to_predict_only),
        result_states.figures(project, to_predict_only), result_states.predictions(project, facts)])


def following(states):
    """The first state that is not over, or has something to be fixed; None where there is none."""
    return next((state for state in states if state.problems or not state.is_over()), None)


def words(state, units):
    """Words of one command, after the project, that makes some units of a stage; units: all of them stale, or none.

    Of models it names all folds, because those that are finished are skipped.
    """
    made_for, chosen = plan.BY_NAME[state.name].made_for, []
    if made_for == plan.MODEL:
        return ["all", "all", *words_after_folds(state, units)]
    if made_for == plan.SLIDE:
        place = {slide_id: i for i, slide_id in enumerate(state.units)}
        chosen = ["all" if len(units) == len(state.units) else format_indexes([place[unit] for unit in units])]
    return chosen + state.options + redo_words(state, units)


def words_after_folds(state, units):
    """The words of a training command after those that name its folds.

    It trains the targets that have the options of the first: all, or some.
    """
    options, chosen = [], ["all"]
    if not model_states.are_unknown(state):
        targets = model_states.targets_of(units)
        options = state.options_of.get(targets[0], [])
        alike = [target for target in targets if state.options_of.get(target, []) == options]
        if len(alike) == 1 or any(other != options for other in state.options_of.values()):
            chosen = alike
    return (chosen if state.name == "expression" else []) + options + redo_words(state, units)


def redo_words(state, units):
    return list(state.redo) if set(units) & set(state.stale) else []


def next_words(state):
    """Words of the next command of a stage that is not over: what is stale first, then what is missing."""
    return words(state, state.stale or state.missing or state.units)
