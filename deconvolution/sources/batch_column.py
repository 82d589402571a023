"""Batches of the patients: a column of clinical.csv, such as the sequencing centre (--batch)."""
from dataclasses import dataclass

import numpy as np

from slide_ex import ids
from slide_ex.project import clinical_file

MIN_PATIENTS = 5   # of a batch: fewer have no mean of their own


@dataclass
class Batch:
    """column: its name; number (n_patients,) of the batch of each patient, counted from 0 in the order of their
    words."""
    column: str
    number: np.ndarray


def read(project_path, column):
    """{patient: word} of the project's clinical.csv, "" where missing."""
    path = project_path / clinical_file.NAME
    if not path.is_file():
        raise FileNotFoundError(f"--batch {column} is a column of {path}, which is not there")
    return clinical_file.read_groups(path, column)


def of_patients(words, column, patients):
    """Batch of `patients`, the columns of bulk. ValueError for patients without one, and for batches of which nothing
    can be removed."""
    lacking = [patient for patient in patients if not words.get(patient)]
    if lacking:
        raise ValueError(f"{clinical_file.NAME}: no {column} of {len(lacking)} of {len(patients)} patients of bulk: "
                         f"{ids.some(lacking)}: fill it in, or leave out --batch")
    names, number, size = np.unique([words[patient] for patient in patients], return_inverse=True, return_counts=True)
    if len(names) == 1:
        raise ValueError(f"{clinical_file.NAME}: all patients of bulk have {column} {names[0]}: leave out --batch")
    if size.min() < MIN_PATIENTS:
        raise ValueError(f"{clinical_file.NAME}: fewer than {MIN_PATIENTS} patients of bulk have {column} "
                         f"{ids.some(names[size < MIN_PATIENTS])}: give them that of patients sequenced alike")
    return Batch(column, number)
