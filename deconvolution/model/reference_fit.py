"""Whether the reference is about this bulk at all, and whether bulk shows genes that its cell types cannot explain."""
import numpy as np

from model.patients import spread

UNEXPLAINED_FOLD = 5     # bulk this many times above the reference's prediction, in the median patient
ALARMING_RATIO = 3       # of genes that far above to genes that far below: platforms alone err both ways
MIN_SHARE = .005         # of all genes, so far above
SOME_PATIENTS = .9       # quantile over patients: genes so far above in a tenth of them
MIN_BLOCK, LARGEST_BLOCK = 10, 30  # such genes, the highest
TOGETHER = .3            # their mean correlation over patients, which has a common cause
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
        return spread(np.log(ratio / np.median(ratio[ratio > 0]) + FLOOR))

    sd = robust_sd(predicted)
    return sd, sd / max(robust_sd(random.permutation(predicted)), 1e-12)


def log_ratio(bulk, reference, fractions):
    """Natural log of bulk / prediction (n_genes, n_samples), 0 in the median; arrays as for `misfit`, no gene without
    reference."""
    predicted = reference @ fractions.T
    predicted *= np.median(bulk.mean(axis=1)) / np.median(predicted.mean(axis=1))
    floor = np.percentile(bulk[bulk > 0], 25)
    ratio = np.log((bulk + floor) / (predicted + floor))
    return ratio - np.median(ratio)


def unexplained(bulk, reference, fractions):
    """Genes (rows of bulk, the highest first) that the cell types cannot explain, and a line about them with {genes} in
    it; no rows when all is well. Arrays as for `misfit`."""
    known = np.flatnonzero(np.isfinite(reference).all(axis=1))
    ratio = log_ratio(bulk[known], reference[known], fractions)
    rows, line = above_in_all(np.median(ratio, axis=1))
    if not len(rows):
        rows, line = above_together(ratio)
    return known[rows], line


def above_in_all(log_ratio):
    """`unexplained` by the ratio in the median patient (n_genes,): many genes far above the prediction, few far
    below."""
    above, below = log_ratio > np.log(UNEXPLAINED_FOLD), log_ratio < -np.log(UNEXPLAINED_FOLD)
    if above.mean() < MIN_SHARE or above.sum() < ALARMING_RATIO * below.sum():
        return [], ""
    return np.argsort(-log_ratio)[:above.sum()], (
        f"{above.sum()} genes are more than {UNEXPLAINED_FOLD} times above what the cell types explain ({below.sum()} "
        "below), first {genes}: a cell type may be missing from the signature, or these values are damaged")


def above_together(log_ratio):
    """`unexplained` by genes that are far above the prediction in the same, few, patients."""
    level = np.quantile(log_ratio, SOME_PATIENTS, axis=1)
    highest = np.argsort(-level)[:min(LARGEST_BLOCK, np.sum(level > np.log(UNEXPLAINED_FOLD)))]
    values = log_ratio[highest] - np.median(log_ratio, axis=0)
    spread = values.std(axis=1)
    if np.sum(spread > 0) < MIN_BLOCK:
        return [], ""
    correlation = np.corrcoef(values[spread > 0])
    together = (correlation.sum() - len(correlation)) / (correlation.size - len(correlation))
    if together < TOGETHER:
        return [], ""
    return highest, (
        f"genes that are more than {UNEXPLAINED_FOLD} times above what the cell types explain in a tenth of the "
        f"patients go together (mean correlation {together:.2f}), first {{genes}}: a cell type, or a state of one, may "
        "be missing from the signature")
