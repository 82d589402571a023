"""The file predictions.h5 of results/ and of predictions/<name>/: the owner of its format.

    expression/<cell type>/   patient_ids, genes, predictions, and where they are known labels and spread
    abundance/                patient_ids, cell_types, the same
    direct/                   patient_ids, the same, one-dimensional: probability of pCR

Values are float32 (n_patients, n_outputs). Predictions of another cohort also have an attribute n_models in each group,
spread (sd over models), NaN where a patient or a gene has no label, and

    slides/                   slide_ids, patient_ids, and the groups above with predictions (n_slides, n_outputs) only
"""
import h5py
import numpy as np

GROUPS = {"abundance": ("abundance", "cell_types"), "direct": ("direct", None)}  # group and name of the outputs


def write_target(file, name, ids, outputs, **values):
    """Write one target (a cell type, "abundance" or "direct") into an open file or group of an open file.

    ids : dict of name to str (n_rows,)
        patient_ids, and slide_ids where rows are slides.
    values : float arrays (n_rows, n_outputs), or None for what is not known
    """
    group_name, outputs_name = GROUPS.get(name, (f"expression/{name}", "genes"))
    group = file.create_group(group_name)
    for key, of_rows in ids.items():
        group[key] = of_rows.astype(object)
    if outputs_name:
        group[outputs_name] = outputs.astype(object)
    for key, of_target in values.items():
        if of_target is not None:
            group[key] = of_target if outputs_name else np.ravel(of_target)
    return group


def write_cohort_target(path, name, slides, predicted, labels):
    """Add one target of another cohort, a cohort_prediction.CohortPrediction, to the file, which need not be there."""
    with h5py.File(path, "a") as file:
        group = write_target(file, name, {"patient_ids": predicted.patient_ids}, predicted.outputs,
                             predictions=predicted.predictions, spread=predicted.spread, labels=labels)
        group.attrs["n_models"] = predicted.n_models
        of_slides = file.require_group("slides")
        for key in ("slide_ids", "patient_ids"):
            if key not in of_slides:
                of_slides[key] = getattr(slides, key).astype(object)
        write_target(of_slides, name, {}, predicted.outputs, predictions=predicted.of_slides)
