"""Nested folds by patient: drawing, importing, checking, reading. The owner of the format of splits.json.

    {"seed", "n_outer", "n_inner", "stratify", "group_by", "patients": [...],
     "outer": [{"test": [...], "inner": [{"train": [...], "valid": [...]}, ...]}, ...]}     patient ids

Imported folds have "imported", the SHA-256 of the file they come from, in the place of the first five.
"""
import json

import numpy as np
import pandas as pd

from slide_ex.project import cohort_files

PARTS = ("train", "valid", "test")
MIN_PATIENTS = 3  # of a part: two have a correlation of 1 or -1, whatever they are


def draw(patients, n_outer, n_inner, seed, strata=None, groups=None):
    """Draw folds: each patient is tested once, and once per outer fold in the validation part of an inner fold.

    Parameters
    ----------
    patients : list of str
        Drawn in sorted order, so that the order given does not matter.
    strata : dict of patient to str, optional
        Every fold gets its share of each stratum.
    groups : dict of patient to str, optional
        Patients of a group are never on two sides of a fold.
    """
    if min(n_outer, n_inner) < 2:
        raise ValueError(f"{n_outer} x {n_inner} folds: give --outer and --inner of at least 2")
    random = np.random.default_rng(seed)
    patients = sorted(patients)
    outer = []
    for test in deal(patients, n_outer, strata or {}, groups or {}, random):
        rest = [patient for patient in patients if patient not in set(test)]
        inner = [{"train": [patient for patient in rest if patient not in set(valid)], "valid": valid}
                 for valid in deal(rest, n_inner, strata or {}, groups or {}, random)]
        outer.append({"test": test, "inner": inner})
    return {"seed": seed, "n_outer": n_outer, "n_inner": n_inner, "patients": patients, "outer": outer}


def deal(patients, n_folds, strata, groups, random):
    """Deal shuffled patients (or groups, the biggest first) to folds, each where its strata are rarest, then where
    patients are fewest; list of n_folds sorted lists. ValueError for fewer patients or groups than folds."""
    groups = pd.Series(patients).groupby([groups.get(patient, patient) for patient in patients]).agg(list)
    if len(groups) < n_folds:
        raise ValueError(f"{len(groups)} patients or groups of patients are too few for {n_folds} folds: give fewer "
                         "folds with --outer and --inner")
    stratum_number = {stratum: i for i, stratum in enumerate(sorted({strata.get(patient, "") for patient in patients}))}
    folds, counts = [[] for _ in range(n_folds)], np.zeros((n_folds, len(stratum_number)))
    for group in sorted((groups.iloc[i] for i in random.permutation(len(groups))), key=len, reverse=True):
        of_group = np.bincount([stratum_number[strata.get(patient, "")] for patient in group],
                               minlength=len(stratum_number))
        fold = min(range(n_folds), key=lambda k: (counts[k] @ of_group, counts[k].sum()))
        folds[fold] += group
        counts[fold] += of_group
    return [sorted(fold) for fold in folds]


def sites(patients):
    """Tissue source site of each patient, characters 6 and 7 of a TCGA barcode; ValueError for other ids."""
    others = [patient for patient in patients if not patient.startswith("TCGA-")]
    if others:
        raise ValueError(f"no site in the ids of {cohort_files.examples(others)}, which are no TCGA barcodes: give a "
                         "column Site in clinical.csv")
    return {patient: patient[5:7] for patient in patients}


