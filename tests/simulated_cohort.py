"""A small project folder for tests of prediction: features.h5, targets.h5 and clinical.csv by the contract."""
import csv

import h5py
import numpy as np

CELL_TYPES = ("CAFs", "Cancer Epithelial")
N_STATES = 3  # hidden states of a patient, seen in features, expression, abundance and response


def write(folder, n_patients=40, n_second_slides=4, n_tiles=(2, 6), n_features=24, n_genes=15, noise=1.0, seed=0,
          precision="f4"):
    """Write the files. Labels are linear in a patient's states, with `noise`; features show the states in each tile."""
    random = np.random.default_rng(seed)
    patients = [f"P{i:03d}" for i in range(n_patients)]
    states = random.normal(size=(n_patients, N_STATES))
    of_slides = np.r_[np.arange(n_patients), random.choice(n_patients, n_second_slides, replace=False)]
    counts = random.integers(*n_tiles, len(of_slides))
    seen = random.normal(size=(N_STATES, n_features))
    bags = [states[patient] @ seen + 1 + random.normal(size=(n, n_features)) for patient, n in zip(of_slides, counts)]
    bags = [bag.astype(precision) for bag in bags]
    folder.mkdir(parents=True, exist_ok=True)
    with h5py.File(folder / "features.h5", "w") as file:
        file["features"] = np.concatenate(bags)
        file["coords"] = np.zeros((counts.sum(), 2), np.int32)
        file["slide_ids"] = [f"{patients[patient]}-slide{i}" for i, patient in enumerate(of_slides)]
        file["patient_ids"] = [patients[patient] for patient in of_slides]
        file["first_tile"] = np.r_[0, np.cumsum(counts)].astype(np.int64)
        file["mean_features"] = np.stack([bag.mean(0, dtype=float) for bag in bags]).astype(np.float32)
        file["mean_rgb"] = random.uniform(150, 250, (len(of_slides), 3)).astype(np.float32)
        file.attrs.update(encoder="resnet50", weights="random", weights_sha256="0" * 64)
    with h5py.File(folder / "targets.h5", "w") as file:
        file["patient_ids"] = patients
        for cell_type in CELL_TYPES:
            group = file.create_group(f"expression/{cell_type}")
            group["labels"] = (states @ random.normal(size=(N_STATES, n_genes)) + 5
                               + noise * random.normal(size=(n_patients, n_genes))).astype(np.float32)
            group["genes"] = [f"GENE{i}" for i in range(n_genes)]
            group["confidence"] = random.uniform(0.5, 1, n_genes).astype(np.float32)
        fractions = np.exp(states[:, :2] + 0.1 * random.normal(size=(n_patients, 2)))
        file["abundance/labels"] = (fractions / fractions.sum(1, keepdims=True)).astype(np.float32)
        file["abundance/cell_types"] = list(CELL_TYPES)
    with open(folder / "clinical.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["Patient.ID", "Response"])
        rows.writerows([patient, "pCR" if state > 0 else "RD"] for patient, state in zip(patients, states[:, 0]))
    return folder


def change(path, name, function):
    """Replace a dataset of an HDF5 file by a function of its values; type and shape may change."""
    with h5py.File(path, "r+") as file:
        values = function(file[name][:])
        del file[name]
        file[name] = values
