"""Checksums of what models are trained on, as slide_ex/project/cohort_files.py records them in config.json."""
import hashlib

import h5py
import numpy as np

RESPONSES = {"RD": 0.0, "pCR": 1.0}


def of_features(path, attributes):
    """Of the slides with tissue in features.h5, by their means, and of its attributes."""
    with h5py.File(path) as file:
        ids = [file[name].asstr()[:].astype(str) for name in ("slide_ids", "patient_ids")]
        n_tiles, means = np.diff(file["first_tile"][:]), file["mean_features"][:].astype(np.float32)
    return checksum(*(values[n_tiles > 0] for values in (*ids, n_tiles, means)), attributes)


def of_target(path, name):
    """Of the labels in targets.h5 for a cell type or "abundance"."""
    group, outputs = ("abundance", "cell_types") if name == "abundance" else (f"expression/{name}", "genes")
    with h5py.File(path) as file:
        patients, outputs = (file[one].asstr()[:].astype(str) for one in ("patient_ids", f"{group}/{outputs}"))
        return of_labels(patients, outputs, file[f"{group}/labels"][:].astype(np.float32))


def of_response(response):
    """Of the known responses, a Series patient -> pCR, RD or ""."""
    known = response[response.isin(list(RESPONSES))]
    labels = known.map(RESPONSES).to_numpy(np.float32)[:, None]
    return of_labels(known.index.to_numpy(str), np.array(["pCR"]), labels)


def of_labels(patients, outputs, labels):
    """Of patients, outputs and labels, without outputs that are constant or have missing labels."""
    kept = np.isfinite(labels).all(0) & ~(labels == labels[:1]).all(0)
    return checksum(patients, outputs[kept].astype(str), labels[:, kept])


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
