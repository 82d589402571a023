"""What lies in a project folder, read without changing anything. Absent files give None, unreadable ones ValueError."""
import json

import h5py
import numpy as np
import pandas as pd

from slide_ex.ids import some, with_near_matches
from slide_ex.text_table import read_strings

RESPONSES = ("pCR", "RD")  # pathological complete response, residual disease
TCGA_PATIENT = r"^(TCGA-[A-Z0-9]{2}-[A-Z0-9]{4})(?=-|$)"


def read_metadata(project):
    """slide_id, filename, patient_id, magnification and mpp ("" where not given), one row a slide."""
    path = project / "metadata.csv"
    if not path.is_file():
        return None
    table = read_strings(path, "one row a slide, separated by commas").apply(lambda column: column.str.strip())
    absent = [column for column in ("Slide.ID", "Filename") if column not in table]
    if absent:
        raise ValueError(f"metadata.csv has no column {with_near_matches(absent, table)}: rename it")
    given = table.get("Patient.ID", pd.Series("", table.index))
    barcode = table["Slide.ID"].str.extract(TCGA_PATIENT)[0].fillna("")
    slides = pd.DataFrame({"slide_id": table["Slide.ID"], "filename": table["Filename"],
                           "patient_id": given.where(given != "", barcode),
                           "magnification": table.get("Magnification", ""), "mpp": table.get("MPP", "")})
    for bad, message in ((slides["slide_id"].duplicated(), "Slide.ID is repeated"),
                         (slides["slide_id"] == "", "Slide.ID is empty"),
                         (slides["patient_id"] == "", "no patient, fill Patient.ID")):
        if bad.any():
            raise ValueError(f"metadata.csv: {message} in rows {some(slides.index[bad])} "
                             f"({some(slides['slide_id'][bad], 3)})")
    return slides


def find_table(project, name):
    """Path of <name>.tsv[.gz], or None."""
    return next((path for ending in ("tsv", "tsv.gz") if (path := project / f"{name}.{ending}").is_file()), None)


def read_columns(path):
    """Column names of a table genes x patients, without that of the genes."""
    return list(pd.read_csv(path, sep="\t", index_col=0, nrows=1, dtype=str))


def read_response(project):
    """Series patient -> response of clinical.csv, or None."""
    path = project / "clinical.csv"
    if not path.is_file():
        return None
    table = read_strings(path, "a table with Patient.ID and Response")
    absent = [column for column in ("Patient.ID", "Response") if column not in table]
    if absent:
        raise ValueError(f"clinical.csv has no column {with_near_matches(absent, table)}: rename it")
    return table.set_index("Patient.ID")["Response"].str.strip()


def read_targets(project):
    """dict of patients, cell_types (with expression), attributes; None where there is no targets.h5."""
    path = project / "targets.h5"
    if not path.is_file():
        return None
    with open_h5(path) as file:
        return {"patients": list(file["patient_ids"].asstr()[:]), "cell_types": sorted(file["expression"]),
                "attributes": plain_attributes(file)}


def read_features(project):
    """dict of slides (slide_id, patient_id, n_tiles), attributes; None where there is no features.h5."""
    path = project / "features.h5"
    if not path.is_file():
        return None
    with open_h5(path) as file:
        slides = pd.DataFrame({name: file[f"{name}s"].asstr()[:] for name in ("slide_id", "patient_id")})
        return {"slides": slides.assign(n_tiles=np.diff(file["first_tile"][:])), "attributes": plain_attributes(file)}


def read_slide_features(project, slides):
    """Attributes of the feature files that are there, one row a slide (index slide_id); broken ones are no rows."""
    rows = {}
    for slide_id in slides["slide_id"]:
        path = project / "features" / f"{slide_id}.h5"
        if path.is_file():
            try:
                with h5py.File(path) as file:
                    rows[slide_id] = plain_attributes(file) | {"n_tiles": len(file["features"])}
            except (OSError, KeyError):
                continue
    return pd.DataFrame.from_dict(rows, orient="index")


def read_splits(project):
    """splits.json, or None."""
    path = project / "splits.json"
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ValueError(f"splits.json cannot be read ({error})") from None


def open_h5(path):
    try:
        return h5py.File(path)
    except OSError as error:
        raise ValueError(f"{path.name} cannot be read ({error})") from None


def plain_attributes(file):
    """Attributes of an HDF5 file as plain Python values, by name."""
    return {name: value.item() if isinstance(value, np.generic) else value
            for name, value in sorted(file.attrs.items())}
