"""States of the cell types, and donors of the malignant ones: what is known of how a cell type varies.

A tumour is not like the mean of all tumours. Its malignant cells are a mixture of those of donors, its T cells one of
states; so each state is a column of the signature beside the mean of its type, and their amounts are added up
(cell_fractions). What a state differs by from the others is a direction in which its type is likely to vary between
patients (factor_model).
"""
from dataclasses import dataclass

import numpy as np

FLOOR = .01       # in units of the gene's mean over types of the reference: what counts as "about nothing" in a ratio
MOST_STATES = 72  # of all types together; time goes with their square, and more say little that is new


@dataclass
class States:
    """ratio float32 (n_genes, n_states): profile of each state, as a multiple of its type's reference, 1 where it is
    not known; of_type int (n_states,), the column of the signature."""
    ratio: np.ndarray
    of_type: np.ndarray

    def at(self, genes):
        """The same states of some genes."""
        return States(self.ratio[genes], self.of_type)

    def beside(self, signature):
        """The signature (n_genes, n_cell_types) with the states as further columns, and the type of each column."""
        own = np.concatenate([np.arange(signature.shape[1]), self.of_type])
        return np.hstack([signature, signature[:, self.of_type] * self.ratio]), own

    def directions(self, means):
        """For each type, what its states differ by from their mean: list of float32 (n_genes, n_states of the type),
        in the units of means (n_genes, n_cell_types)."""
        found = []
        for k, mean in enumerate(means.T):
            ratio = self.ratio[:, self.of_type == k]
            centre = ratio.mean(axis=1, keepdims=True) if ratio.shape[1] > 1 else 1
            found.append((mean[:, None] * (ratio - centre)).astype(np.float32))
        return found

    def perturbed(self, random, log_sd):
        """States that are wrong by a factor of their own in every gene, lognormal."""
        factor = np.exp(log_sd * random.standard_normal(self.ratio.shape, dtype=np.float32))
        return States(self.ratio * factor, self.of_type)


def of_profiles(profiles, of_type, reference):
    """States relative to the reference.

    Parameters
    ----------
    profiles : ndarray (n_genes, n_states), linear, any scale a state; NaN where not known
    of_type : ndarray of int (n_states,)
    reference : ndarray (n_genes, n_cell_types), linear; NaN rows for genes without reference, of which the mean of the
        type's states takes the place
    """
    level = np.mean(reference, axis=1)
    most = at_most(np.bincount(of_type, minlength=reference.shape[1]))
    ratio = [different(relative(profiles[:, of_type == k], reference[:, k], level), most)
             for k in range(reference.shape[1])]
    own = np.repeat(np.arange(len(ratio)), [of_one.shape[1] for of_one in ratio])
    return States(np.hstack(ratio).astype(np.float32), own)


def relative(states, mean, level):
    """Ratio (n_genes, n_states) of the states to their type's mean (n_genes,), both brought to the same total; a value
    far below the gene's level (n_genes,) is about nothing."""
    shared = np.isfinite(states) & np.isfinite(mean)[:, None]
    total = [np.sum(np.where(shared, values, 0), axis=0) for values in (mean[:, None], states)]
    states = states * np.divide(*total, out=np.ones_like(total[1]), where=total[1] > 0)
    n_known = np.sum(np.isfinite(states), axis=1)
    own_mean = np.divide(np.nansum(states, axis=1), n_known, out=np.full(len(states), np.nan), where=n_known > 0)
    mean, level = (np.where(np.isfinite(values), values, own_mean)[:, None] for values in (mean, level))
    known = np.isfinite(states) & (level > 0)
    return np.divide(states + FLOOR * level, mean + FLOOR * level, out=np.ones_like(states), where=known)


def at_most(n_states):
    """How many states a type may keep, so that no more than MOST_STATES are kept of all (n_states, of each type)."""
    most = n_states.max()
    while np.minimum(n_states, most).sum() > MOST_STATES and most > 1:
        most -= 1
    return most


def different(ratio, most):
    """The columns, no more than `most`, of a ratio (n_genes, n_states) that differ most from one another, in order."""
    if ratio.shape[1] <= most:
        return ratio
    from scipy.linalg import qr  # scipy takes a second to start, which a skipped re-run need not

    log_ratio = np.log(ratio)
    order = qr(log_ratio - log_ratio.mean(axis=1, keepdims=True), mode="r", pivoting=True)[1]
    return ratio[:, np.sort(order[:most])]
