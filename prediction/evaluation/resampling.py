"""Resampled patients (bootstrap): which are drawn, R of all outputs in every draw, percentile intervals.

A draw is how often each patient is in it, so that all sums of all draws are matrix products. They are of float32, after
all columns were centred, and divided by their length, in float64: R of a draw is right to 1e-5.
"""
import numpy as np

from evaluation import association, gram

CONFIDENCE = 0.95
NEGLIGIBLE = 1e-5  # share of a column's squares below which it is constant in a draw


def resampled(n, n_bootstrap, seed):
    """Draws of n row numbers with replacement; (n_bootstrap, n)."""
    return np.random.default_rng(seed).integers(0, n, (n_bootstrap, n))


def draws(n, n_bootstrap, seed):
    """How often each row is in each of the draws of `resampled`; int64 (n_bootstrap, n)."""
    return np.stack([np.bincount(rows, minlength=n) for rows in resampled(n, n_bootstrap, seed)])


def interval(values):
    """Percentile interval; NaN without values."""
    values = np.asarray(values, float)
    values = values[np.isfinite(values)]
    limits = [50 * (1 - CONFIDENCE), 50 * (1 + CONFIDENCE)]
    return tuple(np.percentile(values, limits)) if len(values) else (np.nan, np.nan)


def pearson(predictions, labels, n_bootstrap, seed, groups=()):
    """Pearson R of each output in resampled patients, by weighted sums; NaN where a draw is constant.

    Parameters
    ----------
    groups : list of int arrays (n_patients,)
        For R with predictions and labels centred on the mean of each group in each draw.

    Returns
    -------
    list of float32 arrays (n_bootstrap, n_outputs): over all patients, and with each of the `groups`.
    """
    counts = draws(len(labels), n_bootstrap, seed).astype(np.float32)
    found = [np.empty((n_bootstrap, labels.shape[1]), np.float32) for _ in range(1 + len(groups))]

    def fill(columns):
        of_groups = of_columns(predictions[:, columns].astype(float), labels[:, columns].astype(float), counts, groups)
        for everywhere, here in zip(found, of_groups):
            everywhere[:, columns] = here
    gram.over_columns(fill, labels.shape[1])
    return found


def of_columns(predictions, labels, counts, groups):
    """`pearson` of some outputs. Sums over all patients follow from those within the first of the groups."""
    x, y = unit(association.centred(predictions)), unit(association.centred(labels))
    total = counts.sum(1, keepdims=True)
    if not groups:
        x, y = x.astype(np.float32), y.astype(np.float32)
        return [r_of(*sums_of(x, y, counts), [counts @ x], [counts @ y], [total])]
    found = []
    for numbers in groups:
        one = [np.flatnonzero(numbers == group) for group in np.unique(numbers)]
        one = [rows for rows in one if not found or len(rows) > 1]  # within a group of one patient all is zero
        within = [association.centred_within(values, numbers).astype(np.float32) for values in (x, y)]
        raw = sums_of(*within, counts)
        of_groups = [[counts[:, rows] @ values[rows] for rows in one] for values in within]
        n_drawn = [counts[:, rows].sum(1, keepdims=True) for rows in one]
        found.append(r_of(*raw, *of_groups, n_drawn))
        if len(found) == 1:
            means = [np.stack([values[rows].mean(0) for rows in one]).astype(np.float32) for values in (x, y)]
            pooled = pooled_sums(raw, of_groups, means, np.hstack(n_drawn))
    return [r_of(*pooled, [total]), *found]


def unit(values):
    """Columns divided by their length; those of zero stay."""
    length = np.sqrt(np.square(values).sum(0))
    return values / np.where(length > 0, length, 1)


def sums_of(x, y, counts):
    """Sums of x y, x x and y y in each draw; three arrays (n_draws, n_outputs)."""
    return counts @ (x * y), counts @ (x * x), counts @ (y * y)


def pooled_sums(raw, of_groups, means, n_drawn):
    """Sums of products of x = within + mean of the group, and of x and y, from those within the groups."""
    (xy, xx, yy), (in_x, in_y), (mean_x, mean_y) = raw, of_groups, means
    xy, xx, yy = (sums + n_drawn @ (one * other) for sums, one, other in
                  ((xy, mean_x, mean_y), (xx, mean_x, mean_x), (yy, mean_y, mean_y)))
    for sum_x, sum_y, of_x, of_y in zip(in_x, in_y, mean_x, mean_y):
        xy += sum_x * of_y + sum_y * of_x
        xx += 2 * sum_x * of_x
        yy += 2 * sum_y * of_y
    return xy, xx, yy, [sum(in_x) + n_drawn @ mean_x], [sum(in_y) + n_drawn @ mean_y]


def r_of(xy, xx, yy, sums_x, sums_y, n_drawn):
    """R of draws from sums of products over all patients, and sums of x and y over those of each group; float32."""
    least_xx, least_yy = NEGLIGIBLE * xx, NEGLIGIBLE * yy
    for sum_x, sum_y, n in zip(sums_x, sums_y, n_drawn):   # the mean of a group in a draw is not its mean
        mean_x, mean_y = sum_x / np.maximum(n, 1), sum_y / np.maximum(n, 1)  # none in a draw: all its sums are 0
        xy, xx, yy = xy - mean_x * sum_y, xx - mean_x * sum_x, yy - mean_y * sum_y
    with np.errstate(divide="ignore", invalid="ignore"):
        r = xy / np.sqrt(xx * yy)
    r[(xx <= least_xx) | (yy <= least_yy)] = np.nan
    return r
