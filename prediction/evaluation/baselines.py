"""Simple models in the same folds, so that nobody is fooled: what mean colour, a ridge and chance reach.

    ridge             ridge regression on the mean feature of a slide
    mean colour       ridge regression on the mean red, green and blue of a slide
    bulk target       the ridge trained on the patients' bulk expression, compared with cell-type expression
    shuffled labels   the ridge trained on and compared with labels that were shuffled between patients

The penalty is chosen as the epoch of the model is: by the mean R on the validation slides of each inner fold.

The inputs are decomposed in float64, once for all targets; what is multiplied with labels is float32. Against float64
throughout, predictions differed by 6e-6 of their standard deviation at most (1,100 slides; features, or colours).
"""
import dataclasses
import functools
import logging

import numpy as np

from evaluation import association, gram, out_of_fold
from slide_ex import expression_scale, gene_table
from slide_ex.ids import some
from slide_ex.project import expression_file, targets_file

PENALTIES = np.logspace(-4, 2, 7)  # relative to the mean squared length of a centred training row
MODELS = ("ridge", "mean colour", "bulk target", "shuffled labels")
NEGLIGIBLE = 1e-13  # relative eigenvalue up to which a direction of the training slides is rounding


@dataclasses.dataclass(frozen=True)
class Ridges:
    """Ridge regressions of one training part with all PENALTIES, for any labels; what they share."""
    train: np.ndarray      # int64 (n_train,)   row numbers
    valid: np.ndarray      # int64 (n_valid,)
    values: np.ndarray     # float64 (n_directions,)
    vectors: np.ndarray    # float64 (n_train, n_directions)
    products: np.ndarray   # float64 (n_slides, n_directions)

    @property
    def is_dual(self):
        """Whether predictions are made from the labels themselves; for few directions, as of colours, by V' Y."""
        return 2 * len(self.values) > len(self.train)

    def seen(self, labels):
        """What of the centred training labels predictions are made from; float32 (n_train or n_directions, n_genes)."""
        return labels if self.is_dual else self.vectors.T.astype(np.float32) @ labels

    def of(self, rows, penalty):
        """Matrix that gives, times what is seen of the labels, the predictions of rows; float64 (n_rows, ...)."""
        shrunk = self.products[rows] / (self.values + penalty * self.values.sum() / len(self.train))
        return shrunk @ self.vectors.T if self.is_dual else shrunk

    @functools.cached_property
    def on_valid(self):
        """Those of the validation slides with all penalties, centred over them; float32 (n_penalties, n_valid, ...)."""
        return np.stack([association.centred(self.of(self.valid, penalty)).astype(np.float32) for penalty in PENALTIES])


def predict(model, slides, target, splits, folds, bulk_path, seed, known=None):
    """OutOfFold of one of MODELS for the folds [(outer, inner), ...]; None where the model does not exist.

    known : dict, in which Ridges are kept for other models and targets

    Only expression has a bulk target, and only where there is a bulk file; mean colour needs the colours of all slides;
    every training part needs two slides whose features differ, every validation and test part one.
    """
    kind = "colours" if model == "mean colour" else "features"
    inputs, known = inputs_of(slides)[kind], {} if known is None else known.setdefault(kind, {})
    if not np.isfinite(inputs).all():  # features of other tools come without colours
        return None
    if model == "shuffled labels":
        target = shuffled(target, seed)
    taught = target
    if model == "bulk target":
        if target.name in ("abundance", "direct") or bulk_path is None:
            return None
        taught = read_bulk(bulk_path, target)
        if taught is None:
            return None
        target = restricted(target, taught)
    labels = target.of_slides(slides)
    taught_labels = labels if taught is target else taught.of_slides(slides)
    rows, predictions, fold_of = [], [], {}
    for outer, test, parts in parts_of(slides, set(taught.patient_ids) & set(target.patient_ids), splits, folds):
        if not all(can_learn(inputs, train, valid) and len(test) for train, valid in parts):
            return None
        predictions.append(np.mean([ridge(ridges(inputs, train, valid, known), taught_labels, test)
                                    for train, valid in parts], axis=0))
        rows.append(test)
        fold_of |= dict.fromkeys(slides.patient_ids[test], outer)
    rows = np.concatenate(rows)
    return out_of_fold.of_slides(slides.patient_ids[rows], labels[rows], np.concatenate(predictions), target.outputs,
                                 fold_of)


