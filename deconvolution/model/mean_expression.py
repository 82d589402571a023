"""Step 2: mean expression of every gene in every cell type, shrunken towards the reference."""
import numpy as np

from model.nonnegative import coordinate_descent

REWEIGHTINGS = 3
FIT_FLOOR = .1         # in units of the gene's mean: a fit below this is not more precise than this
RELATIVE_PRIOR_SD = .5  # of a reference value around the truth
ABSOLUTE_PRIOR_SD = .05


def estimate(scaled, fractions, reference):
    """Means of all genes.

    Parameters
    ----------
    scaled : ndarray (n_genes, n_samples), bulk divided by the mean of each gene
    fractions : ndarray (n_samples, n_cell_types)
    reference : ndarray (n_genes, n_cell_types), any scale per gene; NaN rows for genes without reference

    Returns
    -------
    ndarray (n_genes, n_cell_types), not negative, in units of the gene's mean over samples
    """
    reference = reference.astype(scaled.dtype)
    known = np.isfinite(reference).all(axis=1) & (np.nan_to_num(reference).sum(axis=1) > 0)
    prior = np.ones((len(scaled), fractions.shape[1]), dtype=scaled.dtype)
    prior[known] = on_scale_of_bulk(reference[known], scaled[known], fractions)
    variance = np.where(known[:, None], (RELATIVE_PRIOR_SD * prior + ABSOLUTE_PRIOR_SD) ** 2, 1).astype(scaled.dtype)
    products = np.einsum("ik,il->ikl", fractions, fractions).reshape(len(fractions), -1)
    diagonal = np.arange(fractions.shape[1])
    means = prior
    for _ in range(REWEIGHTINGS):
        fit = means @ fractions.T
        weights = 1 / (fit + FIT_FLOOR) ** 2
        noise = np.mean((scaled - fit) ** 2 * weights, axis=1)[:, None]  # relative variance of the gene
        gram = (weights @ products).reshape(len(scaled), len(diagonal), -1)
        gram[:, diagonal, diagonal] += noise / variance
        means = coordinate_descent(gram, (weights * scaled) @ fractions + noise / variance * prior, means)
    return means


def on_scale_of_bulk(reference, bulk, fractions):
    """Each gene's reference times the median over samples of bulk / prediction: what differs between the platforms
    by a factor is no news."""
    fit = reference @ fractions.T
    seen = (fit > 0).any(axis=1)
    ratio = np.divide(bulk[seen], fit[seen], out=np.full_like(bulk[seen], np.nan), where=fit[seen] > 0)
    reference = reference.copy()
    reference[seen] *= np.nanmedian(ratio, axis=1, keepdims=True)
    return reference
