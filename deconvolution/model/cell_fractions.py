"""Step 1: fractions of the cell types in every sample, from the marker genes.

Weighted non-negative least squares on relative residuals. Genes that fit badly in all samples (platform, a wrong
signature) and single entries that do (outliers) count less.
"""
from functools import partial

import numpy as np

from model.nonnegative import coordinate_descent

EM_ITERATIONS = 100
REWEIGHTINGS = 15
CAUCHY = 1.5           # an entry this many robust standard deviations off has half the weight
MIN_LOG_SD = .05       # nobody measures a gene better than this, natural log
FLOOR_PERCENTILE = 5   # of the positive bulk values: what counts as "about nothing" in a logarithm


def estimate(bulk, signature, states=None, purity=None):
    """Fractions of every sample.

    Parameters
    ----------
    bulk : ndarray (n_markers, n_samples), linear scale
    signature : ndarray (n_markers, n_cell_types), linear scale; every type has a positive gene
    states : reference_states.States of the same genes, columns beside the signature whose amounts are added up; or None
    purity : Purity of the same samples and types, or None

    Returns
    -------
    ndarray (n_samples, n_cell_types)
        Rows sum to 1; all types alike where none explains anything. Multiplying `bulk` or `signature` by a constant
        changes nothing.
    """
    n_types = signature.shape[1]
    signature, own = states.beside(signature) if states else (signature, np.arange(n_types))
    bulk, signature = bulk / bulk.mean(), signature / signature.mean()
    bulk, signature = bulk.astype(float), signature.astype(float)
    amounts = reweighted(bulk, signature, poisson_em(bulk, signature))
    of_type = (own[:, None] == np.arange(n_types)).astype(float)
    if purity and (odds := purity.odds(as_fractions(amounts @ of_type))) > 0:
        amounts = reweighted(bulk, signature, amounts, partial(purity.information, of_type=of_type, odds=odds))
    return as_fractions(amounts @ of_type).astype(np.float32)


def as_fractions(amounts):
    """Amounts (n_samples, n_cell_types) as shares; all types alike in a sample like none."""
    total = amounts.sum(axis=1, keepdims=True)
    return np.divide(amounts, total, out=np.full_like(amounts, 1 / amounts.shape[1]), where=total > 0)


def reweighted(bulk, signature, amounts, information=None):
    """Amounts by weighted non-negative least squares. `information(gram, amounts)` is added to the Gram matrices."""
    floor = np.percentile(bulk[bulk > 0], FLOOR_PERCENTILE)
    products = np.einsum("gk,gl->gkl", signature, signature).reshape(len(signature), -1)
    for _ in range(REWEIGHTINGS):
        weights = relative_weights(bulk, signature @ amounts.T, floor)
        gram = (weights.T @ products).reshape(bulk.shape[1], signature.shape[1], -1)
        if information:
            gram += information(gram, amounts)
        amounts = coordinate_descent(gram, (weights * bulk).T @ signature, amounts)
    return amounts


def poisson_em(bulk, signature):
    """Amounts (n_samples, n_cell_types) of largest Poisson likelihood, by EM from equal amounts."""
    per_type = signature.sum(axis=0)
    amounts = np.repeat(bulk.sum(axis=0)[:, None] / per_type.sum(), signature.shape[1], axis=1)
    for _ in range(EM_ITERATIONS):
        fit = signature @ amounts.T
        amounts *= np.divide(bulk, fit, out=np.zeros_like(bulk), where=fit > 0).T @ signature / per_type
    return amounts


def relative_weights(bulk, fit, floor):
    """Weight of each entry (n_markers, n_samples): of a log residual relative to the gene's sd over all samples, by
    Cauchy's law; and of the gene, which is wrong rather than noisy when it fits badly everywhere, by the sd cubed."""
    residual = np.log((bulk + floor) / (fit + floor))
    sd = 1.4826 * np.median(np.abs(residual), axis=1, keepdims=True) + MIN_LOG_SD  # 1.4826: a normal sd from its median
    entry = 1 / (1 + (residual / (CAUCHY * sd)) ** 2)
    return entry / ((fit + floor) ** 2 * (sd ** 3 + MIN_LOG_SD))
