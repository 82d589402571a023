"""Simple models in the same folds, so that nobody is fooled: what mean colour, a ridge and chance reach.

    ridge             ridge regression on the mean feature of a slide
    mean colour       ridge regression on the mean red, green and blue of a slide
    bulk target       the ridge trained on the patients' bulk expression, compared with cell-type expression
    shuffled labels   the ridge trained on and compared with labels that were shuffled between patients

The penalty is chosen as the epoch of the model is: by the mean R on the validation slides of each inner fold.
"""
import dataclasses
import functools

import numpy as np

from evaluation import association, out_of_fold
from slide_ex import expression_scale, gene_table
from slide_ex.project import expression_file, targets_file

PENALTIES = np.logspace(-4, 2, 7)  # relative to the mean squared length of a centred training row
MODELS = ("ridge", "mean colour", "bulk target", "shuffled labels")


def predict(model, slides, target, splits, folds, bulk_path, seed):
    """OutOfFold of one of MODELS for the folds [(outer, inner), ...]; None where the model does not exist.

    Only expression has a bulk target, and only where there is a bulk file; mean colour needs the colours of all slides;
    every training part needs two slides whose features differ, every validation and test part one.
    """
    inputs = slides.mean_rgb if model == "mean colour" else slides.mean_features
    if not np.isfinite(inputs).all():  # features of other tools come without colours
        return None
    if model == "shuffled labels":
        target = shuffled(target, seed)
    taught = target
    if model == "bulk target":
        if target.name in ("abundance", "direct") or bulk_path is None:
            return None
        taught = read_bulk(bulk_path, target)
        target = restricted(target, taught)
    taught_labels, labels = taught.of_slides(slides), target.of_slides(slides)
    rows, predictions, fold_of = [], [], {}
    for outer in sorted({outer for outer, _ in folds}):
        patients = set(taught.patient_ids) & set(target.patient_ids)
        test = slides.rows_of(patients & set(splits["outer"][outer]["test"]))
        inner_folds = [splits["outer"][outer]["inner"][inner] for k, inner in folds if k == outer]
        parts = [[slides.rows_of(patients & set(inner[part])) for part in ("train", "valid")] for inner in inner_folds]
        if not all(len(train) and np.ptp(inputs[train], axis=0).any() and len(valid) and len(test)
                   for train, valid in parts):
            return None
        predictions.append(np.mean([ridge(inputs, taught_labels, *of_inner, test) for of_inner in parts], axis=0))
        rows.append(test)
        fold_of |= dict.fromkeys(slides.patient_ids[test], outer)
    rows = np.concatenate(rows)
    return out_of_fold.of_slides(slides.patient_ids[rows], labels[rows], np.concatenate(predictions), target.outputs,
                                 fold_of)


def ridge(inputs, labels, train, valid, test):
    """Predictions of the rows `test` by the penalty that is best on the rows `valid`; (n_test, n_outputs).

    Solved in the space of the training rows: X'(XX' + penalty)^-1 Y costs n_train^3 whatever the number of features.
    """
    centre, label_mean = inputs[train].mean(0), labels[train].mean(0)
    x = (inputs - centre).astype(float)
    values, vectors = np.linalg.eigh(x[train] @ x[train].T)
    rotated = vectors.T @ (labels[train] - label_mean)
    of_valid, of_test = (x[rows] @ x[train].T @ vectors for rows in (valid, test))
    best_score, best = -np.inf, None
    for penalty in PENALTIES * values.sum() / len(train):
        solution = rotated / (values + penalty)[:, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            r = association.pearson(of_valid @ solution, labels[valid])
        score = np.nanmean(r) if np.isfinite(r).any() else -1.0
        if score > best_score:
            best_score, best = score, solution
    return of_test @ best + label_mean


def shuffled(target, seed):
    """The target with whole rows of labels moved to other patients."""
    order = np.random.default_rng(seed).permutation(len(target.patient_ids))
    return dataclasses.replace(target, labels=target.labels[order])


def restricted(target, other):
    """The target with only the outputs of another one, in its order."""
    column = {output: i for i, output in enumerate(target.outputs)}
    columns = [column[output] for output in other.outputs]
    return dataclasses.replace(target, outputs=other.outputs, labels=target.labels[:, columns])


def read_bulk(path, target):
    """Bulk expression of a target's patients and genes, log2(TPM + 1), as a target; genes without bulk are dropped."""
    table = bulk_table(path)
    genes = target.outputs[np.isin(target.outputs, table.index)]
    patients = target.patient_ids[np.isin(target.patient_ids, table.columns)]
    labels = np.log2(table.loc[genes, patients].to_numpy(float).T + 1)
    return targets_file.checked_target(f"{target.name}, bulk", patients, genes, labels, "genes")


@functools.cache  # the same for all cell types
def bulk_table(path):
    """The bulk expression, genes x patients, linear by what the deconvolution was told of it; genes with more than one
    row are left out."""
    table = gene_table.read(path).values
    deconvolved = path.parent / "deconvolution" / "expression.h5"
    said = expression_file.read_record(deconvolved)["parameters"] if deconvolved.is_file() else {}
    if {"log2", "clip_negative"} & set(said):
        declared = expression_scale.Declared(said.get("log2"), said.get("clip_negative", False))
        table, _ = expression_scale.linear(table, path, declared)
    return table[~table.index.duplicated(keep=False)]
