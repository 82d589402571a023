"""Step 3: how expression inside each cell type varies between patients, as a few factors per cell type.

    residual_gi = sum_k f_ik sum_q loading_kgq score_kiq + noise,   noise ~ N(0, noise_g)
    score ~ N(0, 1),   loading_kgq ~ N(size_kq direction_kgq, gene_variance_gk relevance_kq)

The first factors of a type are expected in the directions in which its known states differ (reference_states), as far
as bulk shows them: size_kq is learned. The others are free, their direction is 0.

Variational Bayes, one cell type after the other: loadings and scores carry their uncertainty, a factor that explains
nothing loses its relevance (automatic relevance determination, Bishop 1999), so the rank given is only the largest.
`gene_variance` is learned per gene and type, with the squared mean expression as prior. Given scores, all genes share
one eigendecomposition, and given loadings all patients do: a sweep is a handful of matrix products.
"""
from collections import namedtuple
from dataclasses import dataclass

import numpy as np
from scipy.linalg import block_diag, eigh
from scipy.linalg.blas import sgemm

N_SWEEPS = 40
CLIP_SD = 5             # residuals beyond this many robust standard deviations are outliers
RELATIVE_VARIANCE = .2  # prior of the variance that factors explain, relative to the squared mean
MEAN_FLOOR = .01        # in units of the gene's mean over patients, for genes that a type hardly expresses
PRIOR_WEIGHT = 10       # of the prior of gene_variance, in factors
MIN_NOISE = 1e-4         # of a gene, in units of its squared mean
MIN_RELEVANCE = 1e-4


@dataclass
class Factors:
    """loadings (n_cell_types, n_genes, n_factors), scores (n_cell_types, n_samples, n_factors), in units of each gene's
    mean; zeros where a type has fewer factors than another."""
    loadings: np.ndarray
    scores: np.ndarray

    def part(self, k):
        """What the factors add to the mean expression of type k: (n_genes, n_samples)."""
        return self.loadings[k] @ self.scores[k].T


def fit(residual, means, fractions, rank, missing=None, n_sweeps=N_SWEEPS, directions=None):
    """Factors of every cell type.

    Parameters
    ----------
    residual : ndarray float32 (n_genes, n_samples), bulk minus means @ fractions.T
    means : ndarray float32 (n_genes, n_cell_types)
    fractions : ndarray float32 (n_samples, n_cell_types)
    rank : int, largest number of free factors of a type, at most n_samples; 0 for no factors at all
    missing : ndarray of bool like residual, entries to leave out, or None
    directions : for each type, the expected loadings of its first factors (n_genes, n), in the units of means; or None
    """
    if rank == 0:
        return Factors(*(np.zeros((means.shape[1], n, 0), dtype=np.float32) for n in residual.shape))
    left = clipped(residual)
    if missing is not None:
        left[missing] = 0
    prior_variance = np.float32(RELATIVE_VARIANCE / rank) * (means + MEAN_FLOOR) ** 2
    noise = np.maximum(np.mean(left ** 2, axis=1), MIN_NOISE)
    order = np.argsort(-np.sum(fractions ** 2, axis=0))
    types = [CellType(*of_type) for of_type in zip(fractions.T, start(left, means, fractions, rank), prior_variance.T)]
    for k in order if directions else ():
        before = types[k].part()
        types[k].expect(directions[k], left, noise)
        left = changed(left, before, types[k].part(), missing)
    n_seen = left.shape[1] if missing is None else np.sum(~missing, axis=1)
    for _ in range(n_sweeps):
        uncertain = 0
        for k in order:
            before = types[k].part()
            uncertain += types[k].update(Own(left, *before), noise)
            left = changed(left, before, types[k].part(), missing)
        noise = np.maximum((np.einsum("gi,gi->g", left, left) + uncertain) / n_seen, MIN_NOISE)
    return Factors(side_by_side([cell_type.loadings for cell_type in types]),
                   side_by_side([cell_type.scores for cell_type in types]))


def changed(left, before, after, missing):
    """What is left (n_genes, n_samples) after the CellType.part of a type has changed, in the same memory."""
    loadings, scores = np.hstack([after[0], -before[0]]), np.hstack([after[1], before[1]])
    left = sgemm(-1, scores, loadings, 1, left.T, trans_b=True, overwrite_c=True).T
    if missing is not None:
        left[missing] = 0
    return left


def side_by_side(tables):
    """Tables (n, n_columns) as one array, zeros in the columns that some lack."""
    n_columns = max(table.shape[1] for table in tables)
    return np.stack([np.pad(table, ((0, 0), (0, n_columns - table.shape[1]))) for table in tables])


class Own(namedtuple("Own", "left loadings scores")):
    """What the other types leave (n_genes, n_samples) to one: `left` by all, plus the product of loadings (n_genes,
    rank) and weighted scores (n_samples, rank), which is multiplied without being made."""
    __array_ufunc__ = None  # so that NumPy leaves rows @ own to __rmatmul__

    def __matmul__(self, columns):
        return self.left @ columns + self.loadings @ (self.scores.T @ columns)

    def __rmatmul__(self, rows):
        return rows @ self.left + rows @ self.loadings @ self.scores.T


