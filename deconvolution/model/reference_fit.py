"""Whether the reference is about this bulk at all, and whether bulk shows genes that its cell types cannot explain."""
import numpy as np

from slide_ex.ids import some

UNEXPLAINED_FOLD = 5     # bulk this many times above the reference's prediction, in the median patient
ALARMING_RATIO = 3       # of genes that far above to genes that far below: platforms alone err both ways
MIN_SHARE = .005         # of all genes, so far above
SOME_PATIENTS = .9       # quantile over patients: genes so far above in a tenth of them
MIN_BLOCK, LARGEST_BLOCK = 10, 30  # such genes, the highest
TOGETHER = .3            # their mean correlation over patients, which has a common cause
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


def log_ratio(bulk, reference, fractions):
    """Natural log of bulk / prediction (n_known_genes, n_patients), 0 in the median; arrays as for `misfit`."""
    known = np.isfinite(reference).all(axis=1)
    measured, predicted = bulk[known], reference[known] @ fractions.T
    predicted *= np.median(measured.mean(axis=1)) / np.median(predicted.mean(axis=1))
    floor = np.percentile(measured[measured > 0], 25)
    ratio = np.log((measured + floor) / (predicted + floor))
    return ratio - np.median(ratio)


def notes(bulk, reference, fractions):
    """Lines for the report, none when all is well.

    Parameters
    ----------
    bulk : DataFrame (n_genes, n_patients)
    reference : DataFrame (n_genes, n_cell_types), NaN rows without reference
    fractions : ndarray (n_patients, n_cell_types)
    """
    ratio = log_ratio(bulk.to_numpy(), reference.to_numpy(), fractions)
    genes = bulk.index[reference.notna().all(axis=1)]
    about_types = missing_type(genes, np.median(ratio, axis=1)) or block(genes, ratio)
    members, log_sd = batch(ratio)
    if not members.any():
        return about_types
    return about_types + [f"{members.sum()} patients differ from the others in very many genes, by {log_sd:.2f} "
                          f"(standard deviation, natural log; {some(bulk.columns[members])}): another platform or "
                          "batch would do that; confidence is lower for it, expression is not corrected"]


def missing_type(genes, log_ratio):
    """A line when many genes are far above the prediction in the median patient (log_ratio, (n_genes,)), few far
    below."""
    above, below = log_ratio > np.log(UNEXPLAINED_FOLD), log_ratio < -np.log(UNEXPLAINED_FOLD)
    if above.mean() < MIN_SHARE or above.sum() < ALARMING_RATIO * below.sum():
        return []
    return [f"{above.sum()} genes are more than {UNEXPLAINED_FOLD} times above what the cell types explain "
            f"({below.sum()} below), first {some(genes[np.argsort(-log_ratio)[:5]])}: a cell type may be missing from "
            "the signature, or these values are damaged"]


def block(genes, log_ratio):
    """A line when the genes that are far above the prediction in some patients (log_ratio, (n_genes, n_patients)) are
    so in the same patients."""
    level = np.quantile(log_ratio, SOME_PATIENTS, axis=1)
    highest = np.argsort(-level)[:min(LARGEST_BLOCK, np.sum(level > np.log(UNEXPLAINED_FOLD)))]
    values = log_ratio[highest] - np.median(log_ratio, axis=0)
    spread = values.std(axis=1)
    if np.sum(spread > 0) < MIN_BLOCK:
        return []
    correlation = np.corrcoef(values[spread > 0])
    together = (correlation.sum() - len(correlation)) / (correlation.size - len(correlation))
    if together < TOGETHER:
        return []
    return [f"genes that are more than {UNEXPLAINED_FOLD} times above what the cell types explain in a tenth of the "
            f"patients go together (mean correlation {together:.2f}), first {some(genes[highest[:5]])}: a cell type, "
            "or a state of one, may be missing from the signature"]


def batch(ratio):
    """Whether the leading direction of log_ratio (n_genes, n_patients) parts the patients into two clear groups: bool
    (n_patients,), the members of the smaller one, and by how much the groups differ, robust sd over genes, natural
    log; no members and 0 otherwise."""
    centred = ratio - np.median(ratio, axis=1, keepdims=True)
    score = np.linalg.eigh(centred.T @ centred)[1][:, -1]
    order = np.argsort(score)
    ranked = score[order] - score.mean()
    sizes = np.arange(1, len(score))
    left = np.cumsum(ranked)[:-1]  # sums of the first 1, 2, ... patients; the others have the opposite sum
    between = left ** 2 * (1 / sizes + 1 / (len(score) - sizes)) / np.sum(ranked ** 2)
    best = np.argmax(between)
    members = np.zeros(len(score), dtype=bool)
    members[order[:best + 1] if best + 1 <= len(score) / 2 else order[best + 1:]] = True
    if between[best] < GROUPED or members.sum() < MIN_GROUP * len(score):
        return np.zeros(len(score), dtype=bool), 0.
    gap = np.median(ratio[:, members], axis=1) - np.median(ratio[:, ~members], axis=1)
    return members, 1.4826 * np.median(np.abs(gap - np.median(gap)))
