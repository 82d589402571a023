"""clinical.csv, one row a patient: response to treatment, site, and what else is known.

    Patient.ID   unique
    Response     pCR (pathological complete response), RD (residual disease) or empty; other columns and words as
                 description_file says
    Site         hospital, optional
    Time, Event  survival, optional: time from diagnosis (any unit, one for all) and whether the event happened then,
                 1, or 0 where the patient was last seen without it; other names by --endpoint of predict_response.py
    Purity       fraction of malignant cells, 0..1, optional; read where deconvolution is asked to (--purity)
    ...          covariates, optional

Cells that mean "missing" (clinical_words) are empty in every column but Patient.ID.
"""
import logging
import re

from slide_ex import ids, text_table
from slide_ex.project import clinical_words, description_file

NAME = "clinical.csv"
TIME, EVENT = "Time", "Event"
OF_SURVIVAL = ("vital_status", "days_to_death", "days_to_last_follow_up", "days_to_follow_up")     # fields of GDC
TELLS_SURVIVAL = re.compile(rf"{'|'.join(OF_SURVIVAL)}|death_days_to|last_contact_days_to|"
                            r"(os|dss|dfs|dfi|pfs|pfi|rfs)([._](time|days|months|status|event|cr))*", re.IGNORECASE)
# also of TCGA's biotab, cBioPortal (OS_MONTHS) and the TCGA-CDR (Liu et al. 2018, OS.time)
EVENT_WORDS = dict.fromkeys(("1", "1.0", "true", "yes", "dead", "deceased"), 1.) | dict.fromkeys(
    ("0", "0.0", "false", "no", "alive", "living"), 0.)     # cBioPortal writes 1:DECEASED


def read(path):
    """The table as strings ("" where missing), index Patient.ID; ValueError for repeated or absent patients."""
    table = text_table.read_strings(path, "a table with the columns Patient.ID and Response")
    if "Patient.ID" not in table:
        raise ValueError(f"{path} has no column {ids.with_near_matches(['Patient.ID'], table)}, its columns are "
                         f"{ids.some(table, 12)}: rename one")
    patients = table["Patient.ID"].map(ids.with_dashes)
    if (patients == "").any():
        raise ValueError(f"{path} has {(patients == '').sum()} rows without Patient.ID: fill them")
    twice = patients[patients.duplicated()]
    if len(twice):
        raise ValueError(f"{path} has more than one row for {ids.counted(twice)}: keep one row a patient")
    return table.drop(columns="Patient.ID").apply(clinical_words.without_missing).set_index(patients)


def compare(path, patients):
    """Log which of some patients have no row; ValueError where none has one, because ids are written otherwise."""
    rows, patients = read(path).index, set(patients)
    lacking = sorted(patients - set(rows))
    if len(rows) and lacking and len(lacking) == len(patients):
        raise ValueError(f"{path} has no row for any of {len(lacking)} patients: "
                         f"{ids.with_near_matches(lacking, rows, 3)}: write its Patient.ID as it is elsewhere")
    if lacking:
        logging.info(f"no row in {path.name}: {ids.counted(lacking)}")


def has_column(path, column):
    """Whether the file is there and has a column."""
    return path.is_file() and column in read(path)


def read_column(path, column):
    """One column as dict of patient to str, missing cells as ""; ValueError where there is no such column."""
    table = read(path)
    if column not in table:
        raise ValueError(f"{path} has no column {ids.with_near_matches([column], table)}, its columns are Patient.ID, "
                         f"{ids.some(table, 12)}")
    return table[column].to_dict()


def read_groups(path, column):
    """As `read_column`, of a column whose words are groups of patients; ValueError for one word in two spellings."""
    words = read_column(path, column)
    clinical_words.refuse_spellings(filter(None, words.values()), column, path)
    return words


def has_responses(path):
    """Whether the file is there and has the column of responses."""
    return has_column(path, description_file.read(path.parent).response_column)


