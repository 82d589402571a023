"""What makes patients unlike, or alike, for no reason of biology.

Level: TPM are shares of a whole. Where a few genes are very high, or a cell type holds much RNA, all other genes of
that sample are low in all cell types at once, which no cell type's expression should have to explain. Batches: their
mean is removed from every gene. Samples that are given more than once are counted once.
"""
import numpy as np
from scipy.sparse.csgraph import connected_components

from model.mean_expression import on_scale_of_bulk

LEAST_LEVEL = .02        # of the ratio: half of the genes of a sample can be missing
USUAL_LEVEL_LOG_SD = .1  # of the estimate where samples do not differ in level, natural log: programmes of many genes

SAME = .999        # correlation over genes of log bulk: the same sample, or one sequenced again
GROUPED = .8       # of the variance of a direction lies between two groups; 0.64 if normal
N_DIRECTIONS = 3   # the leading ones, in which two groups are looked for
MIN_BATCH = 5      # patients, for a mean of their own,
MIN_SHARE = .1     # and of all, in a batch that is found
EVERYWHERE = .5    # of what a batch changes most: genes of other cell types change at least so much, or it is biology
MIN_GENES = 20     # that a cell type dominates, to say so
FLOOR = .1         # in units of a gene's mean: what counts as "about nothing" in a logarithm


def level(bulk, fractions, reference):
    """Level (n_samples,) with geometric mean 1: the median over genes of bulk / prediction, shrunk to 1 as far as its
    spread is no larger than usual.

    Arrays bulk (n_genes, n_samples), fractions (n_samples, n_cell_types), reference (n_genes, n_cell_types) with NaN
    rows where unknown. 1 for all samples when no gene can be predicted."""
    known = np.isfinite(reference).all(axis=1)
    fit = on_scale_of_bulk(reference[known], bulk[known], fractions) @ fractions.T
    seen = (fit > 0).all(axis=1)  # and not zero in most samples
    if not seen.any():
        return np.ones(len(fractions))
    log_level = np.log(np.maximum(np.median(bulk[known][seen] / fit[seen], axis=0), LEAST_LEVEL))
    log_level -= log_level.mean()
    excess = 1 - USUAL_LEVEL_LOG_SD ** 2 / max(np.var(log_level), USUAL_LEVEL_LOG_SD ** 2)
    return np.exp(excess * log_level)


def same_sample(bulk):
    """Which sample each column of bulk (n_genes, n_samples) is of: int (n_samples,), counted from 0 in their order.

    Two columns whose logarithms correlate above SAME are of one sample, whatever their scale; so are those that a
    third one joins."""
    floor = np.float32(np.percentile(bulk[bulk > 0], 5) / bulk.mean())
    log = np.log((bulk / bulk.mean(axis=0)).astype(np.float32) + floor)
    log -= log.mean(axis=0)
    log /= np.maximum(np.linalg.norm(log, axis=0), np.finfo(np.float32).tiny)
    _, label = connected_components(log.T @ log > SAME, directed=False)
    _, first = np.unique(label, return_index=True)
    return np.argsort(np.argsort(first))[label]


def mean_of_groups(values, group):
    """Mean over the columns of values (n, n_samples) in each group: (n, n_groups); group int (n_samples,)."""
    member = group == np.arange(group.max() + 1)[:, None]
    return values @ (member / member.sum(axis=1, keepdims=True)).T.astype(values.dtype)


def find_batches(bulk, reference, fractions, random):
    """Two batches: int (n_samples,), 1 for the smaller one; all 0 where there are none.

    One of the leading directions of the log ratio of bulk and prediction parts the samples into two clear groups, which
    differ in the genes of most cell types alike: a subtype of the malignant cells differs in theirs. Arrays as for
    `level`."""
    known = np.isfinite(reference).all(axis=1)
    if not known.any():
        return np.zeros(len(fractions), dtype=int)
    ratio, by_type = log_ratio(bulk[known], reference[known], fractions), reference[known] * fractions.mean(axis=0)
    centred = ratio - np.median(ratio, axis=1, keepdims=True)
    for score in np.linalg.eigh(centred.T @ centred)[1].T[::-1][:N_DIRECTIONS]:
        batch = two_groups(score)
        if batch.any() and is_everywhere(ratio, batch, by_type, random):
            return batch
    return np.zeros(len(fractions), dtype=int)


