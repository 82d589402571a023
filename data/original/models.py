"""Models trained by the published scripts, in the form of prediction/: the same numbers under other names.

    y = W1 mean_t(h_t) + b1,  h_t = W0 x_t + b0;  of the direct model h_t = max(W0 x_t + b0, 0) and p = sigmoid(y)

State dicts have layer0.0.weight, layer0.0.bias, layer1.weight, layer1.bias there and first.*, last.* here.
"""
import numpy as np
import pandas as pd

from slide_ex import checksums, hdf5
from slide_ex.project import description_file, features_file, model_folder, targets_file
from slide_ex.script import whole

NAMES = {"layer0.0.weight": "first.weight", "layer0.0.bias": "first.bias", "layer1.weight": "last.weight",
         "layer1.bias": "last.bias"}
SAME = 1e-3  # difference of predictions that rounding explains


def import_all(original, project, slides, folds, test_slides, response):
    """Import every model of results/; for each target a line, and the folders (from the project) of its models.

    `test_slides`: for each outer fold the ids of its test slides, in the order of the original.
    """
    features = project / "features.h5"
    shared = {"imported": True, "keep": "last", **applied_to(features, folds)}
    lines = []
    for folder in sorted((original / "results").glob("*_preds")):
        name = model_folder.target_of(folder.name)
        labels = labels_of(name, project / "targets.h5", response)
        differences, made = [], []
        for source in sorted(path.parent for path in folder.glob("result_*_*/model_trained.pth")):
            outer, inner = map(int, source.name.split("_")[1:])
            state = read_state(source / "model_trained.pth")
            config = {"target": name, "outer": outer, "inner": inner, "hidden": len(state["first.bias"]),
                      "head": "classification" if name == "direct" else "regression", **shared}
            parts = predicted(state, features, folds["outer"][outer], inner, labels, slides, name == "direct")
            made.append(f"results/{folder.name}/{source.name}")
            with whole(project / made[-1]) as part:
                part.mkdir()
                model_folder.write(part, config, state, labels.columns, parts)
            differences.append(largest_difference(source, parts["test"], test_slides[outer]))
        lines.append((f"{name}: {len(differences)} models, {comparison(differences)}", made))
    return lines


def comparison(differences):
    """What the differences to the predictions of the original (None: it has none) tell."""
    compared = [difference for difference in differences if difference is not None]
    if not compared:
        return "without predictions to compare with"
    text = f"predictions differ by at most {max(compared):.1e} from those of {len(compared)}"
    return text if max(compared) < SAME else f"{text}: NOT THE SAME, they come from other features, weights or folds"


def labels_of(name, path, response):
    """Labels of one target, DataFrame (n_patients, n_outputs)."""
    if name == "direct":
        if response is None:
            raise ValueError("results/direct_preds is there, but not patient_data.pkl with the response")
        said = description_file.Description()
        return response[response != ""].map(said.number).astype(np.float32).to_frame(said.responder)
    if name != "abundance" and name not in targets_file.read_cell_types(path):
        raise ValueError(f"there are models of {name}, but no breast_{name}_log_exp_merged.pkl")
    patients, outputs, labels = targets_file.read_labels(path, name)
    return pd.DataFrame(labels, patients, outputs)


def predicted(state, features, fold, inner, labels, slides, direct):
    """Predictions of the validation and test slides of one model, in the parts of predictions.h5."""
    if len(state["last.bias"]) != labels.shape[1]:
        raise ValueError(f"a model has {len(state['last.bias'])} outputs, its labels {labels.shape[1]} columns")
    has_tissue = np.diff(features_file.read_index(features)[2]) > 0
    parts = {}
    for name, patients in (("valid", fold["inner"][inner]["valid"]), ("test", fold["test"])):
        rows = np.flatnonzero(slides["patient_id"].isin(set(patients) & set(labels.index)) & has_tissue)
        part = slides.iloc[rows]
        parts[name] = {"slide_ids": part["slide_id"], "patient_ids": part["patient_id"],
                       "labels": labels.loc[part["patient_id"]].to_numpy(np.float32),
                       "predictions": predict(state, features, rows, direct).astype(np.float32)}
    return parts


def read_state(path):
    """State dict under the names of prediction/training/mlp.py; ValueError for a model of another build."""
    import torch
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch reports unsafe and broken files in many ways
        raise ValueError(f"{path} is no state dict that can be read safely: {str(error).splitlines()[0]}") from None
    if not isinstance(state, dict) or set(state) != set(NAMES):
        raise ValueError(f"{path} is not a model of the published scripts, which have {', '.join(NAMES)}")
    return {NAMES[name]: tensor.float() for name, tensor in state.items()}


def predict(state, features_path, rows, direct):
    """Predictions of slides (rows of features.h5), (n_slides, n_outputs); probabilities for the direct model."""
    first, b0, last, b1 = (state[name].numpy() for name in ("first.weight", "first.bias", "last.weight", "last.bias"))
    with hdf5.reading(features_path, "data/import_original.py") as file:
        bounds, means = file["first_tile"][:], file["mean_features"][:][rows]
    if means.shape[1] != first.shape[1]:
        raise ValueError(f"models of {first.shape[1]} features a tile, but {features_path} has {means.shape[1]}: these "
                         "are features of another encoder than the models'")
    if not direct:
        return (means @ first.T + b0) @ last.T + b1
    hidden = []
    with hdf5.reading(features_path, "data/import_original.py") as file:
        for row in rows:
            tiles = file["features"][bounds[row]:bounds[row + 1]].astype(np.float32)
            hidden.append(np.maximum(tiles @ first.T + b0, 0).mean(axis=0))
    return 1 / (1 + np.exp(-(np.array(hidden) @ last.T + b1)))


def largest_difference(folder, test, slide_ids):
    """Largest difference to the test predictions that the published scripts wrote beside the model; None without them.

    The direct model's probabilities are in test_confs.txt, its test_preds.txt holds hard calls (0 or 1, at 0.5): where
    there are calls alone, they are compared with calls. `slide_ids`: slides of the rows of these files.
    """
    path = next((folder / name for name in ("test_confs.npy", "test_confs.txt", "test_preds.npy", "test_preds.txt")
                 if (folder / name).is_file()), None)
    if path is None:
        return None
    there = np.load(path, allow_pickle=False) if path.suffix == ".npy" else np.loadtxt(path)
    place = {slide_id: i for i, slide_id in enumerate(slide_ids)}
    there = there.reshape(len(slide_ids), -1)[[place[slide_id] for slide_id in test["slide_ids"]]]
    here = test["predictions"]
    if are_calls(there) and not are_calls(here):
        here = here > .5
    return np.abs(there - here).max(initial=0)


def are_calls(values):
    """Whether all values are 0 or 1."""
    return np.isin(values, (0, 1)).all()


def applied_to(features, folds):
    """What the models were applied to, as the training scripts record it, so that tables can be collected."""
    slides = features_file.read_slides(features)
    return {"encoder": slides.attributes["encoder"], "weights": slides.attributes["weights"],
            "features_sha256": slides.sha256, "splits_sha256": checksums.of_content(folds)}
