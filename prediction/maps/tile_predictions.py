"""What the regression models say of each tile of a slide.

The head is linear (training/linear_head.py), so the mean over tiles of the tiles' values is the prediction of the
slide, which is what was trained and tested; a single tile's value never was. Only the outputs that are asked for are
computed.
"""
import numpy as np

from slide_ex.ids import counted
from slide_ex.project import splits_file, targets_file
from training import linear_head
from transfer import model_bundle, trained_models


def read_own(project, names, slides, patient_id, use=None):
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
    configs = trained_models.in_use(trained_models.finished_folds(project / "results", readers, splits, slides,
                                                                  partial=True), use or trained_models.told(project))
    tested = [k for k, fold in enumerate(splits["outer"]) if patient_id in fold["test"]]
    folds = [(outer, inner) for outer in tested or range(splits["n_outer"]) for inner in range(splits["n_inner"])]
    place, chosen = f"outer fold {tested[0]}" if tested else "all folds", {}
    for name in readers:
        there = trained_models.common_folds(configs[name]) if name in configs else []
        absent = [f"result_{outer}_{inner}" for outer, inner in folds if (outer, inner) not in there]
        if absent:
            raise FileNotFoundError(f"{name}: models that never saw {patient_id} are missing, "
                                    f"{counted(absent)}: train them first")
        target = trained_models.read_target(project / "results", name, configs[name], splits)
        chosen[name] = target, folds, f"{len(folds) * len(target.models)} models of {place}"
    return chosen


def read_others(path, names, slides, use=None):
    """All models of another project or of a bundle, as `read_own` gives them; ValueError when they saw the patients."""
    models = model_bundle.read_any(path, names, use=use)
    trained_models.refuse_other_features(models, slides)
    trained_models.refuse_shared_patients(models, slides)
    return {name: (target, target.folds, f"{target.n_models} models of {models.name}")
            for name, target in models.targets.items()}


def unit(path):
    """Unit of the expression that the models of a project or of a bundle predict."""
    if model_bundle.is_bundle(path):
        return targets_file.unit(model_bundle.read_content(path)["training"].get("labels", {}))
    return targets_file.unit(targets_file.read_attributes(path / targets_file.NAME))


def predict(features, target, folds, wanted, colours=None):
    """Values of each tile for maps of one target, float64 (n_tiles, n_maps).

    features : float32 (n_tiles, n_features)
    colours : float32 (n_tiles, 3), or None where nobody recorded them
    wanted : list of choice.Wanted; a program is the mean of its members, so its tiles too average to the slide's
    """
    row_of = {output: row for row, output in enumerate(target.outputs)}
    rows = [row_of[member] for one in wanted for member in one.members]
    values = linear_head.predict(linear_head.mean_matrix(target.states(folds), rows), features, colours)
    starts = np.cumsum([0] + [len(one.members) for one in wanted])
    return np.stack([values[:, start:stop].mean(1) for start, stop in zip(starts, starts[1:])], axis=1)
