"""What the regression models say of each tile of a slide.

    y_t = W1 (W0 x_t + b0) + b1        x_t: feature of tile t

It is linear, so the mean over tiles of y_t is the prediction of the slide, which is what was trained and
tested; a single y_t never was. For the same reason several models are one matrix, the mean of their W1 W0. Only the
rows of W1 that are asked for are multiplied.
"""
import numpy as np

from slide_ex.ids import counted
from slide_ex.project import splits_file, targets_file
from transfer import cohort_prediction, model_bundle, trained_models


def read_own(project, names, slides, patient_id):
    """The project's own models that saw a patient neither in training nor in early stopping, of each target.

    They are those of the outer fold that tests the patient; a patient in no fold was seen by none, so all are taken.

    Returns
    -------
    dict of name to (trained_models.TrainedTarget, its folds to use, who they are in words). Raises ValueError for
    models of other features, labels or folds than there are now, FileNotFoundError for missing ones.
    """
    if not (project / "results").is_dir():
        raise FileNotFoundError(f"{project} has no models of its own (results/): give --models, a trained project or a "
                                "bundle, or train models first")
    splits = splits_file.read(project / "splits.json")
    readers = trained_models.choose(targets_file.readers(project), names, project)
    configs = trained_models.finished_folds(project / "results", readers, splits, slides, partial=True)
    tested = [k for k, fold in enumerate(splits["outer"]) if patient_id in fold["test"]]
    folds = [(outer, inner) for outer in tested or range(splits["n_outer"]) for inner in range(splits["n_inner"])]
    words = f"{len(folds)} models of {f'outer fold {tested[0]}' if tested else 'all folds'}"
    chosen = {}
    for name in readers:
        absent = [f"result_{outer}_{inner}" for outer, inner in folds if (outer, inner) not in configs.get(name, {})]
        if absent:
            raise FileNotFoundError(f"{name}: models that never saw {patient_id} are missing, "
                                    f"{counted(absent)}: train them first")
        target = trained_models.read_target(project / "results", name, sorted(configs[name]), splits)
        chosen[name] = target, folds, words
    return chosen


def read_others(path, names, slides):
    """All models of another project or of a bundle, as `read_own` gives them; ValueError when they saw the patients."""
    read = model_bundle.read if model_bundle.is_bundle(path) else trained_models.read_project
    models = read(path, names)
    trained_models.refuse_other_features(models, slides)
    trained_models.refuse_shared_patients(models, slides)
    return {name: (target, target.folds, f"{target.n_models} models of {models.name}")
            for name, target in models.targets.items()}


def unit(path):
    """Unit of the expression that the models of a project or of a bundle predict."""
    if model_bundle.is_bundle(path):
        return targets_file.unit(model_bundle.read_content(path)["training"].get("labels", {}))
    return targets_file.unit(targets_file.read_attributes(path / targets_file.NAME))


def predict(features, target, folds, wanted):
    """Values of each tile for maps of one target, float64 (n_tiles, n_maps).

    features : float32 (n_tiles, n_features)
    wanted : list of map_choice.Wanted; a program is the mean of its members, so its tiles too average to the slide's
    """
    row_of = {output: row for row, output in enumerate(target.outputs)}
    rows = [row_of[member] for one in wanted for member in one.members]
    mean = cohort_prediction.mean_matrix(target.states(folds), rows)
    values = features @ mean["weight"].T + mean["bias"]
    starts = np.cumsum([0] + [len(one.members) for one in wanted])
    return np.stack([values[:, start:stop].mean(1) for start, stop in zip(starts, starts[1:])], axis=1)
