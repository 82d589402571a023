"""metadata.csv, one row a slide: which slides there are, whose they are, and how they were scanned.

    Slide.ID        names the slide's files; unique
    Filename        in slides/; optional where no slide is read (imported features)
    Patient.ID      optional where Slide.ID begins with a TCGA barcode
    Magnification   objective power, optional
    MPP             microns per level-0 pixel, optional; comes before Magnification (slide_ex/slides/scale.py)
    Mask            regions whose tiles are kept: a GeoJSON or PNG file in regions/, optional; empty: the whole slide

NA and its like (clinical_words) are empty in the last four.
"""
import posixpath

import pandas as pd

from slide_ex import ids, text_table
from slide_ex.project import clinical_words
from slide_ex.slides import files, scale

NAME = "metadata.csv"
REGIONS = "regions"     # folder of the masks
WHAT = ("one row a slide, separated by commas, with the columns Slide.ID, Filename and Patient.ID "
        "(data/prepare_tcga.py and data/prepare_cohort.py write it)")
COLUMNS = {"Slide.ID": "slide_id", "Filename": "filename", "Patient.ID": "patient_id", "Magnification": "magnification",
           "MPP": "mpp", "Mask": "mask_file"}    # of the file, and of the tables here


def read(project_path, needs_files=False):
    """Read <project_path>/metadata.csv.

    Parameters
    ----------
    needs_files : bool
        Refuse rows without Filename.

    Returns
    -------
    DataFrame
        One row a slide, row number = slide index; columns slide_id, filename ("" where not given), patient_id (str),
        magnification (objective power) and mpp (microns per level-0 pixel), NaN where not given, mask_file ("" where
        not given).

    Raises FileNotFoundError, and ValueError for what a cell or a missing column makes unusable, with file and remedy.
    """
    return read_table(project_path / NAME, needs_files=needs_files)


def read_table(path, patient_column="Patient.ID", needs_files=False, remedy="add or fill the column Patient.ID"):
    """As `read`, of any file, with the patients in the column of that name; `remedy`: what to do where it has none."""
    return checked(text_table.read_strings(path, WHAT), path, patient_column, needs_files, remedy)


def checked(table, path, patient_column="Patient.ID", needs_files=False, remedy="add or fill the column Patient.ID"):
    """The same of a table of text that stands, or will stand, in the file; `path` is where a fault is to be mended."""
    needed = ["Slide.ID", "Filename"] if needs_files else ["Slide.ID"]
    if patient_column != "Patient.ID":
        needed.append(patient_column)
    for column in needed:
        if column not in table:
            raise ValueError(f"{path} has no column {ids.with_near_matches([column], table)}, its columns are "
                             f"{ids.some(table, 12)}: rename one")
    if table.empty:
        raise ValueError(f"{path} lists no slides: write one row a slide")
    check_slide_ids(table["Slide.ID"], path)
    filenames = table["Filename"] if "Filename" in table else pd.Series("", index=table.index)
    check_filenames(filenames, path, needs_files)
    mask_files = clinical_words.without_missing(table["Mask"]) if "Mask" in table else pd.Series("", index=table.index)
    check_filenames(mask_files, path, needed=False, column="Mask", folder=REGIONS)
    slides = pd.DataFrame({"slide_id": table["Slide.ID"], "filename": filenames,
                           "patient_id": patient_ids(table, patient_column, path, remedy),
                           "magnification": positive_numbers(table, "Magnification", path),
                           "mpp": positive_numbers(table, "MPP", path), "mask_file": mask_files})
    refuse_impossible(slides, "Magnification", scale.POWER_RANGE, "the objective power, as 20 or 40", path)
    refuse_impossible(slides, "MPP", scale.MPP_RANGE, "microns per pixel of the finest level, as 0.25 or 0.5", path)
    refuse_shared_files(slides, path)
    return slides


def check_slide_ids(slide_ids, path):
    """Slide ids become file names: refuse empty, repeated and path-like ones."""
    empty = slide_ids.index[slide_ids == ""]
    if len(empty):
        raise ValueError(f"{path}: row {empty[0]} has no Slide.ID")
    ids.refuse_unsafe(slide_ids, "Slide.ID", path)
    repeated = sorted(set(slide_ids[slide_ids.duplicated()]))
    if repeated:
        raise ValueError(f"{path}: Slide.ID must be unique, repeated: {ids.some(repeated)}")


