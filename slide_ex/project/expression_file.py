"""deconvolution/expression.h5, expression of each cell type in each patient (truth/expression.h5 has the same format).

    expression     float32 (n_cell_types, n_genes, n_patients)   linear, in the units of bulk (TPM): one cell
                                                                 type or one block of genes is read on its own
    bulk           float32 (n_genes, n_patients)                 what was deconvolved, after the checks
    cell_types     str (n_cell_types,)
    genes          str (n_genes,)
    patient_ids    str (n_patients,)
    attributes: method, parameters (JSON object), inputs (JSON object: file name -> SHA-256)

`parameters` and `inputs` are everything that decides the result.
"""
import json

import numpy as np

from slide_ex import hdf5, ids, record

MADE_BY = "deconvolution/1main_deconvolution.py"
NAMES = ("cell_types", "genes", "patient_ids")


def write(path, expression, bulk, cell_types, genes, patient_ids, method, parameters, inputs, tables=None):
    """Write the file described above; `tables`: checksums of those beside it (checksums.of_files)."""
    with hdf5.writing(path) as file:
        hdf5.write_array(file, "expression", expression, np.float32)
        hdf5.write_array(file, "bulk", bulk, np.float32)
        for name, strings in zip(NAMES, (cell_types, genes, patient_ids)):
            hdf5.write_strings(file, name, strings)
        file.attrs.update(method=method, parameters=record.as_text(parameters), inputs=record.as_text(inputs))
        hdf5.record_files(file, tables or {})


def read_names(path):
    """Cell types, genes and patients; three lists of str."""
    with hdf5.reading(path, MADE_BY) as file:
        names = [hdf5.strings(file, name).tolist() for name in NAMES]
        if file["expression"].shape != tuple(map(len, names)) or file["expression"].dtype.kind != "f":
            raise ValueError(f"{path} is damaged (its names are not as many as its values): make it again with "
                             f"{MADE_BY} --overwrite")
        twice = [ids.some(sorted({name for name in of_kind if of_kind.count(name) > 1})) for of_kind in names
                 if len(set(of_kind)) < len(of_kind)]
        if twice:
            raise ValueError(f"{', '.join(twice)} twice")
        return names


def read_record(path):
    """What the file was made with: method, parameters and inputs."""
    with hdf5.reading(path, MADE_BY) as file:
        return {"method": file.attrs["method"]} | made_from(file.attrs, path, MADE_BY)


def made_from(attributes, path, made_by):
    """The dicts `parameters` and `inputs` of attributes; ValueError for attributes that are no JSON."""
    try:
        return {what: json.loads(attributes[what]) for what in ("parameters", "inputs")}
    except (KeyError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} does not say what it was made from ({error}): make it again with {made_by} "
                         "--overwrite") from None
