"""Joins rows of tables to slides: by ids wherever the table has them, else by row number, and says which."""
import numpy as np
import pandas as pd

from slide_ex.ids import some, with_near_matches

ANOTHER_ORDER = ", IN ANOTHER ORDER than the slides: the published scripts, which join by row number, mixed them up"


def per_patient(table, columns, slides, name):
    """Rows of a table of slides or patients as rows of patients.

    Ids are looked for in the index and in columns of text; slide ids, patient ids and barcodes that begin with one of
    them are understood. Without ids the rows must be as many as `slides`, in their order.

    Parameters
    ----------
    table : DataFrame
    columns : list of str, the columns wanted
    slides : DataFrame with slide_id and patient_id
    name : str, of the table, for messages

    Returns
    -------
    values : DataFrame (n_patients, n_columns), index the patients in the order of `slides`
    note : str, how the rows were joined
    """
    absent = [column for column in columns if column not in table]
    if absent:
        raise ValueError(f"{name} lacks {len(absent)} of {len(columns)} columns: {with_near_matches(absent, table)}")
    rows, note = rows_of_slides(table, slides, name)
    values = table.iloc[rows[rows >= 0]][columns].set_axis(slides["patient_id"].to_numpy()[rows >= 0], axis=0)
    again = values.index.duplicated()
    first = values[~again]
    repeated, expected = values[again], first.loc[values.index[again]]
    equal = (repeated.to_numpy() == expected.to_numpy()) | (repeated.isna() & expected.isna()).to_numpy()
    differing = repeated.index[~equal.all(axis=1)].unique()
    if len(differing):
        raise ValueError(f"{name}: slides of one patient have different values, so its rows are not those of the "
                         f"slides, or not one label a patient: {some(differing)}")
    several = repeated.index.nunique()
    return first, note + (f"; equal on all slides of the {several} patients with several" if several else "")


def rows_of_slides(table, slides, name):
    """Row of `table` for each slide, -1 where it has none, and how they were found."""
    text = [column for column in table if not pd.api.types.is_numeric_dtype(table[column])]
    for where, column in (("index", table.index), *((f"column {one}", table[one]) for one in text)):
        for kind in ("slide_id", "patient_id"):
            ids = without_endings(column, set(slides[kind]))
            if ids is not None:
                order = "" if ids == list(slides[kind]) else ANOTHER_ORDER
                row = {one: i for i, one in reversed(list(enumerate(ids)))}
                return (np.array([row.get(one, -1) for one in slides[kind]]),
                        f"{name}: joined by {kind.replace('_', ' ')} ({where}){order}")
    if len(table) != len(slides):
        raise ValueError(f"{name} has {len(table)} rows and no ids of slides or patients, there are {len(slides)} "
                         f"slides: its index is {some(table.index, 3)}, slides are {some(slides['slide_id'], 3)}")
    return np.arange(len(slides)), f"{name}: joined by row number, which no id can confirm"


def without_endings(ids, wanted):
    """The ids as strings, cut to the wanted id they begin with; None unless at least half of them are wanted ones.

    An id may go on after a wanted one as barcodes do: TCGA-A1-A0SB-01A is cut to TCGA-A1-A0SB.
    """
    cut = []
    for one in map(str, ids):
        ends = [i for i, character in enumerate(one) if character in "-."]
        cut.append(next((start for start in (one, *(one[:i] for i in reversed(ends))) if start in wanted), one))
    return cut if sum(one in wanted for one in cut) * 2 >= max(len(cut), 1) else None
