"""Nested folds by patient: drawing, checking, reading. The owner of the format of splits.json.

    {"seed", "n_outer", "n_inner", "patients": [...],
     "outer": [{"test": [...], "inner": [{"train": [...], "valid": [...]}, ...]}, ...]}     patient ids
"""
import json

import cohort_files
import numpy as np


def draw(patients, n_outer, n_inner, seed, strata=None):
    """Draw folds: each patient is tested once, and once per outer fold in the validation part of an inner fold.

    Parameters
    ----------
    patients : list of str
        Drawn in sorted order, so that the order given does not matter.
    strata : dict of patient to str, optional
        Every fold gets its share of each stratum.
    """
    if len(patients) < n_outer * 2 or n_outer < 2 or n_inner < 2:
        raise ValueError(f"{len(patients)} patients are too few for {n_outer} x {n_inner} folds, or folds fewer than 2: "
                         "give --outer and --inner, at least 2 each and twice as many patients as outer folds")
    random = np.random.default_rng(seed)
    patients = sorted(patients)
    outer = []
    for test in deal(patients, n_outer, strata, random):
        rest = [patient for patient in patients if patient not in set(test)]
        inner = [{"train": [patient for patient in rest if patient not in set(valid)], "valid": valid}
                 for valid in deal(rest, n_inner, strata, random)]
        outer.append({"test": test, "inner": inner})
    return {"seed": seed, "n_outer": n_outer, "n_inner": n_inner, "patients": patients, "outer": outer}


def deal(patients, n_folds, strata, random):
    """Shuffle and deal patients like cards, one stratum after the other; list of n_folds sorted lists."""
    strata = strata or {}
    shuffled = [patients[i] for i in random.permutation(len(patients))]
    shuffled.sort(key=lambda patient: strata.get(patient, ""))
    return [sorted(shuffled[fold::n_folds]) for fold in range(n_folds)]


def read(path):
    """Read and check `splits.json`; ValueError for a patient on two sides of a fold or not tested exactly once."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: run prediction/make_splits.py first")
    splits = json.loads(path.read_text())
    check(splits, path)
    return splits


def check(splits, path):
    """ValueError unless every outer fold's test, train and valid are disjoint and every patient is tested once."""
    tested = [patient for fold in splits["outer"] for patient in fold["test"]]
    if sorted(tested) != sorted(splits["patients"]):
        raise ValueError(f"{path}: the test folds do not hold every patient exactly once")
    for k, fold in enumerate(splits["outer"]):
        for i, inner in enumerate(fold["inner"]):
            sides = [fold["test"], inner["train"], inner["valid"]]
            if len(set().union(*sides)) != sum(map(len, sides)) or not set().union(*sides) <= set(splits["patients"]):
                raise ValueError(f"{path}: fold {k} {i} has a patient on two sides, or one that is not in the list")


def check_patients(splits, path, slides, target):
    """ValueError when patients of the folds have no slide or no label; note of patients that have no fold."""
    have = set(slides.patient_ids) & set(target.patient_ids)
    lacking = set(splits["patients"]) - have
    if lacking and target.name != "direct":  # many patients have no response, and that is no mistake
        raise ValueError(f"{path} was drawn for other patients: no slides with tissue or no labels ({target.name}) for "
                         f"{cohort_files.examples(sorted(lacking))}; draw it again with make_splits.py --overwrite")
    return sorted(have - set(splits["patients"]))
