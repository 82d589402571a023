"""The low-rank model: ridge regression whose predictions are cut to a few directions, in closed form.

    min over B of rank r    |Y - Z B|^2 + penalty |B|^2        Z: inputs of the training slides, Y: centred labels

Inputs are the mean feature of a slide and its mean colour, each column standardised by the training slides, each of the
two blocks divided by its number of columns, the colours times a weight. The published regression is linear too, so that
it can reach nothing that this one cannot.

Solution (Mukherjee and Zhu, Stat Anal Data Min 2011;4:612): the ridge, projected on the first r right singular vectors
of its fit to the rows of Z and of the penalty. With Z Z' = V D V', S = D / (D + penalty) and U the first eigenvectors
of S^1/2 V' Y Y' V S^1/2,

    prediction = Z_new Z' V (D (D + penalty))^-1/2 U_r  U_r' S^1/2 V' Y

One eigendecomposition a training part and colour weight serves all targets and penalties, Y Y' all parts of an outer
fold; ranks are nested, and of the labels nothing but the leading directions is computed. Penalty, rank and colour
weight are those with the best R of the validation predictions of all inner folds of an outer fold, each centred on its
fold: one choice an outer fold, and its test part has no say in it.
"""
import dataclasses

import numpy as np

from evaluation import association, gram

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
    blocks: tuple         # of arrays (n_slides, ...): features, and colours where they are used; shared by all kernels
    centre: np.ndarray    # float64 (n_inputs,)   z = (inputs - centre) * scale
    scale: np.ndarray     # float64 (n_inputs,)
    train: np.ndarray     # int64 (n_train,)   row numbers
    values: np.ndarray    # float64 (n_directions,)   eigenvalues above zero
    vectors: np.ndarray   # float64 (n_train, n_directions)
    products: np.ndarray  # float64 (n_slides, n_directions)   Z_all Z' V: of all slides with the directions

    def z(self, rows=slice(None)):
        """Standardised inputs, float64 (n_rows, n_inputs)."""
        return (np.concatenate([block[rows] for block in self.blocks], axis=1) - self.centre) * self.scale


def kernel(features, colours, train, colour_weight):
    """Kernel of a training part; colours are used where their weight is above zero.

    ValueError where all training slides have the same inputs.
    """
    blocks, weights = ((features, colours), (1.0, colour_weight)) if colour_weight else ((features,), (1.0,))
    x = np.concatenate(blocks, axis=1).astype(float)
    centre, sd = x[train].mean(0), x[train].std(0)
    size = np.concatenate([np.full(block.shape[1], (w / block.shape[1]) ** 0.5) for block, w in zip(blocks, weights)])
    varies = sd > 1e-9 * np.abs(centre)  # else it is constant, up to rounding
    scale = np.where(varies, size / np.where(varies, sd, 1), 0.0)
    z = (x - centre) * scale
    values, vectors, products = gram.decomposed(z, train, NEGLIGIBLE)
    if not len(values):
        raise ValueError("the training slides have the same features, so that nothing can be learnt from them")
    return Kernel(blocks, centre, scale, train, values, vectors, products)


@dataclasses.dataclass(frozen=True)
class Labels:
    """Labels of the slides of an outer fold's inner parts, centred; NaN in the rows of all other slides."""
    level: np.ndarray   # float64 (n_outputs,)   their mean
    values: np.ndarray  # float64 (n_slides, n_outputs)   labels - level
    gram: np.ndarray    # float64 (n_slides, n_slides)   of the values


def prepare(labels, parts):
    """Labels of an array (n_slides, n_outputs), and of the row numbers of all `parts` together."""
    used = np.unique(np.concatenate([rows for part in parts for rows in part]))
    of_used = association.centred(labels[used].astype(float))
    values, products = np.full(labels.shape, np.nan), np.full((len(labels), len(labels)), np.nan)
    values[used], products[np.ix_(used, used)] = of_used, of_used @ of_used.T
    return Labels(labels[used].mean(0, dtype=float), values, products)


def rotated_gram(of_kernel, labels):
    """V' Y Y' V of the training labels, centred on their own mean, which all penalties share."""
    of_train = labels.gram[np.ix_(of_kernel.train, of_kernel.train)]
    centred = of_train - of_train.mean(0)
    centred -= centred.mean(1, keepdims=True)
    return of_kernel.vectors.T @ centred @ of_kernel.vectors


def solve(of_kernel, rotated, penalty, n_ranks):
    """The directions for one penalty, relative to the mean eigenvalue; the first r of them are the model of rank r.

    rotated : of `rotated_gram`

    Returns dual (n_directions, n_ranks), by which scores of slides are kernel.products @ dual, and of_labels
    (n_train, n_ranks), by which loads (n_ranks, n_outputs) are of_labels' Y.
    """
    penalty = penalty * of_kernel.values.sum() / len(of_kernel.train)
    shrunk = (of_kernel.values / (of_kernel.values + penalty)) ** 0.5
    u = leading(shrunk[:, None] * rotated * shrunk, n_ranks)
    dual = u / (of_kernel.values * (of_kernel.values + penalty))[:, None] ** 0.5
    return dual, of_kernel.vectors @ (shrunk[:, None] * u)


