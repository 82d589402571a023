"""The cohort's metadata.csv: which slides there are, whose they are, and how they were scanned."""
import difflib
import re
from pathlib import PurePosixPath

import pandas as pd

TCGA_BARCODE = re.compile(r"TCGA-[A-Z0-9]{2}-[A-Z0-9]{4}(?=-|$)")  # project, tissue source site, participant


def read_slides(project_path):
    """Read <project_path>/metadata.csv.

    Returns
    -------
    DataFrame
        One row a slide, row number = slide index; columns slide_id, filename, patient_id (str),
        magnification (objective power) and mpp (microns per level-0 pixel), NaN where not given.
    """
    path = project_path / "metadata.csv"
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: write one row a slide with the columns Slide.ID and Filename")
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a comma-separated table: {error}") from None
    for column in ("Slide.ID", "Filename"):
        require_column(table, column, path)
    if table.empty:
        raise ValueError(f"{path} lists no slides: write one row a slide")
    table = table.apply(lambda column: column.str.strip())
    check_slide_ids(table["Slide.ID"], path)
    check_filenames(table["Filename"], path)
    return pd.DataFrame({"slide_id": table["Slide.ID"], "filename": table["Filename"],
                         "patient_id": patient_ids(table, path),
                         "magnification": positive_numbers(table, "Magnification", path),
                         "mpp": positive_numbers(table, "MPP", path)})


def require_column(table, column, path):
    """Refuse a table without `column`, naming what looks like it."""
    if column not in table:
        alike = difflib.get_close_matches(column.lower(), {c.lower(): c for c in table}, n=1, cutoff=0.6)
        found = next((c for c in table if alike and c.lower() == alike[0]), None)
        hint = f"rename {found!r}" if found else f"its columns are {', '.join(table)}"
        raise ValueError(f"{path} has no column {column}: {hint}")


def check_slide_ids(ids, path):
    """Slide ids become file names: refuse empty, repeated and path-like ones."""
    for row, slide_id in enumerate(ids):
        if not slide_id:
            raise ValueError(f"{path}: row {row} has no Slide.ID")
        if "/" in slide_id or "\\" in slide_id or slide_id.startswith(".") or not slide_id.isprintable():
            raise ValueError(f"{path}: Slide.ID {slide_id!r} cannot be the name of a file: "
                             "use no slashes, control characters or leading dots")
    repeated = sorted(set(ids[ids.duplicated()]))
    if repeated:
        raise ValueError(f"{path}: Slide.ID must be unique, repeated: {', '.join(repeated[:5])}")


def check_filenames(filenames, path):
    """Refuse file names that are empty or leave the folder slides/."""
    for row, filename in enumerate(filenames):
        if not filename:
            raise ValueError(f"{path}: row {row} has no Filename")
        if ".." in PurePosixPath(filename).parts or filename.startswith("/"):
            raise ValueError(f"{path}: Filename {filename!r} leaves the folder slides/")


def patient_ids(table, path):
    """`Patient.ID`, or the first 12 characters of a TCGA barcode in `Slide.ID`, for each row."""
    given = table["Patient.ID"] if "Patient.ID" in table else pd.Series("", index=table.index)
    patients = [patient or (TCGA_BARCODE.match(slide_id) or [""])[0]
                for patient, slide_id in zip(given, table["Slide.ID"])]
    unknown = [slide_id for patient, slide_id in zip(patients, table["Slide.ID"]) if not patient]
    if unknown:
        raise ValueError(f"{path}: no patient for {len(unknown)} of {len(table)} slides, e.g. {unknown[0]}: "
                         "add (or fill) the column Patient.ID")
    return patients


def positive_numbers(table, column, path):
    """An optional column as floats, NaN where it is absent or empty."""
    if column not in table:
        return pd.Series(float("nan"), index=table.index)
    numbers = pd.to_numeric(table[column], errors="coerce")
    wrong = (table[column] != "") & ~((numbers > 0) & (numbers < float("inf")))
    if wrong.any():
        row = table[wrong].iloc[0]
        raise ValueError(f"{path}: {column} of {row['Slide.ID']} is {row[column]!r}, not a positive number")
    return numbers


def parse_indexes(text, n_slides):
    """Slide indexes, ascending, of 'all' or of numbers and ranges such as '0-9,12' (both ends included)."""
    if text == "all":
        return list(range(n_slides))
    indexes = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)(?:-(\d+))?\s*", part)
        if not match:
            raise ValueError(f"slide index {text!r} is not understood: give all, a number, or ranges such as 0-9,12")
        first, last = int(match[1]), int(match[2] or match[1])
        if first > last or last >= n_slides:
            raise ValueError(f"slide index {part.strip()} is out of range: "
                             f"metadata.csv has {n_slides} slides, 0-{n_slides - 1}")
        indexes |= set(range(first, last + 1))
    return sorted(indexes)


def format_indexes(indexes):
    """The shortest text that `parse_indexes` reads as these indexes: [0, 1, 2, 5] is '0-2,5'."""
    runs = []
    for index in sorted(indexes):
        if runs and index == runs[-1][1] + 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    return ",".join(f"{first}-{last}" if last > first else str(first) for first, last in runs)
