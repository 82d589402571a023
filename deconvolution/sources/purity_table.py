"""Purity of the patients, the fraction of malignant cells, as pathology or DNA gives it (--purity)."""
import numpy as np

from model.tumour_purity import Purity
from slide_ex import ids, text_table
from slide_ex.ids import some
from slide_ex.project import clinical_file, clinical_words

COLUMN = "Purity"


def read(path):
    """{patient: purity as text} of a table with a column Purity, or one column beside the patients; "" where missing.

    Patients are in the column Patient.ID, or in the first one.
    """
    table = text_table.read_strings(path, f"a table of patients and their {COLUMN}")
    if table.shape[1] < 2 or table.empty:
        raise ValueError(f"{path} is no table of patients and their {COLUMN}: two columns are needed")
    if "Patient.ID" in table:
        return clinical_file.read_column(path, named(table.drop(columns="Patient.ID"), path))
    patients = table.iloc[:, 0].map(ids.with_dashes)
    twice = patients[patients.duplicated()]
    if len(twice):
        raise ValueError(f"{path} has more than one row for {ids.counted(twice)}: keep one row a patient")
    values = clinical_words.without_missing(table[named(table.iloc[:, 1:], path)])
    return dict(zip(patients, values))


def named(table, path):
    """Name of the column of purity: by its name, or because it is the only one."""
    found = [name for name in table if name.lower() == COLUMN.lower()]
    if not found and table.shape[1] > 1:
        raise ValueError(f"{path} has no column {COLUMN}, its columns are {some(table, 12)}: rename one")
    return found[0] if found else table.columns[0]


def of_patients(written, data, malignant, path):
    """Purity of the patients of inputs_of_project.Inputs, to which a line is added.

    `written`: as `read` gives it. Raises ValueError for patients without purity, and for values that can be none.
    """
    if not malignant:
        raise ValueError(f"purity is the fraction of malignant cells, and no cell type is malignant by its name "
                         f"({some(data.signature.columns, 20)}): say which with --malignant")
    patients = list(data.bulk.columns)
    lacking = [patient for patient in patients if not written.get(patient)]
    others = written.keys() - set(patients)
    if len(lacking) == len(patients):
        raise ValueError(f"{path} has no purity of any patient of bulk: {ids.with_near_matches(lacking, others, 3)}")
    if lacking:
        raise ValueError(f"{path}: no purity of {len(lacking)} of {len(patients)} patients of bulk: "
                         f"{ids.with_near_matches(lacking, others, 3)}: fill it in, or leave them out of bulk")
    values = as_numbers([written[patient] for patient in patients], patients, path)
    data.notes.append(f"{path.name}: purity, {values.min():.2f} to {values.max():.2f}, is the fraction of "
                      f"{' and '.join(malignant)}")
    if others:
        data.notes.append(f"{path.name}: {len(others)} patients have purity but no bulk")
    return Purity(values, data.signature.columns.isin(malignant))


def as_numbers(words, patients, path):
    """The values as fractions 0..1 (n_patients,); ValueError, naming patients, for what is none."""
    try:
        values = np.array(words, dtype=float)
    except ValueError:
        odd = [f"{patient} {word!r}" for word, patient in zip(words, patients) if not is_number(word)]
        raise ValueError(f"{path}: purity that is no number: {some(odd)}: write fractions between 0 and 1") from None
    outside = [f"{patient} {word}" for word, patient, value in zip(words, patients, values) if not 0 <= value <= 1]
    if outside and 1 < np.nanmax(values) <= 100 and np.nanmin(values) >= 0:
        raise ValueError(f"{path}: purity up to {np.nanmax(values):g} is in percent ({some(outside, 3)}): divide it by "
                         "100")
    if outside:
        raise ValueError(f"{path}: purity outside 0 to 1: {some(outside)}")
    if np.ptp(values) == 0:
        raise ValueError(f"{path}: purity is {values[0]:g} in all patients: it says nothing about them, leave it out")
    return values


def is_number(word):
    """Whether a word is one."""
    try:
        float(word)
    except ValueError:
        return False
    return True
