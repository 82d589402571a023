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
    groups: dict = dataclasses.field(default_factory=dict)  # "folds", "sites": number of each patient's, (n_patients,)


def collect(results, target_name, folds):
    """OutOfFold from the folders of the folds [(outer, inner), ...]; patients of absent outer folds are absent."""
    blocks, numbers = [], {}
    for outer in sorted({outer for outer, _ in folds}):
        inner_models = [model_folder.read_predictions(model_folder.folder(results, target_name, outer, inner), "test")
                        for k, inner in folds if k == outer]
        first = inner_models[0]
        for other in inner_models:
            if list(other.slide_ids) != list(first.slide_ids) or list(other.outputs) != list(first.outputs):
                raise ValueError(f"{model_folder.folder(results, target_name, outer, 0).parent}: the models of outer "
                                 f"fold {outer} predict different slides or outputs; train them again with --overwrite")
        numbers |= dict.fromkeys(first.patient_ids, outer)
        blocks.append((first.patient_ids, first.labels, np.mean([one.predictions for one in inner_models], axis=0)))
    patient_ids, labels, predictions = (np.concatenate(parts) for parts in zip(*blocks))
    return of_slides(patient_ids, labels, predictions, first.outputs, numbers)


def of_slides(patient_ids, labels, predictions, outputs, fold_of):
    """OutOfFold from rows of slides; fold_of: dict of patient to the number of the outer fold that tests it."""
    averaged = per_patient(patient_ids, labels, predictions, outputs)
    return OutOfFold(*averaged, {"folds": np.array([fold_of[patient] for patient in averaged[0]])})


def blend(models):
    """The mean prediction of several OutOfFold of the same patients and outputs."""
    first = models[0]
    for other in models[1:]:
        if list(other.patient_ids) != list(first.patient_ids) or list(other.outputs) != list(first.outputs):
            raise ValueError("models of different patients or outputs have no mean: train them again with --overwrite")
    return dataclasses.replace(first, predictions=np.mean([model.predictions for model in models], axis=0))


def with_sites(predicted, site_of):
    """The same with the group "sites"; site_of: dict of patient to site. Who has none is alone, and says nothing there.

    Unchanged where all of these patients are of one site, and where none shares a site with another.
    """
    known = [site for patient in predicted.patient_ids if (site := site_of.get(patient))]
    if not 2 <= len(set(known)) < len(known):
        return predicted
    sites = [site_of.get(patient) or f" {patient}" for patient in predicted.patient_ids]
    return dataclasses.replace(predicted, groups=predicted.groups | {"sites": np.unique(sites, return_inverse=True)[1]})


def per_patient(patient_ids, labels, predictions, outputs):
    """Average rows of slides to rows of patients, sorted by id."""
    means = []
    for values in (labels, predictions):    # one in float64 at a time
        patients, (of_patients,) = mean_by_patient(patient_ids, values)
        means.append(of_patients.astype(np.float32))
    return patients, outputs, *means


def mean_by_patient(patient_ids, *of_slides):
    """Patients, sorted, and the mean of their rows of each array, float64 (n_patients, n_outputs)."""
    order = np.argsort(patient_ids, kind="stable")
    patients, first, n_slides = np.unique(patient_ids[order], return_index=True, return_counts=True)
    means = []
    for values in of_slides:
        sums = values[order[first]].astype(float)
        for k in range(1, max(n_slides, default=0)):    # few patients have more than one
            more = n_slides > k
            sums[more] += values[order[first[more] + k]]
        means.append(np.divide(sums, n_slides[:, None], out=sums))
    return patients, means
