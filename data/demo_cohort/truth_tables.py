"""Predictions of a demo cohort against the labels and against the truth: one row a cell type."""
import h5py
import numpy as np
import pandas as pd

N_TOP_GENES = 100
ROBUST_R = .4


def table(predictions_path, truth_folder):
    """Table of the predictions in a predictions.h5, and its attributes.

    Cell types in rows; genes, median R labels, median R truth, R truth top 100 and genes R > 0.4 where expression was
    predicted, abundance R labels and abundance R truth where abundance was.
    """
    with h5py.File(predictions_path) as predictions, h5py.File(truth_folder / "expression.h5") as truth:
        rows = {name: expression_row(group, truth, name) for name, group in predictions.get("expression", {}).items()}
        if "abundance" in predictions:
            fractions = pd.read_csv(truth_folder / "fractions.tsv", sep="\t", index_col=0)
            for name, row in abundance_rows(predictions["abundance"], fractions).items():
                rows.setdefault(name, {}).update(row)
        attributes = dict(predictions.attrs)
    rows = pd.DataFrame.from_dict(rows, orient="index").rename_axis("cell type").sort_index()
    counts = rows.columns.intersection(["genes", f"genes R > {ROBUST_R:g}"])
    return rows.astype(dict.fromkeys(counts, "Int64")), attributes  # which may be missing, without a model


def expression_row(group, truth, cell_type):
    """Row of one cell type: R of its genes, over the patients of `group`, against labels and truth."""
    genes, patient_ids, predicted, labels = read(group, "genes")
    unknown = sorted(set(patient_ids) - set(strings(truth, "patient_ids")))
    if unknown:
        raise ValueError(f"the predictions are of patients without a truth, e.g. {unknown[:3]}: they are of another "
                         "cohort, run the stages again with --overwrite")
    number = {name: k for k, name in enumerate(strings(truth, "cell_types"))}
    known = truth["bulk"][:] if cell_type == "Bulk" else truth["expression"][number[cell_type]]
    known = pd.DataFrame(known, strings(truth, "genes"), strings(truth, "patient_ids")).T
    r_labels = correlate(predicted, labels)
    r_truth = correlate(predicted, np.log2(known.loc[patient_ids, genes].to_numpy() + 1))
    r_labels, r_truth = pd.Series(r_labels).dropna(), pd.Series(r_truth).dropna()
    return {"genes": len(genes), "median R labels": r_labels.median(), "median R truth": r_truth.median(),
            f"R truth top {N_TOP_GENES}": r_truth.nlargest(N_TOP_GENES).median(),
            f"genes R > {ROBUST_R:g}": int((r_labels > ROBUST_R).sum())}


def abundance_rows(group, fractions):
    """Row of each cell type: R of its fraction against labels and truth."""
    cell_types, patient_ids, predicted, labels = read(group, "cell_types")
    r_labels = correlate(predicted, labels)
    r_truth = correlate(predicted, fractions.loc[patient_ids, cell_types].to_numpy())
    return {name: {"abundance R labels": r_labels[i], "abundance R truth": r_truth[i]}
            for i, name in enumerate(cell_types)}


def read(group, columns):
    """Names of the columns, patient ids, predictions and labels (n_patients, n_columns; NaN without) of a group."""
    predictions = group["predictions"][:]
    labels = group["labels"][:] if "labels" in group else np.full_like(predictions, np.nan)
    return strings(group, columns), strings(group, "patient_ids"), predictions, labels


def strings(group, name):
    return group[name].asstr()[:].tolist()


def correlate(a, b):
    """Pearson R of each column of a with that of b, over the rows that b has; NaN where one is constant."""
    rows = np.isfinite(b).any(1)  # of a cohort that was predicted, some patients may have no labels
    if not rows.any():
        return np.full(b.shape[1], np.nan)
    a, b = (x[rows].astype(float) - x[rows].mean(0, dtype=float) for x in (a, b))
    with np.errstate(invalid="ignore", divide="ignore"):
        return (a * b).sum(0) / np.sqrt((a ** 2).sum(0) * (b ** 2).sum(0))
