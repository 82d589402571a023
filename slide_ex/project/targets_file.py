"""targets.h5, what prediction is trained on: labels of each cell type's genes, and fractions.

    patient_ids                            str (n_patients,)
    expression/<cell type>/labels          float32 (n_patients, n_genes)   log(value + 1) in base log_base
    expression/<cell type>/genes           str (n_genes,)
    expression/<cell type>/confidence      float32 (n_genes,)              0..1; 1 where the source gives none
    abundance/labels                       float32 (n_patients, n_cell_types)   fractions, rows sum to 1
    abundance/cell_types                   str (n_cell_types,)
    attributes: log_base, min_confidence, min_nonzero_fraction, min_variance, deconvolution_method,
                deconvolution_sha256 (of expression.h5; not with --labels), parameters and inputs (see expression_file)

A cell type without a gene that passes all filters has no group. The direct model's labels are in clinical.csv; as a
`Target` they have the same form.
"""
import dataclasses
import logging

import numpy as np
import pandas as pd

from slide_ex import checksums, hdf5, ids
from slide_ex.project import clinical_file, description_file

NAME = "targets.h5"
MADE_BY = "deconvolution/prepare_targets.py"


@dataclasses.dataclass(frozen=True)
class Target:
    """What is predicted: labels of patients, without outputs that cannot be learnt."""
    name: str                # cell type, "abundance" or "direct"
    patient_ids: np.ndarray  # str (n_patients,)
    outputs: np.ndarray      # str (n_outputs,)   genes, cell types or "pCR"
    labels: np.ndarray       # float32 (n_patients, n_outputs), finite
    sha256: str              # of ids, outputs and labels

    def of_slides(self, slides):
        """Labels of each slide's patient; float32 (n_slides, n_outputs), NaN for patients without labels."""
        row = pd.Index(self.patient_ids).get_indexer(slides.patient_ids)
        return np.where(row[:, None] >= 0, self.labels[row], np.float32(np.nan))


def write(path, patient_ids, expression, abundance, attributes, tables=None):
    """Write the file described above; `tables`: checksums of those that it is the record of (checksums.of_files).

    `expression`: list of (cell type, genes, labels, confidence); `abundance`: table patients x cell types.
    """
    with hdf5.writing(path) as file:
        hdf5.write_strings(file, "patient_ids", patient_ids)
        for cell_type, genes, labels, confidence in expression:
            if len(genes):
                group = file.create_group(f"expression/{cell_type}")
                hdf5.write_array(group, "labels", labels)
                hdf5.write_strings(group, "genes", genes)
                hdf5.write_array(group, "confidence", confidence, np.float32)
        hdf5.write_array(file, "abundance/labels", abundance, np.float32)
        hdf5.write_strings(file["abundance"], "cell_types", abundance.columns)
        file.attrs.update(attributes)
        hdf5.record_files(file, tables or {})


def reading(path):
    """The open file (context manager)."""
    return hdf5.reading(path, MADE_BY)


def read_patients(path):
    """Ids of the labelled patients; str array, ValueError for one that is there twice."""
    with reading(path) as file:
        patients = hdf5.strings(file, "patient_ids")
    twice = pd.Series(patients)[pd.Series(patients).duplicated()]
    if len(twice):
        raise ValueError(f"{path} has the patient {ids.some(twice)} twice: make it again with {MADE_BY} --overwrite")
    return patients


def read_attributes(path):
    with reading(path) as file:
        return hdf5.attributes(file)


def unit(attributes):
    """Unit of the labels of expression, by the attributes of the file: 'log2(TPM + 1)'."""
    base = attributes.get("log_base", np.nan)
    return f"log{base:g}(TPM + 1)" if np.isfinite(base) else "log(TPM + 1), base not recorded"


def read_cell_types(path):
    """Names of the cell types with expression, sorted."""
    with reading(path) as file:
        return sorted(file.get("expression", ()))


def n_labels(path):
    """Number of labels of the cell type that has most, without reading any; 0 where none has expression."""
    with reading(path) as file:
        return max((group["labels"].size for group in file.get("expression", {}).values()), default=0)


