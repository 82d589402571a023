"""The low-rank model: ridge regression whose predictions are cut to a few directions, in closed form.

    min over B of rank r    |Y - Z B|^2 + penalty |B|^2        Z: inputs of the training slides, Y: centred labels

Inputs are the mean feature of a slide and its mean colour, each column standardised by the training slides, each of the
two blocks divided by its number of columns, the colours times a weight. The published regression is linear too, so that
it can reach nothing that this one cannot.

Solution (Mukherjee and Zhu, Stat Anal Data Min 2011;4:612): the ridge, projected on the first r right singular vectors
of its fit to the rows of Z and of the penalty. With Z Z' = V D V', S = D / (D + penalty) and U the first eigenvectors
of S^1/2 V' Y Y' V S^1/2,

    prediction = Z_new Z' V (D (D + penalty))^-1/2 U_r  U_r' S^1/2 V' Y

One eigendecomposition a training part and colour weight serves all targets and penalties, Y Y' all folds; ranks are
nested. Penalty, rank and colour weight are those with the best R of the validation predictions of all inner folds of an
outer fold, each centred on its fold: one choice an outer fold, and its test part has no say in it.
"""
import dataclasses

import numpy as np
from scipy.sparse.linalg import eigsh

PENALTIES = tuple(10.0 ** power for power in np.arange(2, -2.5, -0.5))  # relative to the mean eigenvalue of Z Z'
RANKS = (1, 2, 3, 4, 6, 8, 12)
COLOUR_WEIGHTS = (0.0, 0.1, 0.3, 1.0)  # of the colours' squared length, relative to that of the features
NEGLIGIBLE = 1e-10   # relative eigenvalue below which a direction of the training slides is none
N_DENSE = 150        # below so many directions the full decomposition is faster than Lanczos iterations


@dataclasses.dataclass(frozen=True)
class Choice:
    """What the validation slides decide, for all inner models of an outer fold."""
    colour_weight: float
    penalty: float
    rank: int


@dataclasses.dataclass(frozen=True)
class Kernel:
    """The inputs of one training part, and the eigendecomposition of their Gram matrix."""
    z: np.ndarray        # float64 (n_slides, n_inputs)   of all slides, standardised by the training slides
    centre: np.ndarray   # float64 (n_inputs,)   z = (inputs - centre) * scale
    scale: np.ndarray    # float64 (n_inputs,)
    train: np.ndarray    # int64 (n_train,)   row numbers
    values: np.ndarray   # float64 (n_directions,)   eigenvalues above zero
    vectors: np.ndarray  # float64 (n_train, n_directions)

    def products(self, rows):
        """Inner products of rows with the directions of the training slides; (n_rows, n_directions)."""
        return self.z[rows] @ (self.z[self.train].T @ self.vectors)


def kernel(features, colours, train, colour_weight):
    """Kernel of a training part; colours are used where their weight is above zero.

    ValueError where all training slides have the same inputs.
    """
    blocks = [(features, 1.0), (colours, colour_weight)] if colour_weight else [(features, 1.0)]
    x = np.concatenate([block for block, _ in blocks], axis=1).astype(float)
    centre, sd = x[train].mean(0), x[train].std(0)
    size = np.concatenate([np.full(block.shape[1], (weight / block.shape[1]) ** 0.5) for block, weight in blocks])
    varies = sd > 1e-9 * np.abs(centre)  # else it is constant, up to rounding
    scale = np.where(varies, size / np.where(varies, sd, 1), 0.0)
    z = (x - centre) * scale
    values, vectors = np.linalg.eigh(z[train] @ z[train].T)
    kept = values > NEGLIGIBLE * values[-1]
    if not values[-1] > 0:
        raise ValueError("the training slides have the same features, so that nothing can be learnt from them")
    return Kernel(z, centre, scale, train, values[kept], vectors[:, kept])


@dataclasses.dataclass(frozen=True)
class Solution:
    """The directions of one training part and penalty; the first r of them are the model of rank r."""
    dual: np.ndarray     # float64 (n_directions, n_ranks)   scores of rows are kernel.products(rows) @ dual
    loads: np.ndarray    # float64 (n_ranks, n_outputs)
    mean: np.ndarray     # float64 (n_outputs,)   of the training labels


def solve(of_kernel, gram, labels, penalty, n_ranks):
    """Solution for one penalty, relative to the mean eigenvalue.

    gram : (n_directions, n_directions)   V' Y Y' V, which all penalties share; see `rotated_gram`
    labels : (n_train, n_outputs)
    """
    penalty = penalty * of_kernel.values.sum() / len(of_kernel.train)
    shrunk = (of_kernel.values / (of_kernel.values + penalty)) ** 0.5
    u = leading(shrunk[:, None] * gram * shrunk, n_ranks)
    mean = labels.mean(0)
    loads = (of_kernel.vectors @ (shrunk[:, None] * u)).T @ (labels - mean)
    dual = u / (of_kernel.values * (of_kernel.values + penalty))[:, None] ** 0.5
    return Solution(dual, loads, mean)


