"""Steps 2 to 4 together: the model of expression that is fitted to bulk when the fractions are known."""
from dataclasses import dataclass

import numpy as np

import mean_expression
import residual_share


@dataclass
class Model:
    """What steps 1 to 4 learn, in units of each gene's mean over samples: fractions (n_samples, n_cell_types),
    means (n_genes, n_cell_types), kappa (n_genes,) the relative variance around them."""
    fractions: np.ndarray
    means: np.ndarray
    kappa: np.ndarray


def fit(scaled, fractions, reference):
    """Steps 2 to 4 for bulk (n_genes, n_samples) in units of each gene's mean."""
    fractions = fractions.astype(np.float32)
    means = mean_expression.estimate(scaled, fractions, reference.astype(np.float32))
    residual = scaled - means @ fractions.T
    return Model(fractions, means, residual_share.relative_variance(residual, means, fractions))


def estimate(model, scaled):
    """Expression (n_cell_types, n_genes, n_samples) in units of each gene's mean, not negative."""
    residual = scaled - model.means @ model.fractions.T
    expression = np.empty((model.means.shape[1], *scaled.shape), dtype=np.float32)
    for k, gain in enumerate(residual_share.gains(model.means, model.fractions, model.kappa)):
        expression[k] = np.maximum(model.means[:, k, None] + gain * residual, 0)
    return expression