def two_groups(score):
    """The best cut of score (n_samples,), 1 for the smaller side; all 0 where it leaves too much within its sides or
    too few on one."""
    order = np.argsort(score)
    n_samples, ranked = len(score), score[order] - score.mean()
    sizes = np.arange(1, n_samples)
    left = np.cumsum(ranked)[:-1]  # sums of the first 1, 2, ... samples; the others have the opposite sum
    between = left ** 2 * (1 / sizes + 1 / (n_samples - sizes)) / max(np.sum(ranked ** 2), np.finfo(float).tiny)
    cut = np.argmax(between) + 1
    batch = np.zeros(n_samples, dtype=int)
    smaller = order[:cut] if cut <= n_samples / 2 else order[cut:]
    if between[cut - 1] >= GROUPED and len(smaller) >= max(MIN_BATCH, MIN_SHARE * n_samples):
        batch[smaller] = 1
    return batch


def is_everywhere(ratio, batch, by_type, random):
    """Whether the groups differ in the genes of most cell types as in those that differ most; more than groups of that
    size drawn at random."""
    gap, by_chance = (np.diff(mean_of_groups(ratio, group), axis=1)[:, 0]
                      for group in (batch, random.permutation(batch)))
    most = np.where(by_type.max(axis=1) > by_type.sum(axis=1) / 2, by_type.argmax(axis=1), -1)
    genes = [most == k for k in range(by_type.shape[1]) if np.sum(most == k) >= MIN_GENES]
    excess = [max(spread(gap[of_type]) ** 2 - spread(by_chance[of_type]) ** 2, 0) for of_type in genes]
    return len(genes) > 1 and np.sqrt(np.median(excess)) > EVERYWHERE * np.sqrt(max(excess))


def batch_effects(bulk, reference, fractions, batch):
    """By how much each gene is higher in a batch than in all samples, beyond what the fractions explain, natural log:
    (n_genes, n_batches), shrunk to 0 as far as chance explains it. batch: int (n_samples,); other arrays as for
    `level`."""
    if not batch.any():
        return np.zeros((len(bulk), 1))
    known = np.isfinite(reference).all(axis=1, keepdims=True)
    ratio = log_ratio(bulk, np.where(known, reference, 1), fractions)
    effect = mean_of_groups(ratio, batch) - ratio.mean(axis=1, keepdims=True)
    within = ratio - mean_of_groups(ratio, batch)[:, batch]
    chance = within.var(axis=1, keepdims=True) / np.bincount(batch)
    real = np.maximum(np.mean(effect ** 2, axis=0) - np.mean(chance, axis=0), 0)
    return effect * real / (real + chance + np.finfo(float).tiny)


def without_batches(bulk, effects, batch):
    """Bulk (n_genes, n_samples) with what `batch_effects` found taken out."""
    return bulk / np.exp(effects)[:, batch] if batch.any() else bulk


def log_ratio(bulk, reference, fractions):
    """Natural log of bulk / prediction (n_genes, n_samples), both in units of the gene's mean."""
    scaled, predicted = ((x / np.maximum(x.mean(axis=1, keepdims=True), np.finfo(float).tiny)).astype(np.float32)
                         for x in (bulk, reference @ fractions.T))
    return np.log((scaled + FLOOR) / (predicted + FLOOR))


def spread(values):
    """Robust standard deviation."""
    return 1.4826 * np.median(np.abs(values - np.median(values)))
