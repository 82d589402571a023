"""Reads the files of other stages (features.h5, targets.h5, clinical.csv) and joins them by patient.

The formats are those of data/README.md. A checksum covers content, not bytes: it changes when what a model
learns from changes, and costs no second pass over tile features of a hundred gigabytes.
"""
import dataclasses
import hashlib
import logging
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

SHORT_FORMS = {"Cancer": "Cancer Epithelial", "Normal": "Normal Epithelial"}  # on command lines
RESPONSES = {"RD": 0.0, "pCR": 1.0}  # residual disease, pathological complete response
BLOCK_BYTES = 1 << 20  # read at a time for the checksum of a file


@dataclasses.dataclass(frozen=True)
class Slides:
    """Slides with tissue, in the order of features.h5."""
    path: Path                 # features.h5
    slide_ids: np.ndarray      # str (n_slides,)
    patient_ids: np.ndarray    # str (n_slides,)
    slide_indexes: np.ndarray  # int64 (n_slides,)   row of metadata.csv
    first_tile: np.ndarray     # int64 (n_slides,)   rows first_tile : first_tile + n_tiles of `features`
    n_tiles: np.ndarray        # int64 (n_slides,)   at least 1
    mean_features: np.ndarray  # float32 (n_slides, n_features)
    mean_rgb: np.ndarray       # float32 (n_slides, 3)
    attributes: dict           # encoder, weights, ...
    sha256: str                # of ids, tile counts, mean features (any changed tile changes a mean) and attributes

    def rows_of(self, patients):
        """Row numbers of the slides of some patients, ascending; int64 (n_rows,)."""
        return np.flatnonzero(np.isin(self.patient_ids, list(patients)))


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


def read_slides(path):
    """Read `features.h5` except its tile features; slides without tissue tiles are left out with a note.

    Raises ValueError for slides of different encoders, features that are not finite and no slide with tissue.
    """
    with open_hdf5(path, "slide_processing/collect_features.py") as file:
        attributes = {key: plain(value) for key, value in sorted(file.attrs.items())}
        if "encoder" not in attributes or "weights_sha256" not in attributes:
            raise ValueError(f"the slides of {path} come from different encoders or weights: run "
                             "slide_processing/1main_processing.py with --overwrite and one --encoder for all")
        slide_ids, patient_ids = (file[name].asstr()[:].astype(str) for name in ("slide_ids", "patient_ids"))
        first_tile = file["first_tile"][:]
        means, rgb = file["mean_features"][:].astype(np.float32), file["mean_rgb"][:].astype(np.float32)
    n_tiles = np.diff(first_tile)
    kept = n_tiles > 0
    if not kept.all():
        logging.info(f"left out, no tissue tiles: {examples(slide_ids[~kept])}")
    if not kept.any():
        raise ValueError(f"no slide of {path} has a tissue tile: look at mask.pdf")
    if not np.isfinite(means[kept]).all():
        broken = slide_ids[kept][~np.isfinite(means[kept]).all(1)]
        raise ValueError(f"{path} has features that are not finite in {examples(broken)}: process them again with "
                         "slide_processing/1main_processing.py --overwrite")
    sha256 = checksum(slide_ids[kept], patient_ids[kept], n_tiles[kept], means[kept], attributes)
    return Slides(path, slide_ids[kept], patient_ids[kept], np.flatnonzero(kept), first_tile[:-1][kept], n_tiles[kept],
                  means[kept], rgb[kept], attributes, sha256)


def read_cell_types(path):
    """Names of the cell types with expression in `targets.h5`, sorted."""
    with open_targets(path) as file:
        return sorted(file["expression"])


def choose_cell_types(path, name):
    """Cell types for a name, a short form or `all`; ValueError names the known ones."""
    known = read_cell_types(path)
    if name == "all":
        return known
    if SHORT_FORMS.get(name, name) not in known:
        raise ValueError(f"no cell type '{name}' in {path}: give all or one of {', '.join(known)}")
    return [SHORT_FORMS.get(name, name)]


def read_expression(path, cell_type):
    """Expression of one cell type; genes that are constant or have missing labels are dropped with a note."""
    with open_targets(path) as file:
        group = file["expression"][cell_type]
        return checked_target(cell_type, file["patient_ids"].asstr()[:], group["genes"].asstr()[:],
                              group["labels"][:], "genes")


