"""How many factors a cell type may have: as many as predict bulk entries best that were left out of the fit."""
import numpy as np

from model import factor_model

RANKS = (0, 8, 16, 32)
SAMPLES_PER_FACTOR = 3   # no rank above n_samples / 3
SAMPLES_PER_TYPE = 3     # no factors below that
HELD_OUT = .05           # share of entries
N_GENES = 1000           # a random choice of genes is enough to compare ranks
N_SWEEPS = 12


def choose(residual, means, fractions, random, states=None):
    """Best number of free factors beside the directions of `states` (reference_states.States), and {rank: mean squared
    relative error of the entries left out, 1 being that of no factors}."""
    n_samples, n_cell_types = fractions.shape
    if n_samples < SAMPLES_PER_TYPE * n_cell_types:
        return 0, {0: 1.}
    genes = np.sort(random.permutation(len(residual))[:N_GENES])
    residual, means = residual[genes], means[genes]
    directions = states and states.at(genes).directions(means)
    missing = random.random(residual.shape) < HELD_OUT
    spread = np.mean(residual ** 2, axis=1, keepdims=True) + factor_model.MIN_NOISE
    target = factor_model.clipped(residual) / np.sqrt(spread)
    ranks = sorted({min(rank, n_samples // SAMPLES_PER_FACTOR) for rank in RANKS})
    errors = {}
    for rank in ranks:
        factors = factor_model.fit(residual, means, fractions, rank, missing, N_SWEEPS, directions)
        fit = sum(fractions[:, k] * factors.part(k) for k in range(n_cell_types)) / np.sqrt(spread)
        errors[rank] = float(np.mean((target - fit)[missing] ** 2) / np.mean(target[missing] ** 2))
    return min(errors, key=errors.get), errors
