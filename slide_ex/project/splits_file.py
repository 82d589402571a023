"""splits.json, the nested folds by patient.

    {"seed", "n_outer", "n_inner", "stratify", "group_by", "patients": [...],
     "outer": [{"test": [...], "inner": [{"train": [...], "valid": [...]}, ...]}, ...]}     patient ids

Imported folds have "imported", the SHA-256 of the file they come from, in the place of the first five.
"""
from slide_ex import ids, record, script

NAME = "splits.json"
MADE_BY = "prediction/make_splits.py"
PARTS = ("train", "valid", "test")


def read(path):
    """Read and check the file; ValueError for a damaged file and for what `check` refuses."""
    splits = record.read(path, MADE_BY)
    try:
        check(splits, path)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is damaged, or no file of folds ({type(error).__name__}: {error}): draw the folds "
                         "again with make_splits.py --overwrite") from error
    return splits


def write(path, splits):
    with script.whole(path) as part:
        part.write_text(record.text(splits), encoding="utf-8")


def check(splits, path):
    """ValueError unless every outer fold's test, train and valid are disjoint and every patient is tested once."""
    tested = [patient for fold in splits["outer"] for patient in fold["test"]]
    if sorted(tested) != sorted(splits["patients"]):
        raise ValueError(f"{path}: the test folds do not hold every patient exactly once: draw them again with "
                         "make_splits.py --overwrite")
    if any(type(splits[name]) is not int for name in ("n_outer", "n_inner")):
        raise TypeError(f"n_outer {splits['n_outer']!r} and n_inner {splits['n_inner']!r} are to be numbers")
    if len(splits["outer"]) != splits["n_outer"] or any(len(fold["inner"]) != splits["n_inner"]
                                                        for fold in splits["outer"]):
        raise ValueError(f"{path} says {splits['n_outer']} x {splits['n_inner']} folds and holds others: draw them "
                         "again with make_splits.py --overwrite")
    for k, fold in enumerate(splits["outer"]):
        for i, inner in enumerate(fold["inner"]):
            sides = [fold["test"], inner["train"], inner["valid"]]
            if len(set().union(*sides)) != sum(map(len, sides)) or not set().union(*sides) <= set(splits["patients"]):
                raise ValueError(f"{path}: fold {k} {i} has a patient on two sides, or one that is not in the list: "
                                 "draw them again with make_splits.py --overwrite")


def numbers(splits):
    """(outer, inner) of every fold."""
    return [(outer, inner) for outer in range(splits["n_outer"]) for inner in range(splits["n_inner"])]


def parts(splits):
    """Yield (outer, inner, name, patients) of each part of each fold."""
    for outer, fold in enumerate(splits["outer"]):
        for inner, sides in enumerate(fold["inner"]):
            for name in PARTS:
                yield outer, inner, name, fold["test"] if name == "test" else sides[name]


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
                         f"{ids.counted(sorted(lacking))}; draw it again with make_splits.py --overwrite")
    return sorted(have - set(splits["patients"]))


def rows_of_parts(target, labels, outer, inner, slides, splits):
    """Row numbers of the slides of train, valid and test; labels: those of all slides.

    ValueError for a part without slides and for a classifier's training or validation part of one class only.
    """
    fold = splits["outer"][outer]
    patients = {**fold["inner"][inner], "test": fold["test"]}
    rows = {name: slides.rows_of(set(of_part) & set(target.patient_ids)) for name, of_part in patients.items()}
    for name, of_part in rows.items():
        if len(of_part) == 0:
            raise ValueError(f"no slide in the {name} part of fold {outer} {inner}: draw fewer folds with "
                             "make_splits.py --outer --inner --overwrite")
        if target.name == "direct" and name != "test" and len(set(labels[of_part, 0])) < 2:
            raise ValueError(f"one class only in the {name} part of fold {outer} {inner}: draw the folds "
                             "again with make_splits.py --stratify response --overwrite")
    return rows