def check_filenames(filenames, path, needed, column="Filename", folder="slides"):
    """Refuse file names that leave their folder, and absent ones where they are needed."""
    empty = filenames.index[filenames == ""]
    if needed and len(empty):
        raise ValueError(f"{path}: row {empty[0]} has no {column}")
    for filename in filenames:
        if ids.leaves_folder(filename):
            raise ValueError(f"{path}: {column} {filename!r} leaves the folder {folder}/: write it as "
                             "seen from there")


def patient_ids(table, column, path, remedy):
    """The patient of each row: as given, or the one that a TCGA barcode in Slide.ID begins with."""
    given = clinical_words.without_missing(table[column]) if column in table else [""] * len(table)
    patients = [ids.with_dashes(patient) or ids.tcga_patient(slide_id)
                for patient, slide_id in zip(given, table["Slide.ID"])]
    unknown = [slide_id for patient, slide_id in zip(patients, table["Slide.ID"]) if not patient]
    if unknown:
        raise ValueError(f"{path}: no patient for {len(unknown)} of {len(table)} slides, {ids.some(unknown, 3)}: "
                         f"{remedy}")
    refuse_other_names(patients, column, path)
    return patients


def refuse_other_names(patients, column, path):
    """ValueError for a patient under two names, who could be on both sides of a split: in another case, or barcodes of
    two samples of TCGA."""
    clinical_words.refuse_spellings(patients, column, path)
    names = pd.Series(sorted(set(patients)))
    of_patients = names.groupby(names.map(ids.tcga_patient)).agg(list).drop("", errors="ignore")
    twice = [f"{' and '.join(of_one)} ({patient})" for patient, of_one in of_patients.items() if len(of_one) > 1]
    if twice:
        raise ValueError(f"{path}, column {column}: {ids.some(twice)}: one patient under two names: write that of the "
                         "patient")


def positive_numbers(table, column, path):
    """An optional column as floats, NaN where it is absent or empty."""
    if column not in table:
        return pd.Series(float("nan"), index=table.index)
    known = clinical_words.without_missing(table[column])
    numbers = pd.to_numeric(known.replace("", None), errors="coerce")
    wrong = (known != "") & ~((numbers > 0) & (numbers < float("inf")))
    if wrong.any():
        row = table[wrong].iloc[0]
        raise ValueError(f"{path}: {column} of {row['Slide.ID']} is {row[column]!r}, not a positive number: "
                         "write it as 20 or 0.25")
    return numbers.astype(float)


def refuse_impossible(slides, column, limits, meaning, path):
    """ValueError for a scale at which no slide is scanned: a number of image tools, or in nm or mm."""
    ours = COLUMNS[column]
    wrong = slides[(slides[ours] < limits[0]) | (slides[ours] > limits[1])]
    if len(wrong):
        raise ValueError(f"{path}: {column} of {wrong.slide_id.iloc[0]} is {wrong[ours].iloc[0]:g}, outside "
                         f"{limits[0]:g} to {limits[1]:g}: fill {meaning}")


def refuse_shared_files(slides, path):
    """ValueError for a slide file that two patients share: one of them would be trained on and tested with it."""
    named = slides[slides.filename != ""]
    for _, rows in named.groupby(named.filename.map(files.nfc).map(posixpath.normpath), sort=False):
        if rows.patient_id.nunique() > 1:
            one, other = rows.drop_duplicates("patient_id").slide_id[:2]
            raise ValueError(f"{path}: {one} and {other} are the same file ({rows.filename.iloc[0]}) under two "
                             f"patients ({ids.some(rows.patient_id.unique(), 2)}): keep the row of the right one")


def mask_of(project_path, slide):
    """Path of a slide's mask (row of `read`), None where it has none; it need not exist."""
    return files.find(project_path / REGIONS, slide.mask_file) if slide.mask_file else None


def write(path, slides):
    """Write the file from a table like that of `read`; columns of scale and Mask where some slide has one."""
    columns = [name for name, ours in COLUMNS.items() if ours in slides
               and (name in ("Slide.ID", "Filename", "Patient.ID") or slides[ours].replace("", None).notna().any())]
    slides[[COLUMNS[name] for name in columns]].set_axis(columns, axis=1).to_csv(path, index=False)
