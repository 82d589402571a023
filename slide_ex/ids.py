"""Ids that should match and do not: lists that show, beside each, the id that was probably meant."""
import difflib
import re

SHOWN = 5
CUTOFF = .6  # of difflib's ratio


def some(ids, n=SHOWN):
    """The first n ids, and how many more."""
    ids = list(map(str, ids))
    return ", ".join(ids[:n]) + (f" and {len(ids) - n} more" if len(ids) > n else "")


def with_near_matches(ids, candidates, n=SHOWN):
    """The first n ids, each followed by the candidate that looks most like it, and how many more.

    'P-01 (P01?), P-02 and 3 more'
    """
    ids, candidates = list(map(str, ids)), list(map(str, candidates))
    shown = [f"{one} ({near}?)" if (near := nearest(one, candidates)) else one for one in ids[:n]]
    return ", ".join(shown) + (f" and {len(ids) - n} more" if len(ids) > n else "")


def nearest(one, candidates):
    """The candidate most like `one`, or None: first those that differ in case and punctuation only."""
    spelt_alike = next((other for other in candidates if bare(other) == bare(one)), None)
    return spelt_alike or next(iter(difflib.get_close_matches(one, candidates, n=1, cutoff=CUTOFF)), None)


def bare(one):
    """Letters and digits of an id, lower case, numbers without leading zeros: 'P_2' and 'p-02' are alike."""
    return re.sub(r"(?<!\d)0+(?=\d)|[\W_]", "", one).lower()
