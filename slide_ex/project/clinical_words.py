"""Words of clinical tables: which mean that a value is missing, and whether a column holds numbers or categories.

Sources: GDC Data Dictionary ('--, not reported, unknown, not allowed to collect), TCGA biotab and cBioPortal
([Not Available], [Not Applicable], [Not Evaluated], [Unknown], [Discrepancy], [Completed], [Pending]), R (NA), pandas
(nan, <NA>, NaT), SQL (NULL), Excel (#N/A and other errors), SAS, SPSS and Stata (.).
"""
import numpy as np
import pandas as pd

from slide_ex.ids import counted, some

MISSING = {"", "na", "n/a", "n.a.", "nan", "<na>", "nat", "null", "#n/a", "#na", "#value!", "#ref!", "#div/0!",
           "#null!", "#num!", "#name?", "'--", "--", "---", "-", ".", "?", "missing", "unknown", "unk", "not known",
           "not reported", "not available", "not applicable", "not evaluated", "not allowed to collect", "not done",
           "not performed", "not assessed", "not recorded", "not provided", "not specified", "no data", "discrepancy",
           "completed", "pending"}
BRACKETED = {"completed", "pending", "discrepancy"}   # missing only as [Completed]: alone they can be a category
MOSTLY = .5              # share of numbers among the known cells of a column that is meant to be one of numbers
MOST_CATEGORIES = .5     # of the known cells: with more, a category is about one patient
FEW = 10                 # known cells that say nothing about that


def is_missing(word):
    """Whether a cell means that nothing is known, in any case and in brackets or not."""
    word = str(word).strip().lower()
    bare = word.removeprefix("[").removesuffix("]").strip() if word.startswith("[") and word.endswith("]") else word
    return bare in MISSING and (bare not in BRACKETED or bare != word)


def without_missing(column):
    """A column (Series of str) with "" for every word that means missing; beside + the word - means negative."""
    is_negative = column.eq("-") & column.eq("+").any()
    return column.where(~column.map(is_missing) | is_negative, "")


def as_numbers(column, name, path):
    """A column as floats (NaN where missing), or None where it holds categories.

    ValueError for a column that is mostly numbers with other words among them, and for one whose categories are about
    one patient each.
    """
    column = without_missing(column)
    known = column[column != ""]
    numbers = pd.to_numeric(known, errors="coerce")
    words = known[~np.isfinite(numbers)]
    if words.empty:
        return pd.to_numeric(column.replace("", None), errors="coerce").astype(float)
    listed = some(dict.fromkeys(map(repr, words)))
    if len(words) < (1 - MOSTLY) * len(known):
        raise ValueError(f"{path}: {name} holds numbers and {counted(map(repr, dict.fromkeys(words)), 8)} that "
                         "are none: write numbers, or leave the cells empty")
    if known.nunique() > MOST_CATEGORIES * len(known) and len(known) >= FEW:
        comma = "; numbers need a decimal point" if words.str.fullmatch(r"-?\d+,\d+").any() else ""
        raise ValueError(f"{path}: {name} has {known.nunique()} different words in {len(known)} patients ({listed}), "
                         f"so a category would be about one patient{comma}: leave the column out, or group its words")
    refuse_spellings(known, name, path)
    return None


def refuse_spellings(words, name, path):
    """ValueError for words that differ in case and blanks only: they would be two groups of patients."""
    words = pd.Series(sorted(set(words)))
    spelt = words.groupby(words.map(lambda word: "".join(word.casefold().split()))).agg(list)
    twice = [" and ".join(map(repr, of_one)) for of_one in spelt if len(of_one) > 1]
    if twice:
        raise ValueError(f"{path}, column {name}: {some(twice)} differ in case or blanks only: write one word for one "
                         "thing")
