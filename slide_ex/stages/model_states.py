"""The states of the three training scripts: which models are there, and were they trained on what is there now?"""
import typing

from slide_ex import checksums
from slide_ex.ids import some
from slide_ex.project import clinical_file, features_file, model_folder, splits_file, targets_file
from slide_ex.stages.state import DONE, MISSING, PARTIAL, STALE, State, not_needed

OPTIONS = ("pooling", "hidden", "max_epochs", "patience", "seed", "keep")  # of the scripts, as config.json names them
LEARNING_RATE = 1e-4    # as published; only another one is named in a command
STAGES = ("expression", "abundance", "direct")


class Model(typing.NamedTuple):
    """A unit of a training stage, which in words is "<target> <outer> <inner>"."""
    target: str
    outer: str
    inner: str

    def __str__(self):
        return " ".join(self)

    @classmethod
    def of(cls, unit):
        return cls(*unit.rsplit(" ", 2))


def models(project, facts, to_predict_only, wanted=()):
    """One state for each of the three training scripts; wanted: kinds of models that are to be there at any rate."""
    if to_predict_only:
        return [not_needed(name, "no labels") for name in STAGES]
    states = {name: State(name, units=[name], missing=[name]) for name in STAGES}   # until folds are known
    wrong = clinical_file.unknown_words((facts.response or {}).values(), facts.said)
    why_not = "" if wrong else without_direct(facts)
    if wrong:
        states["direct"].problems.append(f"clinical.csv, column {facts.said.response_column}: "
                                         + clinical_file.about_unknown(wrong, facts.said))
    elif why_not:
        states["direct"] = not_needed("direct", why_not)
    if facts.targets is None or facts.features is None or facts.splits is None:
        return list(states.values())
    try:
        slides = features_file.read_slides(project / features_file.NAME, with_sources=False)   # of the stage features
        now = {"features_sha256": slides.sha256, "splits_sha256": checksums.of_content(facts.splits),
               "colours_sha256": checksums.of_content(slides.mean_rgb)}
        names = {"expression": facts.targets["cell_types"], "abundance": ["abundance"],
                 "direct": [] if why_not or wrong else ["direct"]}
        readers = targets_file.readers(project)
        for name, targets in names.items():
            if targets:
                fill(states[name], project, {target: now | {"targets_sha256": readers[target]().sha256}
                                             for target in targets}, facts.splits, wanted)
    except ValueError as error:     # features or labels that nothing can learn from
        states["expression"].problems.append(str(error))
    return list(states.values())


def without_direct(facts):
    """Why the direct models cannot be trained; "" where they can."""
    if not any((facts.response or {}).values()):
        return "no response in clinical.csv"
    if facts.splits is None or facts.features is None:
        return ""
    slides = facts.features["slides"]
    with_tissue = set(slides.loc[slides["n_tiles"] > 0, "patient_id"])
    known = {patient: facts.said.number(response) for patient, response in facts.response.items()
             if response and patient in with_tissue}
    lacking = splits_file.one_class(facts.splits, known) if known else ["all folds"]
    if not lacking:
        return ""
    return (f"no {facts.said.responder} or no {facts.said.non_responder} in {some(lacking, 2)}: more responses are "
            "needed, or make_splits.py --stratify response --overwrite before any training")


def fill(state, project, targets, splits, wanted):
    """Units, status and text of a training stage; targets: dict of target to checksums of what there is to learn."""
    options, kinds = {}, kinds_of(project / "results", targets, wanted)
    state.units, state.missing = [], []
    for target, now in targets.items():
        for outer, inner in splits_file.numbers(splits):
            unit = str(Model(target, str(outer), str(inner)))
            state.units.append(unit)
            found = []
            for kind in kinds[target]:
                path = model_folder.folder(model_folder.root(project / "results", kind), target, outer, inner)
                config = config_of(path, target)
                found.append(is_as_now(path, config, target, now))
                if config:
                    options.setdefault(kind, options_like(config, target))
            if STALE in found:
                state.stale.append(unit)
            elif MISSING in found:
                state.missing.append(unit)
    there = len(state.units) - len(state.missing)
    state.options_of = {target: words_of(of_target, options.get(model_folder.NETWORK, []))
                        for target, of_target in kinds.items()}
    state.about = f"{there} of {len(state.units)} models"
    unfinished = targets_of(state.missing)
    if len(targets) > 1 and unfinished and there:
        state.about += f", missing some of {some(unfinished, 3)}"
    if state.stale:
        state.about += (f"; features, targets or folds have changed since {some(targets_of(state.stale), 3)} were "
                        "trained")
    state.status = STALE if state.stale else DONE if not state.missing else PARTIAL if there else MISSING


def kinds_of(results, targets, wanted):
    """Kinds of models that a stage is to make of each target, dict of target to list.

    They are those that are wanted and those that have a folder, which the training scripts make first of all; of a
    target without any, those of the others, and networks where none has any.
    """
    found = {target: [kind for kind in model_folder.MODELS
                      if kind in wanted or model_folder.of_target(results, kind, target).is_dir()]
             for target in targets}
    of_others = [kind for kind in model_folder.MODELS if any(kind in kinds for kinds in found.values())]
    return {target: kinds or of_others or [model_folder.NETWORK] for target, kinds in found.items()}


def words_of(kinds, of_network):
    """Options that train these kinds of models; of_network: those of a network."""
    if kinds == [model_folder.NETWORK]:
        return of_network
    both = len(kinds) > 1
    return ["--model", model_folder.BOTH if both else kinds[0], *(of_network if both else [])]


def is_as_now(path, config, target, now):
    """DONE, STALE or MISSING: whether a model is there, whole, and trained on what there is now."""
    if config is None:
        return STALE if (path / model_folder.CONFIG).is_file() else MISSING
    if any(config.get(name, value) != value for name, value in now.items()):
        return STALE
    files = model_folder.files(target, config.get("imported", False), model_folder.model_of(config))
    return DONE if all((path / name).is_file() for name in files) else MISSING


def config_of(path, target):
    """config.json of a model's folder; None where it is not there or damaged."""
    try:
        return model_folder.read_config(path, target)
    except (ValueError, OSError):
        return None


def targets_of(units):
    """The targets of units, in order, each once."""
    return list(dict.fromkeys(Model.of(unit).target for unit in units))


def are_unknown(state):
    """Whether a training stage stands as one unit, as which models it has cannot be said yet."""
    return state.name in STAGES and state.units == [state.name]


def options_like(config, target):
    """Options that train further models of a target as this one was."""
    keys = [key for key in OPTIONS if key in config and not (target == "direct" and key == "pooling")]
    if config.get("learning_rate", LEARNING_RATE) != LEARNING_RATE:
        keys.append("learning_rate")
    words = [word for key in keys for word in (f"--{key.replace('_', '-')}", str(config[key]))]
    if config.get("standardise"):
        words.append("--standardise")
    return words
