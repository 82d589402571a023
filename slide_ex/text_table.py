"""Tables of text, read as strings."""
import pandas as pd


def separator_of(path):
    """The comma for .csv and .csv.gz, else the tab."""
    return "," if path.name.removesuffix(".gz").endswith(".csv") else "\t"


def read_strings(path, what, n_skipped=0):
    """All cells as strings, empty ones as ""; ValueError for a file that is no table, which says `what` to give."""
    try:
        return pd.read_csv(path, sep=separator_of(path), skiprows=n_skipped, dtype=str, keep_default_na=False,
                           encoding="utf-8-sig")
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no table of text ({error}): give {what}") from None
