"""Nested folds by patient: drawn, or imported from another program (format: slide_ex/project/splits_file.py)."""
import logging

import numpy as np
import pandas as pd

from slide_ex import ids, record, text_table
from slide_ex.ids import counted
from slide_ex.project import splits_file

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
    others = [patient for patient in patients if not ids.tcga_site(patient)]
    if others:
        raise ValueError(f"no site in the ids of {counted(others)}, which are no TCGA barcodes: give a "
                         "column Site in clinical.csv")
    return {patient: ids.tcga_site(patient) for patient in patients}


def from_table(path, slides, patients):
    """Folds from a file of another program.

    A CSV has the columns outer, inner, part (train, valid or test) and Patient.ID. A JSON file is a splits.json, or
    an object of train, valid and test, lists [outer][inner] of patient ids or of slide indexes (rows of
    metadata.csv). Patients that are not among `patients` are left out of the folds.
    """
    if path.suffix not in (".csv", ".json"):
        raise ValueError(f"{path}: folds are imported from .csv or .json, not from pickled arrays; see --help")
    lists = lists_of_csv(path) if path.suffix == ".csv" else lists_of_json(path)
    refuse_uneven(lists, path)
    patient_of_slide = dict(zip(slides.slide_indexes.tolist(), slides.patient_ids.tolist()))
    sets = {part: [[{patient_of_slide.get(i, "") if isinstance(i, int) else i for i in named} for named in of_outer]
                   for of_outer in lists[part]] for part in splits_file.PARTS}
    refuse_unknown(set().union(*(named for of_part in sets.values() for of_outer in of_part for named in of_outer)),
                   patients, path)

    def chosen(named):
        return sorted(named & set(patients))

    outer = [{"test": chosen(tested(test, k, path)),
              "inner": [{"train": chosen(of_train), "valid": chosen(of_valid)}
                        for of_train, of_valid in zip(train, valid)]}
             for k, (test, train, valid) in enumerate(zip(sets["test"], sets["train"], sets["valid"]))]
    return {"n_outer": len(outer), "n_inner": min(len(fold["inner"]) for fold in outer),
            "patients": sorted({patient for fold in outer for patient in fold["test"]}), "outer": outer}


def lists_of_csv(path):
    """Who is named in each part of the folds of a CSV, {part: lists [outer][inner] of patient ids}."""
    table = text_table.read_strings(path, "a table with the columns outer, inner, part and Patient.ID")
    absent = {"outer", "inner", "part", "Patient.ID"} - set(table)
    if absent:
        raise ValueError(f"{path} has no column {', '.join(sorted(absent))}")
    if not table[["outer", "inner"]].apply(lambda column: column.str.fullmatch(r"\d+")).all(axis=None):
        raise ValueError(f"{path}: the columns outer and inner must hold numbers of folds, from 0")
    if other := sorted(set(table["part"]) - set(splits_file.PARTS)):
        raise ValueError(f"{path}: the column part holds {ids.some(map(repr, other))}: write train, valid or test, "
                         "and leave out the rows of other patients")
    table = table.astype({"outer": int, "inner": int})
    for name in ("outer", "inner"):
        numbers = sorted(table[name].unique())
        if numbers != list(range(len(numbers))):
            logging.info(f"{path.name}: the {name} folds {', '.join(map(str, numbers))} have numbers from 0 here, in "
                         "their order")
    return {part: [[of_inner.loc[of_inner["part"] == part, "Patient.ID"].tolist()
                    for _, of_inner in of_outer.groupby("inner")]
                   for _, of_outer in table.groupby("outer")] for part in splits_file.PARTS}


def lists_of_json(path):
    """The same of a JSON file, of patient ids or of slide indexes."""
    lists = record.read(path, "the program that wrote it", of_user=True)
    if "outer" in lists:
        return {"test": [[fold["test"] for _ in fold["inner"]] for fold in lists["outer"]],
                **{part: [[inner[part] for inner in fold["inner"]] for fold in lists["outer"]]
                   for part in ("train", "valid")}}
    if not set(splits_file.PARTS) <= set(lists):
        raise ValueError(f"{path}: neither a splits.json nor an object of train, valid and test")
    return lists


def refuse_uneven(lists, path):
    """ValueError unless all parts have the same outer folds, and these the same inner ones."""
    shapes = {part: [len(of_outer) for of_outer in lists[part]] for part in splits_file.PARTS}
    if len(set(map(tuple, shapes.values()))) > 1 or not shapes["test"] or 0 in shapes["test"]:
        said = "; ".join(f"{part} {shape}" for part, shape in shapes.items())
        raise ValueError(f"{path}: numbers of inner folds in each outer fold: {said}; train, valid and test need the "
                         "same, at least one")


def tested(of_inner, outer, path):
    """The test part of an outer fold, which all of its inner folds that name one (sets of ids) name alike."""
    named = [one for one in of_inner if one]
    if any(one != named[0] for one in named):
        raise ValueError(f"{path}: the inner folds of outer fold {outer} have different test parts: the models of an "
                         "outer fold are tested on the same patients")
    return named[0] if named else set()


def refuse_unknown(named, patients, path):
    """Log who is named in a file of folds and has no slides or labels; ValueError where nobody of them has."""
    unknown = sorted(named - set(patients) - {""})
    if not named & set(patients):
        raise ValueError(f"{path} names no patient that has slides and labels, but "
                         f"{ids.with_near_matches(unknown, patients, 3)}: write the ids of metadata.csv")
    if unknown:
        logging.info(f"in {path.name} without slides or labels, not used: {counted(unknown)}")


def refuse_small_parts(splits):
    """ValueError for a training or validation part of fewer than MIN_PATIENTS, in which there is no correlation."""
    small = [(len(patients), outer, inner, name) for outer, inner, name, patients in splits_file.parts(splits)
             if name != "test" and len(patients) < MIN_PATIENTS]
    if small:
        n, outer, inner, name = min(small)
        raise ValueError(f"{n} patients in the {name} part of fold {outer} {inner}, which needs {MIN_PATIENTS} for a "
                         f"correlation: give fewer folds with --inner (now {splits['n_inner']}) and --outer (now "
                         f"{splits['n_outer']}), or more patients")
