"""The table of ids of a cohort: which slide and which expression belong to which patient."""
import difflib

import pandas as pd

from slide_ex.ids import counted, some, with_dashes, with_near_matches
from slide_ex.project import clinical_file, clinical_words, metadata_file
from slide_ex.slides import files
from slide_ex.text_table import read_strings

REQUIRED = {"Filename": "filename", "Patient.ID": "patient_id"}
OPTIONAL = {"Slide.ID": "slide_id", "Expression.ID": "expression_id", "Magnification": "magnification", "MPP": "mpp",
            "Mask": "mask_file",
            "Response": "response"}
ENDINGS = r"(\.ome)?\.[A-Za-z0-9]+$"  # of slide files
NO_SLIDE, NO_EXPRESSION = "no such slide file", "no such column of expression"


def read(path, renamed, said):
    """Columns of REQUIRED and OPTIONAL ("" where absent or empty) and reason, one row a slide.

    `renamed`: texts NAME=YOURS; `said`: description_file.Description, the words of responses. Raises ValueError for
    absent columns, empty or repeated ids and contradictions.
    """
    table = read_strings(path, "a .csv, or a .tsv, in UTF-8")
    names = REQUIRED | OPTIONAL
    yours = {name: name for name in names} | dict(column.split("=", 1) for column in renamed if "=" in column)
    unknown = [column for column in renamed if column.split("=", 1)[0] not in names or "=" not in column]
    if unknown:
        raise ValueError(f"--columns {some(unknown)}: give NAME=YOURS with NAME one of {', '.join(names)}")
    for name, column in yours.items():
        if column not in table and (name in REQUIRED or column != name):
            near = difflib.get_close_matches(column.lower(), {other.lower(): other for other in table}, n=1)
            raise ValueError(f"{path} has no column {column}, its columns are {some(table, 12)}: rename one, or give "
                             f"--columns {name}={near[0] if near else '...'}")
    cohort = pd.DataFrame({ours: table.get(yours[name], "") for name, ours in names.items()}).assign(reason="")
    for column in ("filename", "expression_id", "mask_file", "response"):
        cohort[column] = clinical_words.without_missing(cohort[column])
    for column in ("patient_id", "expression_id"):
        cohort[column] = cohort[column].map(with_dashes)
    cohort["slide_id"] = cohort["slide_id"].where(cohort["slide_id"] != "", cohort["filename"].str.split("/").str[-1]
                                                  .str.replace(ENDINGS, "", regex=True))
    cohort["expression_id"] = cohort["expression_id"].where(cohort["expression_id"] != "", cohort["patient_id"])
    check(cohort, path, said)
    return cohort


def check(cohort, path, said):
    """ValueError for rows without patient, slides named twice, unknown responses and patients that contradict, and for
    what metadata.csv could not hold."""
    if cohort.empty:
        raise ValueError(f"{path} has no rows")
    if (cohort["patient_id"] == "").any():
        rows = cohort[cohort["patient_id"] == ""]
        raise ValueError(f"{path}: no patient in {len(rows)} rows: {some(rows['slide_id'])}; fill Patient.ID")
    slides = cohort[cohort["filename"] != ""]
    for column in ("slide_id", "filename"):
        twice = slides.loc[slides[column].duplicated(), column]
        if len(twice):
            raise ValueError(f"{path}: {column} occurs more than once: {some(twice)}; give each slide its own Slide.ID")
    clinical_file.refuse_unknown(cohort["response"], said, f"{path}: Response")
    for column in ("response", "expression_id"):
        given = cohort[cohort[column] != ""].groupby("patient_id")[column].nunique()
        if (given > 1).any():
            raise ValueError(f"{path}: patients with more than one {column}: {some(given.index[given > 1])}")
    owners = cohort.groupby("expression_id")["patient_id"].nunique()
    if (owners > 1).any():
        raise ValueError(f"{path}: the same expression under more than one patient: {some(owners.index[owners > 1])}: "
                         "keep the right one")
    if not slides.empty:
        names = {ours: name for name, ours in metadata_file.COLUMNS.items()}
        metadata_file.checked(slides.rename(columns=names), path, needs_files=True)


def find_slides(cohort, folder):
    """Add the column path; slides that are not in `folder`, or lack a part, get a reason (with the nearest name)."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder: give the folder of the slides")
    cohort["path"] = [files.find(folder, name) for name in cohort["filename"]]
    absent = (cohort["filename"] != "") & ~cohort["path"].map(lambda path: path.exists())
    names = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()] if absent.any() else []
    for row, name in cohort.loc[absent, "filename"].items():
        cohort.loc[row, "reason"] = f"{NO_SLIDE}: {with_near_matches([name], names)}"
    for row, path in cohort.loc[(cohort["filename"] != "") & ~absent, "path"].items():
        try:
            files.to_link(path)
        except (ValueError, OSError) as error:
            cohort.loc[row, "reason"] = f"{NO_SLIDE}: {error}"


def find_expression(cohort, expression, path):
    """Patients without a column of expression (genes x samples) get a reason with the nearest column."""
    columns = expression.columns
    known = cohort["expression_id"].isin(columns)
    if not known.any() and cohort["expression_id"].isin(expression.index).any():
        raise ValueError(f"{path} has patients in rows: transpose it, genes in rows and samples in columns")
    if not known.any():
        raise ValueError(f"no patient of the table is a column of {path}, e.g. "
                         f"{with_near_matches(cohort['expression_id'].unique(), columns, 3)}; its columns are "
                         f"{some(columns)}: add a column Expression.ID to the table")
    for row, sample in cohort.loc[~known & (cohort["reason"] == ""), "expression_id"].items():
        cohort.loc[row, "reason"] = f"{NO_EXPRESSION}: {with_near_matches([sample], columns)}"


def without_row(cohort, folder=None, samples=()):
    """Lines about slide files in a folder, and samples of expression, that the table does not name."""
    given, expressions = set(cohort["path"]) if folder else set(), set(cohort["expression_id"])
    unnamed = {"slide files": [str(path.relative_to(folder)) for path in sorted(folder.rglob("*") if folder else ())
                               if path.suffix.lower() in files.SLIDES and not given & {path, *path.parents}],
               "samples of expression": [name for name in samples if name not in expressions]}
    return [f"{what} that the table does not name: {counted(names)}" for what, names in unnamed.items() if names]


def refuse_unmatched(cohort, path, allowed):
    """Unless allowed, ValueError that lists the rows without a partner."""
    unmatched = cohort["reason"][cohort["reason"] != ""]
    if len(unmatched) == len(cohort) or (len(unmatched) and not allowed):
        raise ValueError(f"{len(unmatched)} of {len(cohort)} rows of {path} have no partner: "
                         f"{some(unmatched, 8)}. Fix the table, or leave such rows out with --allow-unmatched")


def clinical(used):
    """clinical.csv, one row a patient, or None when no response is known."""
    if (used["response"] == "").all():
        return None
    first = used.sort_values("response", ascending=False, kind="stable").drop_duplicates("patient_id")
    first = first.sort_values("patient_id")
    return pd.DataFrame({"Patient.ID": first["patient_id"], "Response": first["response"]})
