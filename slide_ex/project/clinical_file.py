"""clinical.csv, one row a patient: response to chemotherapy, site, and what else is known.

    Patient.ID   unique
    Response     pCR (pathological complete response), RD (residual disease) or empty
    Site         hospital, optional
    ...          covariates, optional
"""
import logging

from slide_ex import ids, text_table

NAME = "clinical.csv"
RESPONDER, NON_RESPONDER = "pCR", "RD"
RESPONSES = {NON_RESPONDER: 0.0, RESPONDER: 1.0}


def read(path):
    """The table as strings ("" where empty), index Patient.ID; ValueError for repeated or absent patients."""
    table = text_table.read_strings(path, "a table with the columns Patient.ID and Response")
    if "Patient.ID" not in table:
        raise ValueError(f"{path} has no column {ids.with_near_matches(['Patient.ID'], table)}, its columns are "
                         f"{ids.some(table, 12)}: rename one")
    twice = table["Patient.ID"][table["Patient.ID"].duplicated()]
    if len(twice):
        raise ValueError(f"{path} has more than one row for {ids.counted(twice)}: keep one row a patient")
    return table.set_index("Patient.ID")


def has_column(path, column):
    """Whether the file is there and has a column."""
    return path.is_file() and column in read(path)


def read_column(path, column):
    """One column as dict of patient to str, empty cells as ""; ValueError where there is no such column."""
    table = read(path)
    if column not in table:
        raise ValueError(f"{path} has no column {ids.with_near_matches([column], table)}, its columns are Patient.ID, "
                         f"{ids.some(table, 12)}")
    return table[column].to_dict()


def read_responses(path):
    """Response of each patient, pCR, RD or ""; ValueError for other words."""
    response = read_column(path, "Response")
    unknown = sorted(set(response.values()) - {*RESPONSES, ""})
    if unknown:
        raise ValueError(f"{path}, column Response: {ids.with_near_matches(unknown, RESPONSES)} is not {RESPONDER}, "
                         f"{NON_RESPONDER} or empty: write one of these")
    return response


def known_responses(path):
    """Response by patient, pCR = 1 and RD = 0; patients with an empty response are not in it, with a note."""
    response = read_responses(path)
    known = {patient: RESPONSES[value] for patient, value in response.items() if value}
    if len(known) < len(response):
        logging.info(f"no response known: {ids.counted(sorted(set(response) - set(known)))}")
    return known


def write(path, table):
    """Write the file from a table with the index or the column Patient.ID."""
    table = table.reset_index() if "Patient.ID" not in table else table
    table.to_csv(path, index=False)
