"""Statistics of predictions against labels: all genes in one matrix expression, corrections, ROC with intervals.

Rows are samples (slides or patients), columns are outputs (genes or cell types). numpy arrays and torch tensors
are both taken where it says "array"; the result is of the same kind.
"""
import numpy as np
from scipy import stats


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


def one_sided_p(r, n):
    """p of Pearson R > 0 for n samples by Student's t with n - 2 degrees of freedom; NaN where R is NaN or n < 3."""
    if n < 3:
        return np.full_like(r, np.nan)
    with np.errstate(divide="ignore"):
        return stats.t.sf(r * np.sqrt((n - 2) / (1 - np.square(r))), n - 2)


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
    positive, negative = scores[labels == 1], scores[labels == 0]
    m, n = len(positive), len(negative)
    if m == 0 or n == 0:
        return np.nan, np.nan, np.nan
    ranks = stats.rankdata(np.concatenate([positive, negative]))
    above = (ranks[:m] - stats.rankdata(positive)) / n      # share of negatives below each positive
    below = 1 - (ranks[m:] - stats.rankdata(negative)) / m  # share of positives above each negative
    area = above.mean()
    if m < 2 or n < 2:
        return area, np.nan, np.nan
    half = stats.norm.ppf((1 + confidence) / 2) * np.sqrt(above.var(ddof=1) / m + below.var(ddof=1) / n)
    return area, max(area - half, 0.0), min(area + half, 1.0)
