"""A small project after collect_results.py or predict_cohort.py: predictions, gene tables, colours and responses.

What drives response is known: "states" (a state of the CAFs, which bulk expression hides behind other cell types),
"composition" (the fraction of T-cells, which expression of single cell types does not show) or "nothing".
"""
import h5py
import numpy as np
import pandas as pd

FRACTIONS = {"CAFs": 0.15, "Cancer Epithelial": 0.65, "T-cells": 0.2}  # on average
N_GENES = 30  # of each cell type and of bulk; the last five are not robust


def write(folder, prefix="P", n_patients=80, driver="states", trained=None, seed=0):
    """Write the project; with `trained`, a name, into predictions/<trained>/ in the place of results/."""
    random = np.random.default_rng(seed)
    patients = [f"{prefix}{i:03d}" for i in range(n_patients)]
    alpha = np.array(list(FRACTIONS.values()))
    fractions = random.dirichlet(30 * alpha, n_patients)
    states = random.normal(size=(n_patients, len(FRACTIONS)))
    score = {"states": states[:, 0], "composition": (fractions[:, 2] - alpha[2]) / fractions[:, 2].std(),
             "nothing": random.normal(size=n_patients)}[driver] + 0.3 * random.normal(size=n_patients)
    loadings = np.random.default_rng(99).uniform(0.5, 1.5, (len(FRACTIONS), N_GENES))  # the same in all cohorts
    expression = {name: 5 + states[:, [i]] * loadings[i] + random.normal(size=(n_patients, N_GENES))
                  for i, name in enumerate(FRACTIONS)}
    expression["Bulk"] = sum(fractions[:, [i]] * expression[name] * (1 + 3 * (i == 2))  # T-cell genes are loud
                             for i, name in enumerate(FRACTIONS))
    path = folder / "results" if trained is None else folder / "predictions" / trained
    path.mkdir(parents=True)
    genes = [f"GENE{i}" for i in range(N_GENES)]
    with h5py.File(path / "predictions.h5", "w") as file:
        for name, values in expression.items():
            write_group(file.create_group(f"expression/{name}"), patients, values, genes=genes)
        write_group(file.create_group("abundance"), patients, fractions, cell_types=list(FRACTIONS))
        direct = 1 / (1 + np.exp(-0.5 * score - random.normal(size=n_patients)))
        write_group(file.create_group("direct"), patients, direct)
        file.attrs.update(encoder="resnet50", weights="random")
    for name in expression:
        pd.DataFrame({"gene": genes, "pearson_r": np.r_[np.full(N_GENES - 5, 0.7), np.full(4, 0.1), np.nan],
                      "confidence": np.linspace(1, 0.5, N_GENES)}).to_csv(path / f"{name}_genes.csv", index=False)
    write_targets(folder / "targets.h5", patients, expression, fractions, genes)
    write_features(folder / "features.h5", patients, random.uniform(150, 250, (n_patients, 3)))
    pd.DataFrame({"Patient.ID": patients, "Response": np.where(score > 0, "pCR", "RD"),
                  "Age": random.integers(30, 80, n_patients), "Grade": random.choice(["2", "3", "unknown"], n_patients)}
                 ).to_csv(folder / "clinical.csv", index=False)
    return folder


def write_group(group, patients, values, **outputs):
    group["patient_ids"] = patients
    group["predictions"] = values.astype(np.float32)
    for name, of_columns in outputs.items():
        group[name] = of_columns


def write_targets(path, patients, expression, fractions, genes):
    with h5py.File(path, "w") as file:
        file["patient_ids"] = patients
        for name, values in expression.items():
            file[f"expression/{name}/labels"] = values.astype(np.float32)
            file[f"expression/{name}/genes"] = genes
            file[f"expression/{name}/confidence"] = np.linspace(1, 0.5, len(genes)).astype(np.float32)
        file["abundance/labels"], file["abundance/cell_types"] = fractions.astype(np.float32), list(FRACTIONS)


def write_features(path, patients, rgb):
    with h5py.File(path, "w") as file:
        file["slide_ids"] = [f"{patient}-slide" for patient in patients]
        file["patient_ids"] = patients
        file["first_tile"] = np.arange(len(patients) + 1)
        file["mean_features"], file["mean_rgb"] = np.ones((len(patients), 2), np.float32), rgb.astype(np.float32)
        file.attrs.update(encoder="resnet50", weights="random", weights_sha256="0" * 64)
