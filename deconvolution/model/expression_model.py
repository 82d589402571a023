"""Steps 3 and 4 together: the model of expression, given fractions and means.

What means and factors leave unexplained in bulk is shared out between the cell types.
"""
from dataclasses import dataclass, replace

import numpy as np

from model import factor_model

NOISE_SHARE = .1  # sd of bulk's own noise, relative to the fit
FIT_FLOOR = .1    # in units of a gene's mean: what is left is not compared with less
SAME_LEVEL = 100  # genes of similar level, which are measured alike:
STEADY = .1       # of them vary by noise alone


@dataclass
class Model:
    """What steps 1 to 4 learn, in units of each gene's mean over samples: fractions (n_samples, n_cell_types),
    means (n_genes, n_cell_types), factors, kappa (n_genes,) the relative variance that is left, noise: that of bulk,
    not of expression (n_genes,), where it is told from kappa."""
    fractions: np.ndarray
    means: np.ndarray
    factors: factor_model.Factors
    kappa: np.ndarray
    noise: np.ndarray = np.float32(0)

    def explained(self, k):
        """Expression of type k by means and factors (n_genes, n_samples)."""
        explained = self.factors.part(k)
        explained += self.means[:, k, None]
        return explained


def fit(scaled, fractions, means, rank, n_sweeps=factor_model.N_SWEEPS, states=None):
    """Steps 3 and 4 for bulk (n_genes, n_samples) in units of each gene's mean, all arrays float32; `states`:
    reference_states.States or None."""
    factors = factor_model.fit(scaled - means @ fractions.T, means, fractions, rank, n_sweeps=n_sweeps,
                               directions=states and states.directions(means))
    model = Model(fractions, means, factors, None)
    model.kappa = relative_variance(residual(model, scaled), means, fractions)
    return model


def residual(model, scaled):
    """Bulk minus what means and factors explain (n_genes, n_samples)."""
    weighted = [f[:, None] * scores for f, scores in zip(model.fractions.T, model.factors.scores)]
    return scaled - np.hstack([model.means, *model.factors.loadings]) @ np.hstack([model.fractions, *weighted]).T


def relative_variance(residual, means, fractions):
    """kappa_g: variance of expression in a cell type, relative to its squared mean (n_genes,).

    Moment estimate from bulk (residual variance = kappa times the sum of mean^2 fraction^2), shrunk half-way in the
    logarithm to the median over genes.
    """
    spread = means ** 2 @ (fractions ** 2).T
    squares = np.einsum("gi,gi->g", spread, spread)
    kappa = np.divide(np.einsum("gi,gi,gi->g", residual, residual, spread), squares, out=np.zeros_like(squares),
                      where=squares > 0)
    typical = np.median(kappa[squares > 0]) if (squares > 0).any() else 0
    return np.sqrt(kappa * typical)


def measurement_noise(model, scaled, level):
    """Variance of bulk by measurement (n_genes,), relative to the fit's square, from what means and factors leave of
    `scaled`; level (n_genes,): mean of bulk, positive, in any unit.

    Genes of one level are measured alike, but some vary more between patients than others: those of which least is left
    show the noise, or more than that where all of them vary."""
    fit = np.maximum(model.means @ model.fractions.T, FIT_FLOOR)
    left = np.mean((residual(model, scaled) / fit) ** 2, axis=1)
    groups = np.array_split(np.argsort(level, kind="stable"), max(len(level) // SAME_LEVEL, 1))
    log_level = np.log(level)
    return np.interp(log_level, [log_level[genes].mean() for genes in groups],
                     [np.quantile(left[genes], STEADY) for genes in groups]).astype(np.float32)


def with_noise(model, noise):
    """The model where as much of kappa as makes the relative variance `noise` (n_genes,) of bulk, at most all, is noise
    of bulk instead of expression: bulk varies as before."""
    spread = model.means ** 2 @ (model.fractions ** 2).T
    fit = np.maximum(model.means @ model.fractions.T, FIT_FLOOR)
    in_bulk = model.kappa * np.mean(spread / fit ** 2, axis=1)
    noise = np.minimum(noise, in_bulk)
    share = np.divide(noise, in_bulk, out=np.zeros_like(in_bulk), where=in_bulk > 0)
    return replace(model, kappa=model.kappa * (1 - share), noise=noise)


def gains(means, fractions, kappa):
    """Best linear unbiased share: expression of type k in sample i moves by gains[k, g, i] times the residual.

    Yields one array (n_genes, n_samples) per cell type, so that they never lie in memory together.
    """
    variance = kappa[:, None] * means ** 2
    total = variance @ (fractions ** 2).T + (NOISE_SHARE * (means @ fractions.T)) ** 2
    total[total == 0] = 1
    for k in range(means.shape[1]):
        yield variance[:, k, None] * fractions[:, k] / total


def estimates(model, scaled):
    """Expression of one cell type after the other (n_genes, n_samples) in units of each gene's mean, not negative."""
    left = residual(model, scaled)
    for k, moved in enumerate(gains(model.means, model.fractions, model.kappa)):
        moved *= left
        moved += model.explained(k)
        yield np.maximum(moved, 0, out=moved)


def estimate(model, scaled):
    """`estimates` of all cell types (n_cell_types, n_genes, n_samples)."""
    expression = np.empty((model.means.shape[1], *scaled.shape), dtype=np.float32)
    for k, of_type in enumerate(estimates(model, scaled)):
        expression[k] = of_type
    return expression
