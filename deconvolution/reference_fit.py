"""Whether the reference is about this bulk at all, and whether bulk shows genes that its cell types cannot explain."""
import numpy as np

from expression_table import some

UNEXPLAINED_FOLD = 5     # bulk this many times above the reference's prediction, in the median patient
ALARMING_RATIO = 3       # of genes that far above to genes that far below: platforms alone err both ways
MIN_SHARE = .005         # of all genes, so far above
GROUPED = .85           # of the variance of the leading direction lies between two groups; 0.64 if normal
MIN_GROUP = .1           # of the patients
UNRELATED = .8           # misfit, as a share of that of genes paired at random: the reference explains nothing
FLOOR = .05              # in units of a gene's mean in bulk: predictions below are about nothing


def misfit(bulk, reference, fractions, random):
    """How far the genes' levels in bulk are from the reference's prediction: robust sd over genes of their ratio,
    natural log, and that sd as a share of the one when genes of bulk and reference are paired at random.

    Arrays bulk (n_genes, n_samples), reference (n_genes, n_cell_types) with NaN rows where unknown, fractions
    (n_samples, n_cell_types)."""
    known = np.isfinite(reference).all(axis=1)
    level, predicted = bulk[known].mean(axis=1), reference[known] @ fractions.mean(axis=0)

    def robust_sd(predicted):
        ratio = predicted / level
        log_ratio = np.log(ratio / np.median(ratio[ratio > 0]) + FLOOR)
        return 1.4826 * np.median(np.abs(log_ratio - np.median(log_ratio)))

    sd = robust_sd(predicted)
    return sd, sd / max(robust_sd(random.permutation(predicted)), 1e-12)


def notes(bulk, reference, fractions):
    """Lines for the report, none when all is well.

    Parameters
    ----------
    bulk : DataFrame (n_genes, n_patients)
    reference : DataFrame (n_genes, n_cell_types), NaN rows without reference
    fractions : ndarray (n_patients, n_cell_types)
    """
    known = reference.notna().all(axis=1).to_numpy()
    predicted = reference[known].to_numpy() @ fractions.T
    measured = bulk[known].to_numpy()
    floor = np.percentile(measured[measured > 0], 25)
    ratio = (measured + floor) / (predicted + floor)
    return missing_type(bulk.index[known], np.median(ratio, axis=1)) + two_groups(bulk.columns, np.log(ratio))


def missing_type(genes, fold):
    """A line when many genes are far above the prediction in the median patient (fold, (n_genes,)), few far below."""
    fold = fold / np.median(fold)
    above, below = fold > UNEXPLAINED_FOLD, fold < 1 / UNEXPLAINED_FOLD
    if above.mean() < MIN_SHARE or above.sum() < ALARMING_RATIO * below.sum():
        return []
    return [f"{above.sum()} genes are more than {UNEXPLAINED_FOLD} times above what the cell types explain "
            f"({below.sum()} below), first {some(genes[np.argsort(-fold)[:5]])}: a cell type may be missing from the "
            "signature, or these values are damaged"]


def two_groups(patients, log_ratio):
    """A line when the leading direction of log_ratio (n_genes, n_patients) parts the patients into two clear groups."""
    centred = log_ratio - np.median(log_ratio, axis=1, keepdims=True)
    score = np.linalg.eigh(centred.T @ centred)[1][:, -1]
    order = np.argsort(score)
    ranked = score[order] - score.mean()
    sizes = np.arange(1, len(score))
    left = np.cumsum(ranked)[:-1]  # sums of the first 1, 2, ... patients; the others have the opposite sum
    between = left ** 2 * (1 / sizes + 1 / (len(score) - sizes)) / np.sum(ranked ** 2)
    best = np.argmax(between)
    small = order[:best + 1] if best + 1 <= len(score) / 2 else order[best + 1:]
    if between[best] < GROUPED or len(small) < MIN_GROUP * len(score):
        return []
    return [f"{len(small)} patients differ from the others in very many genes ({some(patients[np.sort(small)])}): "
            "another platform or batch would do that, and confidence does not know of it"]