def decompose(slides, patients, splits, folds):
    """The dict `known` of `predict` with the Ridges of targets of some patients."""
    known = {}
    for kind, inputs in inputs_of(slides).items():
        for _, _, parts in parts_of(slides, set(patients), splits, folds) if np.isfinite(inputs).all() else ():
            for train, valid in parts:
                if can_learn(inputs, train, valid):
                    ridges(inputs, train, valid, known.setdefault(kind, {})).on_valid
    return known


def inputs_of(slides):
    """What ridges learn from, by kind; float32 (n_slides, n_inputs)."""
    return {"features": slides.mean_features, "colours": slides.mean_rgb}


def can_learn(inputs, train, valid):
    """Whether there are two slides to learn from whose inputs differ, and one to choose the penalty by."""
    return len(train) and np.ptp(inputs[train], axis=0).any() and len(valid)


def parts_of(slides, patients, splits, folds):
    """Rows of the slides of some patients (set) in the folds [(outer, inner), ...]: of each outer one its number, test,
    and of its inner ones train and valid."""
    for outer in sorted({outer for outer, _ in folds}):
        of_outer = splits["outer"][outer]
        yield outer, slides.rows_of(patients & set(of_outer["test"])), [
            [slides.rows_of(patients & set(of_outer["inner"][inner][part])) for part in ("train", "valid")]
            for k, inner in folds if k == outer]


def ridges(inputs, train, valid, known=None):
    """Ridges of a training part, kept in the dict `known`, of which each kind of inputs has its own."""
    known, key = {} if known is None else known, (train.tobytes(), valid.tobytes())
    if key not in known:
        x = inputs.astype(float)
        known[key] = Ridges(train, valid, *gram.decomposed(x - x[train].mean(0), train, NEGLIGIBLE))
    return known[key]


def ridge(of_train, labels, test):
    """Predictions of the rows `test` by the penalty that is best on the validation slides; float32 array."""
    n_outputs, (n_penalties, _, n_seen) = labels.shape[1], of_train.on_valid.shape
    train_labels, valid_labels = (association.centred(labels[rows]).astype(np.float32)
                                  for rows in (of_train.train, of_train.valid))
    seen = of_train.seen(train_labels)

    def scored(columns):
        """R of each penalty and output; predictions are centred, as what they are made with is."""
        y = valid_labels[:, columns]
        x = (of_train.on_valid.reshape(-1, n_seen) @ seen[:, columns]).reshape(n_penalties, *y.shape)
        with np.errstate(divide="ignore", invalid="ignore"):
            return (x * y).sum(1) / np.sqrt(np.square(x).sum(1) * np.square(y).sum(0))

    r = np.concatenate(gram.over_columns(scored, n_outputs), axis=1)
    scores = [np.nanmean(of_penalty) if np.isfinite(of_penalty).any() else -1.0 for of_penalty in r]
    on_test = of_train.of(test, PENALTIES[int(np.argmax(scores))]).astype(np.float32)
    level = labels[of_train.train].mean(0)
    return np.concatenate(gram.over_columns(lambda columns: on_test @ seen[:, columns] + level[columns],
                                            n_outputs), axis=1)


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
    """Bulk expression of a target's patients and genes, log2(TPM + 1), as a target; genes without bulk are dropped.
    None where bulk names none of them, as under Ensembl ids that the deconvolution translated by a gene map."""
    table = bulk_table(path)
    genes = target.outputs[np.isin(target.outputs, table.index)]
    if not len(genes):
        logging.info(f"{target.name}: none of its genes is named in {path.name} ({some(table.index, 3)}), so that bulk "
                     "is no baseline")
        return None
    patients = target.patient_ids[np.isin(target.patient_ids, table.columns)]
    labels = np.log2(table.loc[genes, patients].to_numpy(float).T + 1)
    return targets_file.checked_target(f"{target.name}, bulk", patients, genes, labels, "genes")


@functools.cache  # the same for all cell types
def bulk_table(path):
    """The bulk expression, genes x patients, linear by what the deconvolution was told of it, under symbols where the
    table has them; genes with more than one row are left out."""
    genes = gene_table.read(path)
    table = genes.values
    deconvolved = path.parent / "deconvolution" / "expression.h5"
    said = expression_file.read_record(deconvolved)["parameters"] if deconvolved.is_file() else {}
    if {"log2", "clip_negative"} & set(said):
        declared = expression_scale.Declared(said.get("log2"), said.get("clip_negative", False))
        table, _ = expression_scale.linear(table, path, declared)
    if "gene_name" in genes.annotation:
        table, _ = gene_table.with_symbols(dataclasses.replace(genes, values=table), path, None)
    return table[~table.index.duplicated(keep=False)]
