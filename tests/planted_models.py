"""A small project whose slides have painted marks, and models that answer to the marks: what maps are tested with."""
import json

import h5py
import numpy as np
import torch

import painted_slides
from slide_ex.project import features_file, model_folder
from training import mlp, model_config, pooling

EDGE_PX, N_ROWS, N_COLUMNS = 64, 4, 6
MARKED, GLASS = (2, 9, 15), (0, 1, 6, 23)  # tiles of every slide
GENES, CELL_TYPES = ["MARK", "HLA-A", "<b>GENE</b>"], ["CAFs", "T-cells"]
N_FEATURES, HIDDEN = 5, 8
DARK = 40


def write(folder, n_slides=4, prefix="P"):
    """Slide i is that of patient `prefix`i; the file of the last slide is absent. Outer fold 1 tests odd patients."""
    kept = [i for i in range(N_ROWS * N_COLUMNS) if i not in GLASS]
    picture = painted_slides.slide_picture(N_ROWS, N_COLUMNS, GLASS, EDGE_PX)
    for i in MARKED:
        x, y = corner(i)
        picture[y:y + EDGE_PX, x:x + EDGE_PX] = DARK
    pictures = {f"S{i}": picture if i < n_slides - 1 else None for i in range(n_slides)}
    painted_slides.make_project(folder, pictures, MPP=[0.5] * n_slides)
    random = np.random.default_rng(0)
    features = random.normal(size=(n_slides, len(kept), N_FEATURES)).astype(np.float32)
    features[:, :, 0] = np.isin(kept, MARKED)
    with h5py.File(folder / "features.h5", "w") as file:
        file["features"] = features.reshape(-1, N_FEATURES)
        file["coords"] = np.tile([corner(i) for i in kept], (n_slides, 1)).astype(np.int32)
        file["slide_ids"], file["patient_ids"] = list(pictures), [f"{prefix}{i}" for i in range(n_slides)]
        file["first_tile"] = np.arange(n_slides + 1) * len(kept)
        file["mean_features"], file["mean_rgb"] = features.mean(1), np.full((n_slides, 3), 200, np.float32)
        file["patch_size_level0"] = np.full(n_slides, EDGE_PX, float)
        file.attrs.update(encoder="resnet50", weights="random", weights_sha256="0" * 64)
    patients = [f"{prefix}{i}" for i in range(n_slides)]
    write_targets(folder / "targets.h5", patients, random)
    outer = [{"test": patients[k::2], "inner": [{"train": [], "valid": patients[1 - k::2]}] * 2} for k in range(2)]
    (folder / "splits.json").write_text(json.dumps({"n_outer": 2, "n_inner": 2, "patients": patients, "outer": outer}))
    write_models(folder)
    return folder


def corner(i):
    """x, y of the top-left corner of a tile."""
    return i % N_COLUMNS * EDGE_PX, i // N_COLUMNS * EDGE_PX


def write_targets(path, patients, random):
    n_patients = len(patients)
    with h5py.File(path, "w") as file:
        file["patient_ids"] = patients
        file["expression/CAFs/genes"] = GENES
        file["expression/CAFs/labels"] = random.normal(size=(n_patients, len(GENES))).astype(np.float32)
        file["expression/CAFs/confidence"] = np.ones(len(GENES), np.float32)
        file["abundance/cell_types"] = CELL_TYPES
        file["abundance/labels"] = random.random((n_patients, len(CELL_TYPES))).astype(np.float32)
        file.attrs["log_base"] = 2.


def write_models(folder):
    """Random networks of which output 0 rises with the mark, each fold with its own bias."""
    for name, outputs in (("CAFs", GENES), ("abundance", CELL_TYPES)):
        for outer in range(2):
            for inner in range(2):
                net = network(len(outputs), seed=10 * outer + inner)
                with torch.no_grad():
                    net.first.weight[0, 0] = 10
                    net.last.weight[0, 0] = 3
                    net.last.bias += 7 * outer + inner
                path = model_folder.folder(folder / "results", name, outer, inner)
                path.mkdir(parents=True)
                torch.save(net.state_dict(), path / "model_trained.pth")
                slides = features_file.read_slides(folder / "features.h5")
                (path / "config.json").write_text(json.dumps({
                    "target": name, "outer": outer, "inner": inner, "encoder": "resnet50",
                    "features_sha256": slides.sha256}))
                with h5py.File(path / "predictions.h5", "w") as file:
                    file["outputs"] = outputs


def network(n_outputs, seed=0):
    config = model_config.Config("regression", "mean", 1, 1, hidden=HIDDEN)
    return mlp.Network(N_FEATURES, n_outputs, config, torch.Generator().manual_seed(seed))


def slide_predictions(folder, name, n_outputs, outer):
    """What the models of an outer fold predict of all slides, as in training: (n_slides, n_outputs)."""
    slides, predicted = features_file.read_slides(folder / "features.h5"), []
    pool = pooling.MeanPooling(slides, torch.device("cpu"))
    for inner in range(2):
        net = network(n_outputs)
        path = model_folder.folder(folder / "results", name, outer, inner) / "model_trained.pth"
        net.load_state_dict(torch.load(path, weights_only=True))
        predicted.append(mlp.predict(net, pool, torch.arange(len(slides.slide_ids))))
    return np.mean(predicted, axis=0)
