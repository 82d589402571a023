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
SHRINKAGE = .3         # of the amounts of states towards 0, in units of what bulk says of each of them
COLUMN_SWEEPS = 20     # of the amounts of states, which start where the last weights left them
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
    of_type = (own[:, None] == np.arange(n_types)).astype(float)
    amounts = reweighted(bulk, signature, of_type, poisson_em(bulk, signature))
    if purity and (odds := purity.odds(as_fractions(amounts @ of_type))) > 0:
        amounts = reweighted(bulk, signature, of_type, amounts, partial(purity.information, odds=odds))
    return as_fractions(amounts @ of_type).astype(np.float32)


def as_fractions(amounts):
    """Amounts (n_samples, n_cell_types) as shares; all types alike in a sample like none."""
    total = amounts.sum(axis=1, keepdims=True)
    return np.divide(amounts, total, out=np.full_like(amounts, 1 / amounts.shape[1]), where=total > 0)


def reweighted(bulk, columns, of_type, amounts, information=None):
    """Amounts (n_samples, n_columns) by weighted non-negative least squares.

    First how each type is made of its columns, then, given that, how much there is of each type: shrinking the first
    must not take from the second. `of_type` (n_columns, n_cell_types) is 1 for the type of a column;
    `information(gram)` is added to the Gram matrices (n_samples, n_cell_types, n_cell_types) of the types."""
    floor = np.percentile(bulk[bulk > 0], FLOOR_PERCENTILE)
    products = np.einsum("gk,gl->gkl", columns, columns).reshape(len(columns), -1)
    for _ in range(REWEIGHTINGS):
        weights = relative_weights(bulk, columns @ amounts.T, floor)
        gram = (weights.T @ products).reshape(bulk.shape[1], columns.shape[1], -1)
        rhs = (weights * bulk).T @ columns
        if len(of_type) > of_type.shape[1]:
            amounts = coordinate_descent(gram + shrinkage(gram, of_type.shape[1]), rhs, amounts, COLUMN_SWEEPS)
        mixture = composition(amounts, of_type)
        gram = np.swapaxes(mixture, 1, 2) @ gram @ mixture
        if information:
            gram += information(gram)
        totals = coordinate_descent(gram, np.einsum("ick,ic->ik", mixture, rhs), amounts @ of_type)
        amounts = np.einsum("ick,ik->ic", mixture, totals)
    return amounts


def shrinkage(gram, n_types):
    """What is added to Gram matrices so that the columns after the first n_types count less than the means."""
    diagonal = SHRINKAGE * np.einsum("icc->ic", gram)
    diagonal[:, :n_types] = 0
    return diagonal[:, :, None] * np.eye(diagonal.shape[1])


def composition(amounts, of_type):
    """Share of each column in its type (n_samples, n_columns, n_cell_types); the mean alone where there is none."""
    own = amounts[:, :, None] * of_type
    mean = np.broadcast_to(np.eye(*of_type.shape), own.shape).copy()
    total = own.sum(axis=1, keepdims=True)
    return np.divide(own, total, out=mean, where=total > 0)


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
