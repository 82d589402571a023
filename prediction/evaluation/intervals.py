"""Intervals around predictions of new patients, from how far predictions of known patients were off, out of fold.

    prediction +- h        h: the k-th smallest |label - out-of-fold prediction| of the n patients, k = ceil(.9 (n + 1))

of each output by itself: the conformal quantile (Vovk et al., 2005; Lei et al., J Am Stat Assoc 2018;113:1094) with
residuals of cross-validation (Barber et al., Ann Stat 2021;49:486). For one model and residuals of patients whom it
has not seen, the label of a further patient of the same population is inside with probability 0.9 or more, whatever
the distribution. Here residuals are of the models of the outer folds, each without a fifth of the patients, and the
prediction is the mean of all models: for that there is no such theorem, and coverage is near 0.9 where the models of
the folds are alike. It is an average over patients, not a promise for one of them or for a kind of patients. Patients
of another scanner, stain, population or labels made in another way are not of the same population: how often their
labels are inside can only be measured (`coverage`).
"""
import math

import numpy as np

COVERAGE = 0.9
NAME = "half_width_90"  # of h, in files and tables
COVERED = "coverage_90"


def half_widths(labels, predictions):
    """h of each output, float (n_outputs,), of arrays (n_patients, n_outputs); NaN for fewer than nine patients."""
    n_patients = len(labels)
    rank = math.ceil(COVERAGE * (n_patients + 1))
    if rank > n_patients:
        return np.full(labels.shape[1], np.nan)
    residuals = np.abs(labels.astype(float) - predictions)
    return np.partition(residuals, rank - 1, axis=0)[rank - 1]


def coverage(labels, predictions, half_width):
    """Share of patients whose label is inside, (n_outputs,); NaN where there is no interval."""
    inside = np.abs(labels.astype(float) - predictions) <= half_width
    return np.where(np.isfinite(half_width), inside.mean(0), np.nan)