def from_table(path, slides, patients):
    """Folds from a file of another program.

    A CSV has the columns outer, inner, part (train, valid or test) and Patient.ID. A JSON file is a splits.json, or
    an object of train, valid and test, lists [outer][inner] of patient ids or of slide indexes (rows of
    metadata.csv). Patients that are not among `patients` are left out of the folds.
    """
    if path.suffix == ".csv":
        table = pd.read_csv(path, dtype={"Patient.ID": str})
        absent = {"outer", "inner", "part", "Patient.ID"} - set(table)
        if absent:
            raise ValueError(f"{path} has no column {', '.join(sorted(absent))}")
        lists = {part: [[of_inner.loc[of_inner["part"] == part, "Patient.ID"].tolist()
                         for _, of_inner in of_outer.groupby("inner")]
                        for _, of_outer in table.groupby("outer")] for part in PARTS}
    elif path.suffix == ".json":
        lists = json.loads(path.read_text())
        if "outer" in lists:
            lists = {"test": [[fold["test"] for _ in fold["inner"]] for fold in lists["outer"]],
                     **{part: [[inner[part] for inner in fold["inner"]] for fold in lists["outer"]]
                        for part in ("train", "valid")}}
        if not set(PARTS) <= set(lists):
            raise ValueError(f"{path}: neither a splits.json nor an object of train, valid and test")
    else:
        raise ValueError(f"{path}: folds are imported from .csv or .json, not from pickled arrays; see --help")
    patient_of_slide = dict(zip(slides.slide_indexes.tolist(), slides.patient_ids.tolist()))

    def chosen(ids):
        return sorted({patient_of_slide.get(i, "") if isinstance(i, int) else i for i in ids} & set(patients))

    outer = [{"test": chosen(test[0]),
              "inner": [{"train": chosen(t), "valid": chosen(v)} for t, v in zip(train, valid)]}
             for test, train, valid in zip(lists["test"], lists["train"], lists["valid"])]
    return {"n_outer": len(outer), "n_inner": min(len(fold["inner"]) for fold in outer),
            "patients": sorted({patient for fold in outer for patient in fold["test"]}), "outer": outer}


def read(path):
    """Read and check `splits.json`; ValueError for a damaged file and for what `check` refuses."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: run prediction/make_splits.py first")
    try:
        splits = json.loads(path.read_text())
        check(splits, path)
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged, or no file of folds ({type(error).__name__}: {error}): draw the folds "
                         "again with make_splits.py --overwrite") from error
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


def parts(splits):
    """Yield (outer, inner, name, patients) of each part of each fold."""
    for outer, fold in enumerate(splits["outer"]):
        for inner, sides in enumerate(fold["inner"]):
            for name in PARTS:
                yield outer, inner, name, fold["test"] if name == "test" else sides[name]


def refuse_small_parts(splits):
    """ValueError for a training or validation part of fewer than MIN_PATIENTS, in which there is no correlation."""
    small = [(len(patients), outer, inner, name) for outer, inner, name, patients in parts(splits)
             if name != "test" and len(patients) < MIN_PATIENTS]
    if small:
        n, outer, inner, name = min(small)
        raise ValueError(f"{n} patients in the {name} part of fold {outer} {inner}, which needs {MIN_PATIENTS} for a "
                         f"correlation: give fewer folds with --inner (now {splits['n_inner']}) and --outer (now "
                         f"{splits['n_outer']}), or more patients")


def one_class(splits, responses):
    """Names of the training and validation parts whose patients have one response only, by dict of patient to str."""
    return [f"{name} of fold {outer} {inner}" for outer, inner, name, patients in parts(splits) if responses
            and name != "test" and len({responses[patient] for patient in patients if patient in responses}) < 2]


def check_patients(splits, path, slides, target):
    """Patients with slides and labels but no fold; ValueError when patients of the folds have no slide or no label."""
    have = set(slides.patient_ids) & set(target.patient_ids)
    needed = set(slides.patient_ids) if target.name == "direct" else have  # to have no response is no mistake
    lacking = set(splits["patients"]) - needed
    if lacking:
        raise ValueError(f"{path} was drawn for other patients: no slides with tissue or no labels ({target.name}) for "
                         f"{cohort_files.examples(sorted(lacking))}; draw it again with make_splits.py --overwrite")
    return sorted(have - set(splits["patients"]))
