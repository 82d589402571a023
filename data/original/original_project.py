"""A project made for the published scripts, read part by part.

    metadata.csv                                   Slide.ID, Filename; rows in the order of everything below
    feature/<Slide.ID>.pkl, features.pkl           array (n_tiles, n_features); list of (Slide.ID, array)
    breast_<cell type>_log_exp_merged.pkl          DataFrame slides x genes, logarithms
    breast_<cell type>_gene_file.csv               column gene
    breast_cell_frac_merged.pkl, cell_types_file.csv    DataFrame slides x cell types; column cell_types
    patient_data.pkl                               DataFrame, column pCR.RD
    splits/train_valid_test_idx.npz                rows: train_idx[outer][inner], valid_idx[outer][inner],
                                                   test_idx[outer]
    results/<..._preds>/result_<outer>_<inner>/    model_trained.pth, test_preds.txt or .npy
"""
import re

import numpy as np

from original import pickles, row_join
from slide_ex.ids import some, with_near_matches
from slide_ex.project import description_file, metadata_file
from slide_ex.text_table import read_strings

EXPRESSION = re.compile(r"breast_(.+)_log_exp_merged\.pkl")


def read_slides(folder, patient_column=None):
    """slide_id, filename, patient_id, ... of metadata.csv, one row a slide (metadata_file.read)."""
    return metadata_file.read_table(folder / metadata_file.NAME, patient_column or "Patient.ID", needs_files=True,
                                    remedy="give --patient-column NAME, a column that is filled for all of them")


def bags(folder, slides):
    """Features of each slide, in order, as (array, None, None): from feature/, else from features.pkl."""
    files = [folder / "feature" / f"{slide_id}.pkl" for slide_id in slides["slide_id"]]
    if all(path.is_file() for path in files):
        yield from ((np.asarray(pickles.read(path)), None, None) for path in files)
        return
    path = folder / "features.pkl"
    if not path.is_file():
        absent = [file.name for file in files if not file.is_file()]
        raise FileNotFoundError(f"no features.pkl in {folder}, and feature/ lacks {some(absent)}")
    of_slide = {str(name): array for name, array in pickles.read(path)}
    absent = [slide_id for slide_id in slides["slide_id"] if slide_id not in of_slide]
    if absent:
        raise ValueError(f"{path} lacks slides of metadata.csv: {with_near_matches(absent, of_slide)}")
    for slide_id in slides["slide_id"]:
        yield np.asarray(of_slide.pop(slide_id)), None, None


def expression(folder, slides):
    """(cell type, table patients x genes, note) for each cell type that has labels."""
    for path in sorted(folder.glob("breast_*_log_exp_merged.pkl")):
        cell_type = EXPRESSION.fullmatch(path.name)[1]
        genes = read_strings(folder / f"breast_{cell_type}_gene_file.csv", "a table with the column gene")["gene"]
        yield cell_type, *row_join.per_patient(pickles.read(path), list(genes), slides, path.name)


def abundance(folder, slides):
    """Table patients x cell types, and a note."""
    path, names = folder / "breast_cell_frac_merged.pkl", folder / "cell_types_file.csv"
    for needed in (path, names):
        if not needed.is_file():
            raise FileNotFoundError(f"{needed} is missing: the folds and the abundance model need the cell fractions")
    cell_types = read_strings(names, "a table with the column cell_types")["cell_types"]
    return row_join.per_patient(pickles.read(path), list(cell_types), slides, path.name)


def response(folder, slides):
    """Series patient -> pCR, RD or "", and a note; None where the project has none."""
    path = folder / "patient_data.pkl"
    if not path.is_file():
        return None, ""
    table, note = row_join.per_patient(pickles.read(path), ["pCR.RD"], slides, path.name)
    known = table["pCR.RD"].isin([*description_file.RESPONDERS, *description_file.NON_RESPONDERS])
    return table["pCR.RD"].where(known, ""), f"{note}; pCR or RD for {known.sum()} of {len(known)} patients"


def folds(folder, slides):
    """The folds as prediction/make_splits.py writes them, and the ids of each outer fold's test slides; None, None
    where the project has no folds.

    ValueError where a patient is on two sides of a fold: such folds were drawn by slide.
    """
    path = folder / "splits" / "train_valid_test_idx.npz"
    if not path.is_file():
        return None, None
    rows = pickles.read(path)
    outer = []
    for k, test in enumerate(rows["test_idx"]):
        inner = [{"train": patients_of(train, slides, path), "valid": patients_of(valid, slides, path)}
                 for train, valid in zip(rows["train_idx"][k], rows["valid_idx"][k])]
        outer.append({"test": patients_of(test, slides, path), "inner": inner})
        for i, fold in enumerate(inner):
            sides = [set(outer[-1]["test"]), set(fold["train"]), set(fold["valid"])]
            twice = sides[0] & sides[1] | sides[0] & sides[2] | sides[1] & sides[2]
            if twice:
                raise ValueError(f"{path}, fold {k} {i}: slides of one patient are on two sides ({some(sorted(twice))}"
                                 "), so its results look better than they are: import with --without-splits and draw "
                                 "new folds with prediction/make_splits.py")
    tested = [patient for fold in outer for patient in fold["test"]]
    if len(tested) != len(set(tested)):
        raise ValueError(f"{path}: patients are tested in two folds: import with --without-splits")
    splits = {"seed": None, "n_outer": len(outer), "n_inner": len(outer[0]["inner"]), "patients": sorted(tested),
              "outer": outer}
    return splits, [slides["slide_id"].iloc[np.asarray(test).astype(int)].tolist() for test in rows["test_idx"]]


def restricted(splits, patients):
    """The folds without the patients who are not among `patients`, which have no labels."""
    def kept(side):
        return [patient for patient in side if patient in patients]

    outer = [{"test": kept(fold["test"]), "inner": [{name: kept(side) for name, side in inner.items()}
                                                    for inner in fold["inner"]]} for fold in splits["outer"]]
    return splits | {"patients": kept(splits["patients"]), "outer": outer}


def patients_of(rows, slides, path):
    """Patients of rows of slides, sorted."""
    rows = np.asarray(rows).astype(int)
    if rows.max(initial=-1) >= len(slides) or rows.min(initial=0) < 0:
        raise ValueError(f"{path} names row {rows.max()}, metadata.csv has {len(slides)} slides: it belongs to another "
                         "metadata.csv")
    return sorted(set(slides["patient_id"].iloc[rows]))
