"""The states of what comes after training: tables, figures, and predictions by the models of another project."""
import os

from slide_ex import checksums, record
from slide_ex.ids import some
from slide_ex.project import features_file, model_folder, predictions_file
from slide_ex.stages import plan
from slide_ex.stages.state import State, absent, ended, not_needed

FORMATS = ["pdf", "png"]        # of each figure, unless figures.json says others
CAPTION = "txt"                 # beside them


def results(project, facts, to_predict_only):
    """Are the tables there, whole, and made from the models that are there now?"""
    state = State("results", redo=())     # the script sees itself that models have changed
    if to_predict_only:
        return not_needed("results", "no models are trained here")
    *_, marker = plan.outputs(project, "results")
    if not marker.is_file():
        return absent(state)
    state.about, use = "results/summary.csv", use_of(marker)
    state.options = ["--use", use] if use else []
    lacking = [path.name for path in tables_of(project, marker) if not path.is_file()]
    if lacking:
        state.about += f"; not there: {some(lacking)}"
        return absent(state)
    return ended(state, ["the models"] if are_of_other_models(project, facts, marker) else [])


def use_of(marker):
    """What --use was given for a results/predictions.h5, "" for nothing, or where it cannot be read."""
    try:
        return predictions_file.read_attributes(marker).get("use", "")
    except ValueError:
        return ""


def are_of_other_models(project, facts, marker):
    """Whether results/predictions.h5 was not collected from the models that are there now."""
    if facts.targets is None or facts.splits is None:
        return False
    try:
        made = predictions_file.read_attributes(marker).get("models_sha256")
        return made != model_folder.sha256_now(project / "results", facts.targets["cell_types"], facts.splits)
    except ValueError:
        return True


def tables_of(project, marker):
    """Paths of all tables that belong to a results/predictions.h5."""
    try:
        targets = predictions_file.read_names(marker)
    except ValueError:
        targets = []
    return [*plan.outputs(project, "results"),
            *(predictions_file.table_of(project / "results", target) for target in targets)]


def figures(project, to_predict_only):
    """Are the figures there, and drawn from the tables that are there now?"""
    state = State("figures", redo=())     # the script sees itself which tables have changed
    if to_predict_only:
        return not_needed("figures", "no models are trained here")
    marker, = plan.outputs(project, "figures")
    if not marker.is_file():
        return absent(state)
    try:
        drawn = record.read(marker, plan.BY_NAME["figures"].script)
    except ValueError:
        state.redo = ("--overwrite",)
        return ended(state, ["figures.json is damaged"])
    formats = drawn.pop("formats", FORMATS)
    state.about = f"figures/*.{formats[0]}"
    lacking = [name for name in drawn if not all((marker.parent / f"{name}.{suffix}").is_file()
                                                 for suffix in (*formats, CAPTION))]
    if lacking:
        state.about += f"; not there: {some(lacking)}"
        return absent(state)
    external = external_projects(project, drawn)
    state.options = (["--external", *external] if external else []) + (
        ["--format", *formats] if formats != FORMATS else [])
    known = {name: digest for name, digest in shown(drawn).items()
             if not is_elsewhere(name) or (project / name).is_file()}
    return ended(state, [name for name, digest in known.items() if checksum(project / name) != digest])


def is_elsewhere(name):
    """Whether a file that a figure shows belongs to another project, which may have been moved away."""
    return name.startswith(("..", "/"))


def external_projects(project, drawn):
    """Paths of the other projects that figures show, as far as they are there."""
    folders = {(project / name).parents[2] for name in shown(drawn) if is_elsewhere(name)}
    return sorted(os.path.relpath(folder) for folder in folders if folder.is_dir())


def shown(drawn):
    """Path from the project to the checksum of what is shown of it, of all figures."""
    return {name: digest for tables in drawn.values() for name, digest in tables.items()}


def checksum(path):
    """Checksum of what figures and the report show of a file; None where it is not there.

    Of features.h5, which can have a hundred gigabytes, they show slides and tile counts.
    """
    if not path.is_file():
        return None
    return features_file.index_sha256(path) if path.name == features_file.NAME else checksums.of_file(path)


def predictions(project, facts):
    """Are predictions by other models, where there are any, of the features that are there now?"""
    state = State("predictions")
    folders = sorted(path for path in (project / "predictions").glob("*") if (path / predictions_file.NAME).is_file())
    if not folders or facts.features is None:
        return not_needed("predictions", "no predictions by models of another project")
    stale, slides = [], features_file.read_slides(project / features_file.NAME, with_sources=False)
    for folder in folders:
        made = predictions_file.read_attributes(folder / predictions_file.NAME, plan.BY_NAME["predictions"].script)
        if made.get("features_sha256", slides.sha256) != slides.sha256:
            stale.append(folder.name)
    state.about = f"by the models of {some([folder.name for folder in folders])}"
    if stale:
        state.notes.append(f"features have changed since {some(stale)} predicted them: run "
                           "prediction/predict_cohort.py again with --overwrite")
    return ended(state)