def choose_cell_types(path, names):
    """Cell types for names, short forms or `all`, each once; ValueError names the known ones."""
    known = read_cell_types(path)
    if "all" in names:
        return known
    unknown = [name for name in names if ids.cell_type(name, known) not in known]
    if unknown:
        raise ValueError(f"no cell type '{unknown[0]}' in {path}: give all or some of {', '.join(known)}")
    return list(dict.fromkeys(ids.cell_type(name, known) for name in names))


def read_labels(path, name):
    """Labels of a cell type or of "abundance": patients, outputs, labels float32 (n_patients, n_outputs) as they are.

    ValueError for labels of another shape or type, outputs that are there twice and fractions outside 0..1.
    """
    group_name, outputs_name = ("abundance", "cell_types") if name == "abundance" else (f"expression/{name}", "genes")
    patients = read_patients(path)
    with reading(path) as file:
        outputs, stored = hdf5.strings(file[group_name], outputs_name), file[group_name]["labels"]
        if stored.dtype.kind != "f" or stored.shape != (len(patients), len(outputs)):
            raise ValueError(f"{path}: {group_name}/labels are {stored.dtype} of shape {stored.shape}, needed: "
                             f"floating numbers of {len(patients)} patients x {len(outputs)} {outputs_name}; make it "
                             f"again with {MADE_BY} --overwrite")
        labels = stored[:].astype(np.float32)
    if len(set(outputs)) < len(outputs):
        twice = pd.Series(outputs)[pd.Series(outputs).duplicated()]
        raise ValueError(f"{path}: {group_name} has {ids.some(twice)} twice: make it again with {MADE_BY} --overwrite")
    if name == "abundance" and ((labels < 0) | (labels > 1 + 1e-3)).any():
        raise ValueError(f"{path}: abundance/labels outside 0 to 1: fractions are needed; make it again with {MADE_BY} "
                         "--overwrite")
    return patients, outputs, labels


def read_expression(path, cell_type):
    """Expression of one cell type; genes that are constant or have missing labels are dropped with a note."""
    return checked_target(cell_type, *read_labels(path, cell_type), "genes")


def read_abundance(path):
    """Fractions of all cell types, as one target."""
    return checked_target("abundance", *read_labels(path, "abundance"), "cell types")


def read_response(path):
    """Response of clinical.csv as a target; ValueError when all known responses are alike."""
    known, said = clinical_file.known_responses(path), description_file.read(path.parent)
    return checked_target("direct", np.array(list(known), str), np.array([said.responder]),
                          np.array(list(known.values()))[:, None], "response")


def readers(project_path):
    """Functions that read each target of a project, by name: cell types, "abundance", "direct"."""
    path = project_path / NAME
    of_cell_types = {name: lambda name=name: read_expression(path, name) for name in read_cell_types(path)}
    return of_cell_types | {"abundance": lambda: read_abundance(path),
                            "direct": lambda: read_response(project_path / clinical_file.NAME)}


def read_confidence(path, cell_type):
    """Confidence of each gene's labels; Series of float32 by gene."""
    with reading(path) as file:
        group = file["expression"][cell_type]
        return pd.Series(group["confidence"][:], index=hdf5.strings(group, "genes"), name="confidence")


def checked_target(name, patient_ids, outputs, labels, kind):
    """Make a Target of the outputs that are finite and vary; ValueError when none is left."""
    labels = labels.astype(np.float32)
    missing = ~np.isfinite(labels).all(0)
    constant = ~missing & (labels == labels[:1]).all(0)
    for dropped, reason in ((missing, "missing labels"), (constant, "constant")):
        if dropped.any():
            logging.info(f"{name}: dropped, {reason}: {ids.counted(outputs[dropped])}")
    kept = ~(missing | constant)
    if not kept.any():
        raise ValueError(f"{name}: no {kind} left to predict, all are constant or have missing labels")
    patient_ids, outputs, labels = patient_ids.astype(str), outputs[kept].astype(str), labels[:, kept]
    return Target(name, patient_ids, outputs, labels, checksums.of_content(patient_ids, outputs, labels))
