"""Whether the fractions hold: would they stay the same if bulk held a cell type more, which nobody knows?

The signature is fitted again beside a column that is learned from bulk. The column takes up what the cell types explain
worst: a type that the signature lacks, or states of one that it knows. A look-alike that had stood in for it loses its
fraction, and then its expression is that of the other.
"""
from dataclasses import dataclass

import numpy as np

from model.cell_fractions import FLOOR_PERCENTILE, relative_weights
from model.nonnegative import coordinate_descent

ROUNDS = 12             # profile of the unknown type and amounts in turn
MIN_AMOUNT = 1e-6       # of the unknown type, in shares of a sample, where its profile is learned
N_OWN_MARKERS = 20      # genes whose prediction a type makes most of
REPLACED = .25          # of the amount of a type is left, or less: the unknown one is most of it, its states
MIN_AGREEMENT = .91     # of fractions without and with the unknown type, Pearson's r over patients
MIN_OWN_LEVEL = .2      # of own markers in bulk relative to the prediction, where all others are at 1


@dataclass
class Check:
    """What speaks against the fractions: agreement (n_cell_types,) without and with an unknown type, Pearson's r
    over samples, 1 for a type whose states the unknown one may be; state_of: that type, or the one that the unknown one
    takes most from; own_level (n_cell_types,), median of bulk / prediction over the markers of a type; unknown
    (n_samples,), amount of the unknown type in units of a sample; change (n_samples, n_cell_types) of the fractions
    beside it."""
    agreement: np.ndarray
    state_of: int
    own_level: np.ndarray
    unknown: np.ndarray
    change: np.ndarray

    def is_of_another_tissue(self):
        """Whether bulk does not show the markers of the very type that explains worst what it is said to make."""
        return self.own_level[self.state_of] < MIN_OWN_LEVEL

    def doubtful(self):
        """Types (n_cell_types,) whose fractions cannot be trusted."""
        if self.is_of_another_tissue():
            return np.ones(len(self.agreement), dtype=bool)
        return (self.agreement < MIN_AGREEMENT) | (self.own_level < MIN_OWN_LEVEL)


def check(bulk, signature, fractions, states=None):
    """Arrays bulk (n_markers, n_samples), signature (n_markers, n_cell_types), fractions (n_samples, n_cell_types);
    states: reference_states.States of the markers that the fractions were estimated with, or None."""
    bulk, signature = bulk.astype(float) / bulk.mean(), signature.astype(float) / signature.mean()
    columns, own = states.beside(signature) if states else (signature, np.arange(signature.shape[1]))
    of_type = (own[:, None] == np.arange(signature.shape[1])).astype(float)
    start = fractions.astype(float)[:, own] / of_type.sum(axis=0)[own]
    known, unknown = beside_unknown(bulk, columns, start)
    known = known @ of_type
    left = known.sum(axis=0) / np.maximum(fractions.sum(axis=0), MIN_AMOUNT)
    state_of = np.argmax(np.sum(fractions - known, axis=0))
    agreement = correlation(shares(known), fractions)
    if left[state_of] < REPLACED or state_of == np.argmax(fractions.sum(axis=0)):
        agreement[state_of] = 1
    return Check(agreement, state_of, own_level(bulk, signature, fractions), unknown,
                 change(known, fractions, state_of))


def change(known, fractions, state_of):
    """Of the fractions (n_samples, n_cell_types) to the amounts `known` beside an unknown type, on one scale; 0 for
    `state_of`, of which the unknown one takes states."""
    others = np.arange(fractions.shape[1]) != state_of
    scale = fractions[:, others].sum() / max(known[:, others].sum(), MIN_AMOUNT)
    result = scale * known - fractions
    result[:, state_of] = 0
    return result


def shares(amounts):
    """Amounts (n_samples, n_cell_types) in units of their sum."""
    return amounts / np.maximum(amounts.sum(axis=1, keepdims=True), MIN_AMOUNT)


def beside_unknown(bulk, signature, amounts):
    """Amounts (n_samples, n_cell_types) of the types of the signature, and (n_samples,) of the unknown one."""
    floor = np.percentile(bulk[bulk > 0], FLOOR_PERCENTILE)
    amounts = fitted(bulk, signature, amounts, relative_weights(bulk, signature @ amounts.T, floor))
    weights = relative_weights(bulk, signature @ amounts.T, floor)
    unknown = leading_direction(np.sqrt(weights) * (bulk - signature @ amounts.T))
    for _ in range(ROUNDS):
        left = bulk - signature @ amounts.T
        profile = np.maximum(weights * left @ unknown, 0) / np.maximum(weights @ unknown ** 2, np.finfo(float).tiny)
        profile /= max(profile.mean(), np.finfo(float).tiny)
        columns = np.c_[signature, profile]
        together = fitted(bulk, columns, np.c_[amounts, unknown], weights)
        weights = relative_weights(bulk, columns @ together.T, floor)
        together = fitted(bulk, columns, together, weights)
        amounts, unknown = together[:, :-1], together[:, -1] + MIN_AMOUNT
    return amounts, unknown


def leading_direction(residual):
    """Amounts (n_samples,), positive, of the direction that explains most of residual (n_markers, n_samples), whose
    side is the one where it adds to bulk."""
    genes, _, samples = np.linalg.svd(residual, full_matrices=False)
    side = 1 if np.sum(np.maximum(genes[:, 0], 0) ** 2) > .5 else -1
    return np.maximum(side * samples[0], 0) + MIN_AMOUNT


def fitted(bulk, columns, amounts, weights):
    """Weighted non-negative least squares from `amounts` (n_samples, n_columns)."""
    products = np.einsum("gk,gl->gkl", columns, columns).reshape(len(columns), -1)
    gram = (weights.T @ products).reshape(bulk.shape[1], columns.shape[1], -1)
    return coordinate_descent(gram, (weights * bulk).T @ columns, amounts)


def correlation(a, b):
    """Pearson's r between the columns of a and b (n_samples, n_cell_types), 1 where both are constant."""
    a, b = (x - x.mean(axis=0) for x in (a, b))
    norm = np.sqrt(np.sum(a ** 2, axis=0) * np.sum(b ** 2, axis=0))
    return np.divide(np.sum(a * b, axis=0), norm, out=np.ones(a.shape[1]), where=norm > 0)


def own_level(bulk, signature, fractions):
    """Median over the markers of each type of the mean bulk / prediction, 1 in the median of all markers."""
    by_type = signature * fractions.mean(axis=0)
    level, predicted = bulk.mean(axis=1), by_type.sum(axis=1)
    floor = .01 * np.median(level)
    ratio = np.log((level + floor) / (predicted + floor))
    share = by_type / np.maximum(predicted, np.finfo(float).tiny)[:, None]
    own = np.argsort(-share, axis=0)[:N_OWN_MARKERS]
    return np.exp(np.median(ratio[own], axis=0) - np.median(ratio))
