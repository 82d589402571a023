"""Tables of text: read as strings, from a file that may be something else; and results, written as CSV."""
import pandas as pd

NOT_A_TABLE = (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError, EOFError, OSError)


def separator_of(path):
    """The comma for .csv and .csv.gz, else the tab."""
    return "," if path.name.removesuffix(".gz").endswith(".csv") else "\t"


def read_strings(path, what, n_skipped=0):
    """All cells as strings without blanks at their ends, empty ones as "".

    Raises FileNotFoundError, and ValueError for a file that is no table; both say `what` to give.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: give {what}")
    try:
        table = pd.read_csv(path, sep=separator_of(path), skiprows=n_skipped, dtype=str, keep_default_na=False,
                            encoding="utf-8-sig")
    except NOT_A_TABLE as error:
        raise ValueError(f"{path} is no table of text ({error}): give {what}") from None
    return table.apply(lambda column: column.str.strip())


def read_results(path, made_by, columns=()):
    """A table that one of the scripts wrote (`write_results`); ValueError where it is damaged or lacks `columns`.

    Names (gene, cell_type, slide_id, ...) are text whatever they look like; only empty cells are missing values.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: run {made_by} first")
    try:
        header = pd.read_csv(path, nrows=0)
        text = [name for name in header if name in TEXT_COLUMNS]
        table = pd.read_csv(path, dtype=dict.fromkeys(text, str), keep_default_na=False,
                            na_values={name: [""] for name in header if name not in text})
    except (*NOT_A_TABLE, ValueError) as error:
        raise ValueError(f"{path} is damaged ({error}): make it again with {made_by} --overwrite") from None
    absent = [name for name in columns if name not in table]
    if absent:
        raise ValueError(f"{path} has no column {', '.join(absent)}: make it again with {made_by} --overwrite")
    return table


TEXT_COLUMNS = {"gene", "cell_type", "target", "model", "head", "term", "features", "kind", "slide_id", "patient_id", "status",
                "reason", "part", "id"}


def write_results(table, path):
    """Write a table as all results are: CSV without row numbers, six digits."""
    table.to_csv(path, index=False, float_format="%.6g")
