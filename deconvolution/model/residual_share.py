"""Step 4: what means and factors leave unexplained in bulk is shared out between the cell types."""
import numpy as np

NOISE_SHARE = .1  # sd of bulk's own noise, relative to the fit


def relative_variance(residual, means, fractions):
    """kappa_g: variance of expression in a cell type, relative to its squared mean (n_genes,).

    Moment estimate from bulk (residual variance = kappa times the sum of mean^2 fraction^2), shrunk half-way in the
    logarithm to the median over genes.
    """
    spread = means ** 2 @ (fractions ** 2).T
    squares = np.sum(spread ** 2, axis=1)
    kappa = np.divide(np.sum(residual ** 2 * spread, axis=1), squares, out=np.zeros_like(squares), where=squares > 0)
    typical = np.median(kappa[squares > 0]) if (squares > 0).any() else 0
    return np.sqrt(kappa * typical)


def gains(means, fractions, kappa):
    """Best linear unbiased share: expression of type k in sample i moves by gains[k, g, i] times the residual.

    Yields one array (n_genes, n_samples) per cell type, so that they never lie in memory together.
    """
    variance = kappa[:, None] * means ** 2
    total = variance @ (fractions ** 2).T + (NOISE_SHARE * (means @ fractions.T)) ** 2
    total[total == 0] = 1
    for k in range(means.shape[1]):
        yield variance[:, k, None] * fractions[:, k] / total
