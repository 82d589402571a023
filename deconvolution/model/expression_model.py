"""Steps 3 and 4 together: the model of expression, given fractions and means."""
from dataclasses import dataclass

import numpy as np

from model import factor_model, residual_share


@dataclass
class Model:
    """What steps 1 to 4 learn, in units of each gene's mean over samples: fractions (n_samples, n_cell_types),
    means (n_genes, n_cell_types), factors, kappa (n_genes,) the relative variance that is left."""
    fractions: np.ndarray
    means: np.ndarray
    factors: factor_model.Factors
    kappa: np.ndarray

    def explained(self, k):
        """Expression of type k by means and factors (n_genes, n_samples)."""
        return self.means[:, k, None] + self.factors.part(k)


def fit(scaled, fractions, means, rank, n_sweeps=factor_model.N_SWEEPS, states=None):
    """Steps 3 and 4 for bulk (n_genes, n_samples) in units of each gene's mean, all arrays float32; `states`:
    reference_states.States or None."""
    factors = factor_model.fit(scaled - means @ fractions.T, means, fractions, rank, n_sweeps=n_sweeps,
                               directions=states and states.directions(means))
    model = Model(fractions, means, factors, None)
    model.kappa = residual_share.relative_variance(residual(model, scaled), means, fractions)
    return model


def residual(model, scaled):
    """Bulk minus what means and factors explain (n_genes, n_samples)."""
    left = scaled.copy()
    for k, f in enumerate(model.fractions.T):
        left -= f * model.explained(k)
    return left


def estimate(model, scaled):
    """Expression (n_cell_types, n_genes, n_samples) in units of each gene's mean, not negative."""
    left = residual(model, scaled)
    expression = np.empty((model.means.shape[1], *scaled.shape), dtype=np.float32)
    for k, gain in enumerate(residual_share.gains(model.means, model.fractions, model.kappa)):
        expression[k] = np.maximum(model.explained(k) + gain * left, 0)
    return expression