class CellType:
    """One cell type during the fit: its loadings (n_genes, rank) and scores (n_samples, rank), and how sure they are.

    `score_variance` (n_samples, rank) lies along the columns of `score_axes` (rank, rank). `expected` (n_genes, n):
    prior mean of the loadings of the first n factors, their direction times their size; 0 for the others."""

    def __init__(self, fraction, scores, prior_variance):
        rank = scores.shape[1]
        self.fraction, self.scores, self.prior_variance = fraction, scores, prior_variance
        self.loadings = np.zeros((len(prior_variance), rank), dtype=np.float32)
        self.expected = self.loadings[:, :0]
        self.gene_variance = prior_variance.copy()
        self.relevance = np.ones(rank, dtype=np.float32)
        self.score_axes = np.eye(rank, dtype=np.float32)
        self.score_variance = np.zeros((len(fraction), rank), dtype=np.float32)

    def expect(self, directions, own, noise):
        """Put factors in these directions (n_genes, n) before the free ones, with the scores that `own` gives them."""
        known = CellType(self.fraction, np.zeros((len(self.fraction), directions.shape[1]), np.float32),
                         self.prior_variance)
        known.loadings = known.expected = directions
        known.update_scores(own, noise, np.zeros(directions.shape[1], np.float32))
        for name in ("loadings", "scores", "score_variance"):
            setattr(self, name, np.hstack([getattr(known, name), getattr(self, name)]))
        self.score_axes = block_diag(known.score_axes, self.score_axes)
        self.relevance = np.ones(len(self.score_axes), dtype=np.float32)
        self.expected = known.expected

    def part(self):
        """Loadings (n_genes, rank) and weighted scores (n_samples, rank), whose product is added to bulk."""
        return self.loadings, self.fraction[:, None] * self.scores

    def update(self, own, noise):
        """Fit `own`, what the other types leave. Returns what the uncertainty of loadings and scores adds to the
        expected sum of squares of every gene (n_genes,)."""
        precision, uncertain = self.update_loadings(own, noise)
        self.update_scores(own, noise, precision)
        return uncertain + np.sum(self.loadings @ self.score_covariance() * self.loadings, axis=1)

    def score_covariance(self):
        """Sum over samples of fraction^2 times the covariance of the scores (rank, rank)."""
        return self.score_axes * (self.fraction ** 2 @ self.score_variance) @ self.score_axes.T

    def update_loadings(self, own, noise):
        """Returns the sum over genes of their covariance / noise (rank, rank), and its trace with the scores'."""
        weighted = self.fraction[:, None] * self.scores
        scale = np.sqrt(self.relevance)
        strength, axes = eigen(scale[:, None] * (weighted.T @ weighted + self.score_covariance()) * scale)
        variance = 1 / (strength / noise[:, None] + 1 / self.gene_variance[:, None])  # (n_genes, rank), along the axes
        n = self.expected.shape[1]
        expected = (self.expected / scale[:n]) @ axes[:n]
        rotated = variance * (own @ (weighted * scale @ axes) / noise[:, None] + expected / self.gene_variance[:, None])
        squares = np.sum((rotated - expected) ** 2 + variance, axis=1)
        self.loadings = rotated @ (axes.T * scale)
        in_prior_units = ((rotated - expected) @ axes.T) ** 2 + variance @ (axes ** 2).T
        self.relevance = np.maximum(self.relevance * np.mean(in_prior_units / self.gene_variance[:, None], axis=0),
                                    MIN_RELEVANCE)
        self.gene_variance = ((squares + PRIOR_WEIGHT * self.prior_variance) / (len(strength) + PRIOR_WEIGHT))
        covariance = scale[:, None] * axes * np.sum(variance / noise[:, None], axis=0) @ axes.T * scale
        return covariance, variance @ strength

    def update_scores(self, own, noise, covariance):
        """Scores given loadings, rescaled to unit variance."""
        precise = self.loadings / noise[:, None]
        strength, axes = eigen(self.loadings.T @ precise + covariance)
        variance = 1 / (self.fraction[:, None] ** 2 * strength + 1)
        scores = self.fraction[:, None] * ((precise @ axes).T @ own).T * variance @ axes.T
        sd = np.sqrt(np.mean(scores ** 2, axis=0) + np.mean(variance, axis=0) @ (axes ** 2).T)
        self.scores, self.loadings = scores / sd, self.loadings * sd
        self.expected = self.expected * sd[:self.expected.shape[1]]
        self.score_axes, self.score_variance = axes / sd[:, None], variance


def eigen(matrix):
    """Eigenvalues, not negative, and eigenvectors of a symmetric matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return np.maximum(values, 0), vectors


def start(residual, means, fractions, rank):
    """First scores (n_cell_types, n_samples, rank): the leading directions of the genes that a type dominates."""
    share = np.mean(fractions, axis=0) ** 2 * means ** 2
    share /= np.maximum(share.sum(axis=1, keepdims=True), 1e-12)
    sd = residual.std(axis=1) + MEAN_FLOOR
    n_samples = len(fractions)
    scores = np.empty((fractions.shape[1], n_samples, rank), dtype=np.float32)
    for k, f in enumerate(fractions.T):
        weighted = (share[:, k] ** 2 / sd)[:, None] * residual
        _, directions = eigh(weighted.T @ weighted, subset_by_index=[n_samples - rank, n_samples - 1])
        by_fraction = f / (f ** 2 + .1 * np.mean(f ** 2))  # divided by the fraction, but not by one near zero
        scores[k] = directions * by_fraction[:, None]
        scores[k] /= np.maximum(scores[k].std(axis=0), 1e-12)
    return scores


def clipped(residual):
    """Residual with outliers of each gene pulled in."""
    limit = CLIP_SD * 1.4826 * np.median(np.abs(residual), axis=1, keepdims=True)
    return np.clip(residual, -limit, limit)
