"""Tables of numbers with names in the first line and column: read, and in one line what is wrong.

How the file is laid out is in text_table.py, what genes x samples are besides in gene_table.py.
"""
import numpy as np
import pandas as pd

from slide_ex import ids, text_table
from slide_ex.ids import counted, some

MISSING = ["NA", "NaN", "nan", "N/A", "n/a", "NULL", "null", "<NA>", "#N/A"]    # what R, pandas, SQL and Excel write
TOO_LARGE = 1e12       # no expression, in any unit


def read(path, separator=None):
    """Table of numbers (rows x columns, names as strings) from text; see text_table for what is understood.

    The first column holds the row names; its header may be anything or missing, as R writes it. Raises ValueError that
    names file, rows and columns.
    """
    return read_parts(path, separator, lambda name: False)[0]


def read_parts(path, separator, left_out):
    """The table as `read` gives it without the columns for whose names `left_out` is true, and these, as strings."""
    found = text_table.layout(path, separator=separator)
    if len(found.header) < 2:
        raise ValueError(f"{path}: one column only; a table with names in the first line and column, separated by "
                         "tabs, commas, semicolons or blanks, is needed")
    text_table.refuse_repeated(found.header[1:], path)
    text_table.refuse_ragged(path, found)
    is_text = [i == 0 or left_out(name) for i, name in enumerate(found.header)]
    try:
        with text_table.opened(path, found.encoding) as file:
            table = pd.read_csv(file, skiprows=found.n_before + 1, header=None, names=range(len(found.header)),
                                dtype={i: str for i, text in enumerate(is_text) if text}, sep=found.separator,
                                keep_default_na=False, na_values={i: ["", *MISSING] for i, text in enumerate(is_text)
                                                                  if not text}, low_memory=False, skipinitialspace=True)
    except text_table.NOT_A_TABLE as error:
        raise ValueError(f"{path} is no readable table: {error}") from error
    if table.empty:
        raise ValueError(f"{path} has no rows below its first line")
    if found.is_gct:
        refuse_cut_gct(path, found, table)
    table.columns = found.header
    table = table.set_axis(table.iloc[:, 0].str.strip().to_numpy(), axis=0).iloc[:, 1:]
    nameless = [not name and table.iloc[:, i].isna().all() for i, name in enumerate(table.columns)]
    table = table.loc[:, ~np.array(nameless, bool)]
    if "" in table.columns:
        raise ValueError(f"{path}: a column with values has no name in the first line")
    described = [left_out(name) for name in table]
    numbers, annotation = table.loc[:, ~np.array(described, bool)], table.loc[:, described]
    refuse_text(numbers, path)
    numbers.columns = [ids.with_dashes(name) for name in numbers]
    text_table.refuse_repeated(list(numbers), path)
    return numbers.astype(float), annotation


def refuse_cut_gct(path, found, table):
    """ValueError for a GCT file of another size than its second line says, or of version 1.3."""
    with text_table.opened(path, found.encoding) as file:
        version, size = next(file).strip(), next(file).split()
    if not version.startswith("#1.2"):
        raise ValueError(f"{path} is GCT {version[1:4]}, with rows that describe samples: save it as GCT 1.2 or as a "
                         "plain table")
    if [int(number) for number in size[:2] if number.isdigit()] != [len(table), len(found.header) - 2]:
        raise ValueError(f"{path} says {' x '.join(size[:2])} and has {len(table)} rows of {len(found.header) - 2} "
                         "samples: is it cut off?")


def refuse_text(table, path):
    """ValueError that shows the first value that is no number."""
    text = [i for i, kind in enumerate(table.dtypes) if not pd.api.types.is_numeric_dtype(kind) or kind == bool]
    if not text:
        return
    column = table.iloc[:, text[0]].astype(str)
    wrong = pd.to_numeric(column, errors="coerce").isna() & column.ne("nan")
    value, row = column[wrong].iloc[0], column.index[wrong][0]
    columns = some(table.columns[text])
    if pd.Series(value).str.fullmatch(r"[-+]?\d+,\d+(?:[eE][-+]?\d+)?")[0]:
        raise ValueError(f"{path}: decimal commas ({value!r} of {row}) in {columns}: save it with decimal points")
    raise ValueError(f"{path}: columns with something that is no number ({value!r} of {row}): {columns}: "
                         "correct or remove them")


def refuse_missing(table, path):
    """ValueError for values that are missing, infinite or no expression in any unit."""
    bad = ~(np.isfinite(table) & (table.abs() < TOO_LARGE)).to_numpy()
    if bad.any():
        raise ValueError(f"{path}: missing, infinite or impossible values in {some(table.columns[bad.any(axis=0)])} "
                         f"(of {counted(table.index[bad.any(axis=1)])}): fill or remove them")