def leading(matrix, n):
    """Eigenvectors of the n largest eigenvalues of a symmetric matrix, the largest first; (len(matrix), n)."""
    if len(matrix) <= max(N_DENSE, 2 * n) or not matrix.any():
        return np.linalg.eigh(matrix)[1][:, ::-1][:, :n]
    from scipy.sparse.linalg import eigsh
    values, vectors = eigsh(matrix, n, v0=np.ones(len(matrix)))
    return vectors[:, np.argsort(-values)]


def choose(kernel_of, parts, labels, colour_weights):
    """The Choice for one outer fold, and the score of every candidate.

    kernel_of : function of (train, colour weight) to Kernel
    parts : list of (train, valid), row numbers of the slides of each inner fold
    labels : Labels

    The score valid_r is the mean over outputs of the pooled, fold-centred R; scores are a list of dict.
    Raises ValueError when no candidate has an R: all labels of all validation parts are constant.
    """
    n_outputs = labels.values.shape[1]
    n_ranks = {weight: min(RANKS[-1], n_outputs, *(len(kernel_of(train, weight).values) for train, _ in parts))
               for weight in colour_weights}  # the largest that all training parts have
    sums, squares = dict.fromkeys(colour_weights, 0.0), np.zeros(n_outputs)
    for train, valid in parts:
        of_train, of_valid = (association.centred(labels.values[rows]) for rows in (train, valid))
        squares += (of_valid * of_valid).sum(0)
        for weight in colour_weights:
            one = kernel_of(train, weight)
            rotated = rotated_gram(one, labels)
            solutions = [solve(one, rotated, penalty, n_ranks[weight]) for penalty in PENALTIES]
            sums[weight] += centred_sums(*map(np.stack, zip(*solutions)), one.products[valid], of_train, of_valid)
    table = [{"colour_weight": weight, "penalty": penalty, "rank": rank,
              "valid_r": mean_r(of_penalty[:, rank - 1], squares)} for weight in colour_weights
             for penalty, of_penalty in zip(PENALTIES, sums[weight].swapaxes(0, 1))
             for rank in RANKS if rank <= n_ranks[weight]]
    best = max(table, key=lambda candidate: candidate["valid_r"])  # of equals the first: less colour, more penalty
    if best["valid_r"] == -np.inf:
        raise ValueError("no output has a correlation on the validation slides: their labels are constant")
    return Choice(best["colour_weight"], best["penalty"], best["rank"]), table


def centred_sums(dual, of_labels, products, of_train, of_valid):
    """Sums of x y and x x over validation rows, both centred; (2, n_penalties, n_ranks, n_outputs), x the predictions.

    No prediction is made: with scores T (n_rows, n_ranks) and loads P, x of rank r is the sum of t_k p_k over k <= r,
    so that its sums follow from T'y and T'T by cumulative sums over k.

    dual, of_labels : (n_penalties, ...), as `solve` gives them; of_train, of_valid : labels, both centred
    """
    scores = products @ dual
    scores -= scores.mean(1, keepdims=True)
    scores_t, of_labels_t = scores.swapaxes(1, 2), of_labels.swapaxes(1, 2)
    n_outputs, n_ranks = of_train.shape[1], dual.shape[2]
    loads, with_valid = ((left.reshape(-1, left.shape[2]) @ right).reshape(-1, n_ranks, n_outputs)  # of all penalties
                         for left, right in ((of_labels_t, of_train), (scores_t, of_valid)))
    of_scores = scores_t @ scores
    with_earlier = 2 * np.tril(of_scores, -1) + of_scores * np.eye(n_ranks)
    return np.cumsum([loads * with_valid, loads * (with_earlier @ loads)], axis=2)


def mean_r(sums, squares):
    """Mean R over the outputs that have one, -inf without any; sums: of x y and x x, squares: of y y."""
    with np.errstate(divide="ignore", invalid="ignore"):
        r = sums[0] / np.sqrt(sums[1] * squares)
    r = r[np.isfinite(r)]
    return r.mean() if len(r) else -np.inf


def fit(of_kernel, labels, penalty, rank):
    """The model of a training part, from Labels, as the state of a linear head (linear_head.py): first.* and last.*"""
    of_train = labels.values[of_kernel.train]
    mean = of_train.mean(0)
    dual, of_labels = solve(of_kernel, rotated_gram(of_kernel, labels), penalty, rank)
    weight = (of_kernel.z(of_kernel.train).T @ (of_kernel.vectors @ dual)).T * of_kernel.scale
    return {"first.weight": weight, "first.bias": -weight @ of_kernel.centre,
            "last.weight": (of_train - mean).T @ of_labels, "last.bias": labels.level + mean}


def calibrated(state, slope, intercept):
    """The state of slope * y + intercept as one matrix, for a model of one output."""
    last, shift = slope * state["last.weight"], slope * state["last.bias"] + intercept
    return {"weight": last @ state["first.weight"], "bias": last @ state["first.bias"] + shift}
