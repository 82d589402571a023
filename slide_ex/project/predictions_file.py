"""predictions.h5 of results/ (out of fold) and of predictions/<name>/ (by the models of another cohort).

    expression/<cell type>/   patient_ids, genes, predictions, and where they are known labels and spread
    abundance/                patient_ids, cell_types, the same
    direct/                   patient_ids, the same, one-dimensional: probability of pCR; out of fold also by_model/:
                              network, low-rank, ridge, those of them that there are beside the chosen one

Values are float32 (n_patients, n_outputs). Predictions of another cohort also have an attribute n_models in each group,
spread (sd over models), NaN where a patient or a gene has no label, half_width_90 (n_outputs,) where it is known: the
90 % interval is predictions +- half_width_90; an attribute `files` (JSON list) of all files of the folder, and

    slides/                   slide_ids, patient_ids, and the groups above with predictions (n_slides, n_outputs) only
"""
import dataclasses
import json

import numpy as np

from slide_ex import checksums, hdf5

NAME = "predictions.h5"
GROUPS = {"abundance": ("abundance", "cell_types"), "direct": ("direct", None)}  # group and name of the outputs
RESPONSE = "response"       # the output of the direct model: its probability, whatever the project's word for it
GENES = "_genes"        # ends the name of the table of a cell type beside the file
OUT_OF_FOLD_MADE_BY = "prediction/collect_results.py"


@dataclasses.dataclass(frozen=True)
class Predicted:
    """One target of the file."""
    patient_ids: np.ndarray     # str (n_patients,)
    outputs: np.ndarray         # str (n_outputs,)   genes, cell types or RESPONSE
    predictions: np.ndarray     # float32 (n_patients, n_outputs)
    labels: np.ndarray | None   # the same shape
    by_model: dict = dataclasses.field(default_factory=dict)   # of direct: kind of other models to their predictions


def table_name(target):
    """Name, without suffix, of the table with the statistics of a target."""
    return target if target in GROUPS else f"{target}{GENES}"


def table_of(folder, target):
    """Path of that table, which is beside the file."""
    return folder / f"{table_name(target)}.csv"


def tables_of_genes(folder):
    """The tables of cell types that are there, dict of cell type to path, sorted."""
    return {path.stem.removesuffix(GENES): path for path in sorted(folder.glob(f"*{GENES}.csv"))}


def write_target(file, name, ids, outputs, **values):
    """Write one target (a cell type, "abundance" or "direct") into an open file or group of an open file.

    ids : dict of name to str (n_rows,)
        patient_ids, and slide_ids where rows are slides.
    values : float arrays (n_rows, n_outputs), or None for what is not known
    """
    group_name, outputs_name = GROUPS.get(name, (f"expression/{name}", "genes"))
    group = file.create_group(group_name)
    for key, of_rows in ids.items():
        hdf5.write_strings(group, key, of_rows)
    if outputs_name:
        hdf5.write_strings(group, outputs_name, outputs)
    for key, of_target in values.items():
        if of_target is not None:
            hdf5.write_array(group, key, of_target if outputs_name else np.ravel(of_target))
    return group


def write(path, predicted, attributes, tables=None):
    """Write predictions out of fold: pairs of target and Predicted, one in memory at a time; `tables`: checksums of
    those beside it (checksums.of_files)."""
    with hdf5.writing(path) as file:
        for name, of_target in predicted:
            group = write_target(file, name, {"patient_ids": of_target.patient_ids}, of_target.outputs,
                                 labels=of_target.labels, predictions=of_target.predictions)
            for kind, of_kind in of_target.by_model.items():
                hdf5.write_array(group.require_group("by_model"), kind, np.ravel(of_kind))
        file.attrs.update(attributes)
        hdf5.record_files(file, tables or {})


def write_cohort_target(path, name, slides, predicted, labels, half_widths):
    """Add one target of another cohort, a cohort_prediction.CohortPrediction, to the file, which need not be there.

    labels, half_widths : as in the file; None where they are not known
    """
    with hdf5.writing(path, add=path.exists()) as file:
        group = write_target(file, name, {"patient_ids": predicted.patient_ids}, predicted.outputs,
                             predictions=predicted.predictions, spread=predicted.spread, labels=labels)
        group.attrs["n_models"] = predicted.n_models
        if half_widths is not None:
            hdf5.write_array(group, "half_width_90", half_widths, np.float32)
        of_slides = file.require_group("slides")
        for key in ("slide_ids", "patient_ids"):
            if key not in of_slides:
                hdf5.write_strings(of_slides, key, getattr(slides, key))
        write_target(of_slides, name, {}, predicted.outputs, predictions=predicted.of_slides)


def write_attributes(path, attributes):
    """Write the attributes, after everything else in the folder, whose tables they are the record of."""
    with hdf5.writing(path, add=True) as file:
        file.attrs.update(attributes)
        hdf5.record_files(file, checksums.of_files(sorted(path.parent.glob("*.csv")), path.parent))


def read_attributes(path, made_by=OUT_OF_FOLD_MADE_BY):
    with hdf5.reading(path, made_by) as file:
        return hdf5.attributes(file)


def as_attribute(files):
    """Names of the files of predictions/<name>/ as the attribute `files`."""
    return json.dumps(files)


def files_of(attributes):
    """Names of the files that belong to predictions/<name>/; none where an earlier version did not record them."""
    return json.loads(attributes.get("files", "[]"))


def models_of(attributes):
    """Target to the kind of models that were collected: network, low-rank or blend."""
    return json.loads(attributes.get("models", "{}"))


def read_names(path, made_by=OUT_OF_FOLD_MADE_BY):
    """Targets that the file has: cell types, sorted, then "abundance" and "direct"."""
    with hdf5.reading(path, made_by) as file:
        return [*sorted(file.get("expression", ())), *(name for name in GROUPS if name in file)]


def read_target(path, name, made_by=OUT_OF_FOLD_MADE_BY):
    """Predicted of one target; ValueError where its parts do not fit one another."""
    group_name, outputs_name = GROUPS.get(name, (f"expression/{name}", "genes"))
    with hdf5.reading(path, made_by) as file:
        group = file[group_name]
        patients = hdf5.strings(group, "patient_ids")
        outputs = hdf5.strings(group, outputs_name) if outputs_name else np.array([RESPONSE])
        values = {"predictions": group["predictions"][:], "labels": group["labels"][:] if "labels" in group else None}
        by_model = {kind: of_kind[:] for kind, of_kind in group.get("by_model", {}).items()}
    n_columns = (len(outputs),) if outputs_name else ()
    if any(array is not None and (array.dtype.kind != "f" or array.shape != (len(patients), *n_columns))
           for array in (*values.values(), *by_model.values())):
        raise ValueError(f"{path} is damaged ({group_name}: {len(patients)} patients and {len(outputs)} outputs do not "
                         f"fit the values): make it again with {made_by} --overwrite")
    values, by_model = ({key: array if array is None else array.reshape(len(patients), -1)
                         for key, array in arrays.items()} for arrays in (values, by_model))
    return Predicted(patients, outputs, **values, by_model=by_model)
