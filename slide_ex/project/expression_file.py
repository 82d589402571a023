"""The authority for deconvolution/expression.h5 and for when an output is finished.

    expression     float32 (n_cell_types, n_genes, n_patients)   linear, in the units of bulk (TPM), contiguous: one
                                                                 cell type or one block of genes is read on its own
    bulk           float32 (n_genes, n_patients)                 what was deconvolved, after the checks
    cell_types     str (n_cell_types,)
    genes          str (n_genes,)
    patient_ids    str (n_patients,)
    attributes: method, parameters (JSON object), inputs (JSON object: file name -> SHA-256)

`parameters` and `inputs` are everything that decides the result.
"""
import hashlib
import json
import re

import h5py

SHA256 = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{52}\b")


def write(path, expression, bulk, cell_types, genes, patient_ids, method, parameters, inputs):
    """Write the file described above."""
    with h5py.File(path, "w") as file:
        file["expression"] = expression.astype("float32", copy=False)
        file["bulk"] = bulk.astype("float32", copy=False)
        for name, strings in (("cell_types", cell_types), ("genes", genes), ("patient_ids", patient_ids)):
            file.create_dataset(name, data=list(strings), dtype=h5py.string_dtype())
        file.attrs.update(method=method, parameters=as_json(parameters), inputs=as_json(inputs))


def names(file, dataset):
    """Strings of a dataset of an open file."""
    return file[dataset].asstr()[:].tolist()


def sha256(path):
    """Checksum of a file, as hexadecimal digits."""
    with open(path, "rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
        return digest.hexdigest()


def as_json(mapping):
    return json.dumps(mapping, sort_keys=True)


def shown(value):
    """A value as text for a message, of checksums the first digits."""
    return SHA256.sub(r"\1...", str(value))


def is_finished(path, parameters, inputs):
    """Whether `path` exists and was made by the same parameters from the same inputs.

    Raises ValueError that names the first difference when it was made by or from something else."""
    if not path.exists():
        return False
    try:
        with h5py.File(path, "r") as file:
            made = {what: json.loads(file.attrs[what]) for what in ("parameters", "inputs")}
    except (OSError, KeyError) as error:
        raise ValueError(f"{path} was not written by this script ({error}): run with --overwrite") from error
    for what, now in (("parameters", parameters), ("inputs", inputs)):
        now = json.loads(as_json(now))
        for name in sorted(made[what].keys() | now.keys()):
            if made[what].get(name) != now.get(name):
                raise ValueError(f"{path} was made with {name} = {shown(made[what].get(name))}, now it is "
                                 f"{shown(now.get(name))}: "
                                 "run with --overwrite to redo it")
    return True