def read_confidence(path, cell_type):
    """Confidence of each gene's labels; Series of float32 by gene."""
    with open_targets(path) as file:
        group = file["expression"][cell_type]
        return pd.Series(group["confidence"][:], index=group["genes"].asstr()[:].astype(str), name="confidence")


def read_abundance(path):
    """Fractions of all cell types, as one target."""
    with open_targets(path) as file:
        group = file["abundance"]
        return checked_target("abundance", file["patient_ids"].asstr()[:], group["cell_types"].asstr()[:],
                              group["labels"][:], "cell types")


def read_clinical(path, column):
    """One column of `clinical.csv` as dict of patient to str, empty cells as "".

    Raises FileNotFoundError, and ValueError for a missing column and for a patient with two rows.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: give a table with the columns Patient.ID and {column}")
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    for name in ("Patient.ID", column):
        if name not in table:
            raise ValueError(f"{path} has no column {name}; its columns are {', '.join(table)}")
    twice = table["Patient.ID"][table["Patient.ID"].duplicated()]
    if len(twice):
        raise ValueError(f"{path} has more than one row for {examples(twice)}")
    return dict(zip(table["Patient.ID"], table[column].str.strip()))


def read_response(path):
    """Response from `clinical.csv` as a target; ValueError when all known responses are alike."""
    known = known_responses(path)
    return checked_target("direct", np.array(list(known)), np.array(["pCR"]), np.array(list(known.values()))[:, None],
                          "response")


def known_responses(path):
    """Response by patient, pCR = 1 and RD = 0; patients with an empty response are not in it, with a note."""
    response = read_clinical(path, "Response")
    unknown = sorted(set(response.values()) - set(RESPONSES) - {""})
    if unknown:
        raise ValueError(f"{path}, column Response: {examples(unknown)} is not pCR, RD or empty")
    known = {patient: RESPONSES[value] for patient, value in response.items() if value}
    if len(known) < len(response):
        logging.info(f"no response known: {examples(sorted(set(response) - set(known)))}")
    return known


def checked_target(name, patient_ids, outputs, labels, kind):
    """Make a Target of the outputs that are finite and vary; ValueError when none is left."""
    labels = labels.astype(np.float32)
    missing = ~np.isfinite(labels).all(0)
    constant = ~missing & (labels == labels[:1]).all(0)
    for dropped, reason in ((missing, "missing labels"), (constant, "constant")):
        if dropped.any():
            logging.info(f"{name}: dropped, {reason}: {examples(outputs[dropped])}")
    kept = ~(missing | constant)
    if not kept.any():
        raise ValueError(f"{name}: no {kind} left to predict, all are constant or have missing labels")
    patient_ids, outputs, labels = patient_ids.astype(str), outputs[kept].astype(str), labels[:, kept]
    return Target(name, patient_ids, outputs, labels, checksum(patient_ids, outputs, labels))


def open_targets(path):
    """Open `targets.h5`; OSError names the script that makes it."""
    return open_hdf5(path, "deconvolution/prepare_targets.py")


def open_hdf5(path, made_by):
    """Open a file of another stage; OSError, naming the script that makes it, when it is missing or damaged."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: run {made_by} first")
    try:
        return h5py.File(path)
    except OSError as error:
        raise OSError(f"{path} is damaged ({error}): make it again with {made_by} --overwrite") from error


def checksum(*parts):
    """SHA-256 of arrays (shape, type and values) and plain objects (their repr)."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(f"{part.shape}{part.dtype.str}".encode())
            part = np.ascontiguousarray(part).data.cast("B") if part.size else b""
        else:
            part = repr(part).encode()
        digest.update(part)
    return digest.hexdigest()


def file_sha256(path):
    """SHA-256 of a file's bytes, read in blocks."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def plain(value):
    """An HDF5 attribute as a plain Python value."""
    return value.item() if hasattr(value, "item") else value


def examples(names):
    """How many, and the first few by name: '7 (A, B, C, ...)'."""
    names = [str(name) for name in names]
    return f"{len(names)} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
