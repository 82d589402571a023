"""Statistics of predictions against labels: all genes in one matrix expression, corrections, ROC and odds ratios.

Rows are samples (slides or patients), columns are outputs (genes or cell types). numpy arrays and torch tensors
are both taken where it says "array"; the result is of the same kind.
"""
import numpy as np
from scipy import special


def pearson(predictions, labels):
    """Pearson R of each column; array (n_outputs,), NaN where predictions or labels are constant."""
    return pearson_and_slope(predictions, labels)[0]


def pearson_and_slope(predictions, labels):
    """Pearson R, and the least-squares slope of prediction on label (NaN for constant labels), of each column."""
    x, y = centred(labels), centred(predictions)
    xy, xx = (x * y).sum(0), (x * x).sum(0)
    return xy / (xx * (y * y).sum(0)) ** 0.5, xy / xx


def centred(values):
    """Columns minus their means; a constant column becomes exactly zero."""
    shifted = values - values[:1]
    shifted -= shifted.mean(0)
    return shifted


def pearson_within(predictions, labels, groups):
    """Pearson R of each column, predictions and labels centred on the mean of each group; groups: int (n_rows,).

    Rows of groups that differ in level, such as outer folds with models of their own, have an R together that says
    more of the groups than of the rows.
    """
    return pearson(centred_within(predictions, groups), centred_within(labels, groups))


def centred_within(values, groups):
    """Columns minus their means in each group."""
    shifted = np.empty_like(values)
    for group in np.unique(groups):
        shifted[groups == group] = centred(values[groups == group])
    return shifted


def one_sided_p(r, n):
    """p of Pearson R > 0 for n samples by Student's t with n - 2 degrees of freedom; NaN where R is NaN or n < 3."""
    if n < 3:
        return np.full_like(r, np.nan)
    with np.errstate(divide="ignore"):
        return special.stdtr(n - 2, -r * np.sqrt((n - 2) / (1 - np.square(r))))


def holm_sidak(p):
    """Holm's step-down correction with Sidak's exponent; (n_tests,), NaN stays NaN and counts as no test."""
    return adjusted(p, lambda p_sorted: np.maximum.accumulate(
        -np.expm1(np.arange(len(p_sorted), 0, -1) * np.log1p(-np.minimum(p_sorted, 1 - 1e-16)))))


def benjamini_hochberg(p):
    """False discovery rate of Benjamini and Hochberg, 1995; (n_tests,), NaN stays NaN and counts as no test."""
    return adjusted(p, lambda p_sorted: np.minimum.accumulate(
        (p_sorted * len(p_sorted) / np.arange(1, len(p_sorted) + 1))[::-1])[::-1])


def adjusted(p, correct):
    """Apply `correct` to the sorted finite p-values and put the result, at most 1, back in place."""
    p = np.asarray(p, float)
    result = np.full_like(p, np.nan)
    finite = np.flatnonzero(np.isfinite(p))
    order = finite[np.argsort(p[finite], kind="stable")]
    result[order] = np.minimum(correct(p[order]), 1)
    return result


def delong(labels, scores, confidence=0.95):
    """AUC with the interval of DeLong et al., 1988 (Biometrics 44:837), by midranks (Sun and Xu, 2014).

    Returns
    -------
    auc, low, high : float
        Normal interval clipped to 0..1; NaN where it does not exist (an empty class; one sample of a class).
    """
    above, below = placements(labels, scores)
    if not len(above) or not len(below):
        return np.nan, np.nan, np.nan
    area = above.mean()
    if len(above) < 2 or len(below) < 2:
        return area, np.nan, np.nan
    half = special.ndtri((1 + confidence) / 2) * np.sqrt(variance_of_mean(above) + variance_of_mean(below))
    return area, max(area - half, 0.0), min(area + half, 1.0)


def delong_paired(labels, scores, other_scores):
    """Two-sided p of equal AUC of two scores of the same samples (DeLong et al., 1988).

    1 for equal AUC, 0 for AUC that differ without any variance, NaN with fewer than two samples of a class.
    """
    above, below = (np.subtract(*pair) for pair in zip(placements(labels, scores), placements(labels, other_scores)))
    if len(above) < 2 or len(below) < 2:
        return np.nan
    difference = above.mean()
    if abs(difference) < 1e-12:  # sums of ranks in another order
        return 1.0
    with np.errstate(divide="ignore"):
        return 2 * special.ndtr(-abs(difference) / np.sqrt(variance_of_mean(above) + variance_of_mean(below)))


def placements(labels, scores):
    """Share of negatives below each positive (n_positive,), share of positives above each negative (n_negative,).

    Ties count a half, so that the mean of either is the AUC.
    """
    positive, negative = scores[labels == 1], scores[labels == 0]
    m, n = len(positive), len(negative)
    if m == 0 or n == 0:
        return np.full(m, np.nan), np.full(n, np.nan)
    from scipy import stats  # takes a second, which other scripts need not wait
    ranks = stats.rankdata(np.concatenate([positive, negative]))
    return (ranks[:m] - stats.rankdata(positive)) / n, 1 - (ranks[m:] - stats.rankdata(negative)) / m


def variance_of_mean(values):
    return values.var(ddof=1) / len(values)


def average_precision(labels, scores, weights):
    """Average precision of weighted samples, as in scikit-learn; (n_draws,) for weights (n_draws, n_samples).

    Weights are the counts of a bootstrap draw; NaN where a draw has no positive.
    """
    order = np.argsort(-scores, kind="stable")
    last = np.r_[np.flatnonzero(np.diff(scores[order])), len(scores) - 1]  # of each group of equal scores
    called = np.cumsum(weights[:, order], axis=1)[:, last]
    found = np.cumsum((weights * labels)[:, order], axis=1)[:, last]
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.where(called > 0, found / called, 0)
        return (np.diff(found, axis=1, prepend=0) * precision).sum(1) / found[:, -1]


def weighted_auc(labels, scores, weights):
    """AUC of weighted samples, ties a half; (n_draws,) for weights (n_draws, n_samples), NaN without a class."""
    positive, negative = labels == 1, labels == 0
    higher = np.sign(scores[positive][:, None] - scores[negative]) / 2 + 0.5
    with np.errstate(invalid="ignore"):
        return (((weights[:, positive] @ higher) * weights[:, negative]).sum(1)
                / (weights[:, positive].sum(1) * weights[:, negative].sum(1)))


def diagnostic_odds_ratio(labels, called, confidence=0.95):
    """Odds of being called among positives over those among negatives, with its log-normal interval; three floats.

    Half a sample is added to each of the four counts (Haldane, 1956), so that the ratio is finite.
    """
    hits, false_alarms = called[labels == 1], called[labels == 0]
    counts = np.array([hits.sum(), (~false_alarms).sum(), (~hits).sum(), false_alarms.sum()]) + 0.5
    log_ratio = np.log(counts[0] * counts[1] / (counts[2] * counts[3]))
    half = special.ndtri((1 + confidence) / 2) * np.sqrt((1 / counts).sum())
    return tuple(np.exp([log_ratio, log_ratio - half, log_ratio + half]))
