"""Predictions of a demo cohort against the labels and against the truth: one row a cell type."""
import numpy as np
import pandas as pd

from slide_ex import hdf5, numeric_table
from slide_ex.ids import BULK, some
from slide_ex.project import expression_file, predictions_file

N_TOP_GENES = 100
ROBUST_R = .4


def table(predictions_path, truth_folder):
    """Table of the predictions in a predictions.h5, and its attributes.

    Cell types in rows; genes, median R labels, median R truth, R truth top 100 and genes R > 0.4 where expression was
    predicted, abundance R labels and abundance R truth where abundance was.
    """
    rows, made_by = {}, "the script that predicts this cohort"
    truth_path = truth_folder / "expression.h5"
    for name in predictions_file.read_names(predictions_path, made_by):
        predicted = predictions_file.read_target(predictions_path, name, made_by)
        if name == "abundance":
            fractions = numeric_table.read(truth_folder / "fractions.tsv")
            for cell_type, row in abundance_rows(predicted, fractions).items():
                rows.setdefault(cell_type, {}).update(row)
        elif name != "direct":
            rows[name] = expression_row(predicted, truth_path, name)
    attributes = predictions_file.read_attributes(predictions_path, made_by)
    rows = pd.DataFrame.from_dict(rows, orient="index").rename_axis("cell type").sort_index()
    counts = rows.columns.intersection(["genes", f"genes R > {ROBUST_R:g}"])
    return rows.astype(dict.fromkeys(counts, "Int64")), attributes  # which may be missing, without a model


def expression_row(predicted, truth_path, cell_type):
    """Row of one cell type: R of its genes, over the predicted patients, against labels and truth."""
    cell_types, genes, patients = expression_file.read_names(truth_path)
    unknown = sorted(set(predicted.patient_ids) - set(patients))
    if unknown:
        raise ValueError(f"the predictions are of patients without a truth, e.g. {some(unknown, 3)}: they are of "
                         "another cohort, run the stages again with --overwrite")
    with hdf5.reading(truth_path, "data/make_demo_cohort.py") as truth:
        known = truth["bulk"][:] if cell_type == BULK else truth["expression"][cell_types.index(cell_type)]
    known = pd.DataFrame(known, genes, patients).T.loc[predicted.patient_ids, predicted.outputs]
    r_labels = correlate(predicted.predictions, labels_of(predicted))
    r_truth = correlate(predicted.predictions, np.log2(known.to_numpy() + 1))
    r_labels, r_truth = pd.Series(r_labels).dropna(), pd.Series(r_truth).dropna()
    return {"genes": len(predicted.outputs), "median R labels": r_labels.median(), "median R truth": r_truth.median(),
            f"R truth top {N_TOP_GENES}": r_truth.nlargest(N_TOP_GENES).median(),
            f"genes R > {ROBUST_R:g}": int((r_labels > ROBUST_R).sum())}


def abundance_rows(predicted, fractions):
    """Row of each cell type: R of its fraction against labels and truth."""
    r_labels = correlate(predicted.predictions, labels_of(predicted))
    r_truth = correlate(predicted.predictions, fractions.loc[predicted.patient_ids, predicted.outputs].to_numpy())
    return {name: {"abundance R labels": r_labels[i], "abundance R truth": r_truth[i]}
            for i, name in enumerate(predicted.outputs)}


def labels_of(predicted):
    """Labels of a predictions_file.Predicted, NaN where there are none."""
    return np.full_like(predicted.predictions, np.nan) if predicted.labels is None else predicted.labels


def correlate(a, b):
    """Pearson R of each column of a with that of b, over the rows that b has; NaN where one is constant."""
    rows = np.isfinite(b).any(1)  # of a cohort that was predicted, some patients may have no labels
    if not rows.any():
        return np.full(b.shape[1], np.nan)
    a, b = (x[rows].astype(float) - x[rows].mean(0, dtype=float) for x in (a, b))
    with np.errstate(invalid="ignore", divide="ignore"):
        return (a * b).sum(0) / np.sqrt((a ** 2).sum(0) * (b ** 2).sum(0))