def record_words(project, args):
    """Record what the options of description_file say of responses, after a look whether clinical.csv is so."""
    if description_file.said(args):
        said, table = description_file.of_content(description_file.with_options(project, args), "the options"), read(
            project / NAME)
        if said.response_column not in table:
            raise ValueError(f"{project / NAME} has no column {ids.with_near_matches([said.response_column], table)}, "
                             f"its columns are Patient.ID, {ids.some(table, 12)}: give one with --response-column")
        refuse_unknown(table[said.response_column], said, f"{project / NAME}, column {said.response_column}:")
        description_file.write(project, args)


def written_responses(path):
    """Response of each patient as it stands there, "" where missing."""
    return read_column(path, description_file.read(path.parent).response_column)


def refuse_unknown(words, said, where):
    """ValueError for words that are neither for a response nor for none."""
    if unknown := unknown_words(words, said):
        raise ValueError(f"{where} {about_unknown(unknown, said)}")


def unknown_words(words, said):
    """Words that are neither for a response nor for none nor missing, sorted."""
    return sorted(word for word in set(words) - {*said.responders, *said.non_responders}
                  if not clinical_words.is_missing(word))


def about_unknown(unknown, said):
    """In words what is wrong with them, and what to do."""
    known = [*said.responders, *said.non_responders]
    return (f"{ids.with_near_matches(unknown, known)} is not {', '.join(known)} or empty: write one of these, or say "
            'what the words mean with --responders "pCR,..." and --non-responders "RD,..."')


def read_responses(path):
    """Response of each patient in the user's words, description_file's responder, non_responder, or ""; ValueError for
    other words."""
    said = description_file.read(path.parent)
    written = written_responses(path)
    refuse_unknown(written.values(), said, f"{path}, column {said.response_column}:")
    word = {None: "", 1.0: said.responder, 0.0: said.non_responder}
    return {patient: word[said.number(value)] for patient, value in written.items()}


def known_responses(path):
    """Response by patient, 1 and 0 for none; patients whose response is missing are not in it, with a note."""
    said, response = description_file.read(path.parent), read_responses(path)
    known = {patient: float(value == said.responder) for patient, value in response.items() if value}
    if len(known) < len(response):
        logging.info(f"no response known: {ids.counted(sorted(set(response) - set(known)))}")
    return known


def known_survival(path, time_column, event_column):
    """(time, event) by patient; without those of whom one is missing, with a note. ValueError for what is neither."""
    times, events = read_column(path, time_column), read_column(path, event_column)
    words = {patient: event_of(word) for patient, word in events.items()}
    wrong = sorted({events[patient] for patient, event in words.items() if event is None})
    if wrong:
        raise ValueError(f"{path}, column {event_column}: {ids.some(map(repr, wrong))} is no event: write 1 (it "
                         "happened) or 0 (censored); dead and alive, true and false, 1:DECEASED and 0:LIVING are "
                         "known, too")
    numbers = clinical_words.as_numbers(read(path)[time_column], time_column, path)
    if numbers is None or (numbers < 0).any():
        raise ValueError(f"{path}, column {time_column}: " + ("it holds no numbers" if numbers is None else
                         f"it is below 0 for {ids.counted(numbers.index[numbers < 0])}") +
                         ": write the time from diagnosis to the event, or to the last visit without it")
    known = {patient: (float(numbers[patient]), event) for patient, event in words.items()
             if times[patient] and events[patient]}
    if len(known) < len(events):
        logging.info(f"no {time_column} or {event_column} known: {ids.counted(sorted(set(events) - set(known)))}")
    return known


def tells_survival(column):
    """Whether a column is called as one of survival, with the table of GDC before its name or without."""
    return any(TELLS_SURVIVAL.fullmatch(name) for name in (column, column.rpartition(".")[2]))


def event_of(word):
    """1. for a word that says an event happened, 0. for one that says it did not, NaN without one, None for others."""
    found = EVENT_WORDS.get(word.lower().split(":")[0].strip())
    return float("nan") if not word else found


def write(path, table):
    """Write the file from a table with the index or the column Patient.ID."""
    table = table.reset_index() if "Patient.ID" not in table else table
    table.to_csv(path, index=False)
