"""A trained project and another cohort of the same law, in a second: the models are least squares, not trained.

Each fold's model is W1 W0 with a random orthogonal W0, fitted to the training patients of the fold, so that it predicts
well and differs from those of other folds.
"""
import json

import h5py
import numpy as np
import pandas as pd
import torch

import simulated_cohort
from slide_ex import checksums
from slide_ex.project import clinical_file, features_file, model_folder, splits_file, targets_file
from training import patient_splits

N_OUTER, N_INNER = 3, 2
ATTRIBUTES = {"encoder_version": 1, "tile_px": 512, "magnification": 20, "normalisation": "macenko",
              "precision": "fp32"}


def write(folder, n_patients=60, n_new=30, **options):
    """Write <folder>/home, trained, and <folder>/away, with other patients; return both paths."""
    both = simulated_cohort.write(folder / "both", n_patients + n_new, **options)
    patients = sorted(clinical_file.read_column(both / "clinical.csv", "Response"))
    home, away = (take(both, folder / name, chosen) for name, chosen in
                  (("home", patients[:n_patients]), ("away", patients[n_patients:])))
    train(home)
    return home, away


def take(project, folder, patients):
    """Copy the rows of some patients into a new project."""
    folder.mkdir()
    with h5py.File(project / "features.h5") as source, h5py.File(folder / "features.h5", "w") as file:
        rows = np.flatnonzero(np.isin(source["patient_ids"].asstr()[:], patients))
        first = source["first_tile"][:]
        tiles = np.concatenate([np.arange(first[row], first[row + 1]) for row in rows])
        for name in ("features", "coords"):
            file[name] = source[name][:][tiles]
        for name in ("mean_features", "mean_rgb", "slide_ids", "patient_ids"):
            file[name] = source[name][:][rows]
        file["first_tile"] = np.r_[0, np.cumsum(np.diff(first)[rows])]
        file.attrs.update({**source.attrs, **ATTRIBUTES})
    with h5py.File(project / "targets.h5") as source, h5py.File(folder / "targets.h5", "w") as file:
        source.copy("expression", file), source.copy("abundance", file)
        rows = np.isin(source["patient_ids"].asstr()[:], patients)
        file["patient_ids"] = source["patient_ids"][:][rows]
        for path in ("abundance", *(f"expression/{name}" for name in source["expression"])):
            del file[f"{path}/labels"]
            file[f"{path}/labels"] = source[f"{path}/labels"][:][rows]
    clinical = pd.read_csv(project / "clinical.csv")
    clinical[clinical["Patient.ID"].isin(patients)].to_csv(folder / "clinical.csv", index=False)
    return folder


def train(project):
    """Make splits.json and the folders of all folds, as far as later scripts read them."""
    slides = features_file.read_slides(project / "features.h5")
    splits = patient_splits.draw(sorted(set(slides.patient_ids)), N_OUTER, N_INNER, seed=0)
    (project / "splits.json").write_text(json.dumps(splits))
    splits = splits_file.read(project / "splits.json")
    targets = [targets_file.read_expression(project / "targets.h5", name) for name in simulated_cohort.CELL_TYPES]
    targets += [targets_file.read_abundance(project / "targets.h5"),
                targets_file.read_response(project / "clinical.csv")]
    for target in targets:
        for outer in range(N_OUTER):
            for inner in range(N_INNER):
                rows = slides.rows_of(splits["outer"][outer]["inner"][inner]["train"])
                state = least_squares(slides.mean_features[rows], target.of_slides(slides)[rows], 10 * outer + inner)
                path = model_folder.folder(project / "results", target.name, outer, inner)
                path.mkdir(parents=True)
                torch.save(state, path / "model_trained.pth")
                config = {"target": target.name, "outer": outer, "inner": inner, "encoder": "resnet50",
                          "features_sha256": slides.sha256, "targets_sha256": target.sha256,
                          "splits_sha256": checksums.of_content(splits)}
                (path / "config.json").write_text(json.dumps(config))
                with h5py.File(path / "predictions.h5", "w") as file:
                    file["outputs"] = target.outputs.astype(object)
    genes = [f"GENE{i}" for i in range(15)]
    for cell_type in simulated_cohort.CELL_TYPES:
        table = pd.DataFrame({"gene": genes, "pearson_r": np.linspace(0.9, 0.21, 15)})
        table.to_csv(project / "results" / f"{cell_type}_genes.csv", index=False)
    pd.DataFrame([{"target": "CAFs", "model": "slide-ex", "n_patients": 60, "n_genes": 15, "median_r": 0.55,
                   "n_r_above_0.40": 10}]).to_csv(project / "results" / "summary.csv", index=False)


def least_squares(x, y, seed):
    """State dict with W1 W0 x + b the least squares of y on x, b0 random."""
    random = np.random.default_rng(seed)
    solution = np.linalg.lstsq(np.c_[x, np.ones(len(x))], y, rcond=None)[0]
    first = np.linalg.qr(random.normal(size=(x.shape[1], x.shape[1])))[0]
    first_bias = random.normal(size=len(first))
    last = solution[:-1].T @ first.T
    state = {"first.weight": first, "first.bias": first_bias, "last.weight": last,
             "last.bias": solution[-1] - last @ first_bias}
    return {name: torch.tensor(values, dtype=torch.float32) for name, values in state.items()}
