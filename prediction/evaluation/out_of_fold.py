"""Out-of-fold predictions: inner models averaged, outer folds concatenated, slides averaged per patient.

Every patient is predicted only by models that saw the patient neither in training nor in early stopping.
"""
import dataclasses

import numpy as np

from slide_ex.project import model_folder


@dataclasses.dataclass(frozen=True)
class OutOfFold:
    """Predictions of one target, one row a patient."""
    patient_ids: np.ndarray  # str (n_patients,), sorted
    outputs: np.ndarray      # str (n_outputs,)
    labels: np.ndarray       # float32 (n_patients, n_outputs)
    predictions: np.ndarray  # float32 (n_patients, n_outputs)


def collect(results, target_name, folds):
    """OutOfFold from the folders of the folds [(outer, inner), ...]; patients of absent outer folds are absent."""
    blocks = []
    for outer in sorted({outer for outer, _ in folds}):
        inner_models = [model_folder.read_predictions(model_folder.folder(results, target_name, outer, inner), "test")
                        for k, inner in folds if k == outer]
        slide_ids, patient_ids, outputs, labels, _ = inner_models[0]
        for other in inner_models:
            if list(other[0]) != list(slide_ids) or list(other[2]) != list(outputs):
                raise ValueError(f"{model_folder.folder(results, target_name, outer, 0).parent}: the models of outer "
                                 f"fold {outer} predict different slides or outputs; train them again with --overwrite")
        blocks.append((patient_ids, labels, np.mean([model[-1] for model in inner_models], axis=0)))
    patient_ids, labels, predictions = (np.concatenate(parts) for parts in zip(*blocks))
    return OutOfFold(*per_patient(patient_ids, labels, predictions, outputs))


def per_patient(patient_ids, labels, predictions, outputs):
    """Average rows of slides to rows of patients, sorted by id."""
    patients, row = np.unique(patient_ids, return_inverse=True)
    n_slides = np.bincount(row)[:, None]
    means = []
    for values in (labels, predictions):
        total = np.zeros((len(patients), values.shape[1]))
        np.add.at(total, row, values)
        means.append((total / n_slides).astype(np.float32))
    return patients, outputs, *means