def rotated_gram(of_kernel, gram):
    """V' Y Y' V of the centred training labels, from the Gram matrix of the labels of all slides."""
    of_train = gram[np.ix_(of_kernel.train, of_kernel.train)]
    centred = of_train - of_train.mean(0)
    centred -= centred.mean(1, keepdims=True)
    return of_kernel.vectors.T @ centred @ of_kernel.vectors


def leading(matrix, n):
    """Eigenvectors of the n largest eigenvalues of a symmetric matrix, the largest first; (len(matrix), n)."""
    if len(matrix) <= max(N_DENSE, 2 * n) or not matrix.any():
        return np.linalg.eigh(matrix)[1][:, ::-1][:, :n]
    values, vectors = eigsh(matrix, n, v0=np.ones(len(matrix)))
    return vectors[:, np.argsort(-values)]


def n_ranks_of(kernels, n_outputs):
    """The largest rank that all training parts have."""
    return min(RANKS[-1], n_outputs, *(len(one.values) for one in kernels))


def choose(kernel_of, parts, labels, colour_weights):
    """The Choice for one outer fold, and the score of every candidate.

    Parameters
    ----------
    kernel_of : function of (train, colour weight) to Kernel
    parts : list of (train, valid), row numbers of the slides of each inner fold
    labels : float (n_slides, n_outputs); NaN in rows of no part

    Returns
    -------
    choice : Choice
    table : list of dict: colour_weight, penalty, rank, valid_r (the mean over outputs of the pooled, fold-centred R)

    Raises ValueError when no candidate has an R: all labels of all validation parts are constant.
    """
    labels = labels.astype(float)
    used = np.unique(np.concatenate([rows for part in parts for rows in part]))
    gram = np.full((len(labels), len(labels)), np.nan)
    shifted = labels[used] - labels[used].mean(0)  # for precision: each part is centred on its own mean below
    gram[np.ix_(used, used)] = shifted @ shifted.T
    table = []
    for weight in colour_weights:
        kernels = [kernel_of(train, weight) for train, _ in parts]
        n_ranks = n_ranks_of(kernels, labels.shape[1])
        ranks = [rank for rank in RANKS if rank <= n_ranks]
        grams = [rotated_gram(one, gram) for one in kernels]
        rotated = [one.products(valid) for one, (_, valid) in zip(kernels, parts)]
        for penalty in PENALTIES:
            sums = sum(centred_sums(solve(one, of_labels, labels[train], penalty, n_ranks), of_valid, labels[valid])
                       for one, of_labels, of_valid, (train, valid) in zip(kernels, grams, rotated, parts))
            with np.errstate(divide="ignore", invalid="ignore"):
                r = sums[0] / np.sqrt(sums[1] * sums[2])  # (n_ranks, n_outputs)
            for rank in ranks:
                finite = r[rank - 1][np.isfinite(r[rank - 1])]
                table.append({"colour_weight": weight, "penalty": penalty, "rank": rank,
                              "valid_r": finite.mean() if len(finite) else -np.inf})
    best = max(table, key=lambda candidate: candidate["valid_r"])  # of equals the first: less colour, more penalty
    if best["valid_r"] == -np.inf:
        raise ValueError("no output has a correlation on the validation slides: their labels are constant")
    return Choice(best["colour_weight"], best["penalty"], best["rank"]), table


def centred_sums(solution, products, labels):
    """Sums of x y, x x and y y over validation rows, both centred; (3, n_ranks, n_outputs), x the predictions.

    No prediction is made: with scores T (n_rows, n_ranks) and loads P, x of rank r is the sum of t_k p_k over k <= r,
    so that its sums follow from T'y and T'T by cumulative sums over k.
    """
    scores = products @ solution.dual
    scores = scores - scores.mean(0)
    y = labels - labels.mean(0)
    loads, products_of_scores = solution.loads, scores.T @ scores
    with_earlier = 2 * np.tril(products_of_scores, -1) + np.diag(np.diag(products_of_scores))
    xy = np.cumsum(loads * (scores.T @ y), axis=0)
    xx = np.cumsum(loads * (with_earlier @ loads), axis=0)
    return np.stack([xy, xx, np.broadcast_to((y * y).sum(0), xy.shape)])


def fit(of_kernel, labels, penalty, rank):
    """The model of one training part as the state of a linear head (linear_head.py): first.* (rank rows) and last.*

    labels : (n_slides, n_outputs), of which the training rows are read
    """
    of_train = labels[of_kernel.train].astype(float)
    centred = of_train - of_train.mean(0)
    rotated = of_kernel.vectors.T @ centred
    solution = solve(of_kernel, rotated @ rotated.T, of_train, penalty, rank)
    weight = (of_kernel.z[of_kernel.train].T @ (of_kernel.vectors @ solution.dual)).T * of_kernel.scale
    return {"first.weight": weight, "first.bias": -weight @ of_kernel.centre,
            "last.weight": solution.loads.T, "last.bias": solution.mean}


def calibrated(state, slope, intercept):
    """The state of slope * y + intercept as one matrix, for a model of one output."""
    last, shift = slope * state["last.weight"], slope * state["last.bias"] + intercept
    return {"weight": last @ state["first.weight"], "bias": last @ state["first.bias"] + shift}
