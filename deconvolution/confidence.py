"""Step 5: how far each gene of each cell type can be trusted, by simulating from the fitted model, twice.

Expression is drawn from the model, mixed into bulk, and deconvolved again with a signature and a reference that are
wrong in the way those of another platform and other donors are. Kendall's tau between the drawn and the estimated
expression is a first score, but a biased one: the model took some noise for signal and the simulation believes it. So
the refitted model is simulated and refitted once more, where the bias is known: among genes of that cell type with
such a score in the second round, in how many was tau of the first round, which is the truth there, at least 0.3? That
share is the confidence.
"""
import numpy as np
from scipy.optimize import isotonic_regression
from scipy.stats import rankdata

import cell_fractions
import expression_model
import mean_expression

TAU_ACCURATE = .3       # Wang et al. 2022 call a gene accurate from here
BULK_LOG_SD = .1        # noise of bulk, natural log
SIGNATURE_LOG_SD = .3   # between platforms and donors, natural log; more where the data show more
REFERENCE_FLOOR = .05   # in units of a gene's mean: what counts as "about nothing" in that logarithm
MIN_SHARE_OF_MEAN = .02  # expression is not drawn below this share of its mean
N_SWEEPS = 20           # of the factors of a simulation
N_BINS = 100            # of genes of similar score, whose accuracy is counted,
MIN_GENES_PER_BIN = 25  # or fewer, with at least so many genes
DOUBTFUL = .5           # at most this for what cannot be known:
MIN_MEAN_FRACTION = .02  # types below this mean abundance,
MIN_SAMPLES = 50         # and cohorts below this size


def by_simulation(model, markers, reference, platform_log_sd, rank, random, fractions_known):
    """Confidence (n_genes, n_cell_types) in 0..1 of what `model` estimates.

    `reference` is in units of each gene's mean over samples, as the model is; `platform_log_sd` is how wrong it is
    about a gene in all types together (reference_fit.misfit).
    `fractions_known`: they were given, so the simulation gives them too."""
    log_sd = signature_log_sd(model.means, reference, model.fractions)
    first, refit = simulate_and_refit(model, markers, log_sd, platform_log_sd, rank, random, fractions_known)
    second, _ = simulate_and_refit(refit, markers, log_sd, platform_log_sd, rank, random, fractions_known)
    score = np.stack([calibrated(*columns) for columns in zip(first.T, second.T)], axis=1)
    doubtful = model.fractions.mean(axis=0) < MIN_MEAN_FRACTION
    if len(model.fractions) < MIN_SAMPLES:
        doubtful[:] = True
    return np.where(doubtful, np.minimum(score, DOUBTFUL), score)


def simulate_and_refit(model, markers, log_sd, platform_log_sd, rank, random, fractions_known):
    """Kendall's tau (n_genes, n_cell_types) between expression drawn from `model` and what is estimated from its bulk
    (0 where either is constant), and the model of that estimate."""
    truth = simulate(model, random)
    bulk = sum(f * of_type for f, of_type in zip(model.fractions.T, truth))
    bulk *= lognormal(random, BULK_LOG_SD, bulk.shape)
    gene_mean = np.maximum(bulk.mean(axis=1, keepdims=True), np.finfo(np.float32).tiny)
    bulk /= gene_mean
    means = model.means / gene_mean
    fractions = model.fractions
    if not fractions_known:
        platform = lognormal(random, platform_log_sd, (len(markers), 1))
        signature = means[markers] * platform * lognormal(random, log_sd, means[markers].shape)
        fractions = cell_fractions.estimate(bulk[markers], signature)
    means = mean_expression.estimate(bulk, fractions, means * lognormal(random, log_sd, means.shape))
    refit = expression_model.fit(bulk, fractions, means, rank, N_SWEEPS)
    estimate = expression_model.estimate(refit, bulk)
    tau = np.stack([kendall(*of_type) for of_type in zip(truth, estimate)], axis=1)
    return np.nan_to_num(tau), refit


def calibrated(first, second):
    """Confidence (n_genes,) from the scores of both rounds in one cell type: the share of genes with first >=
    TAU_ACCURATE among those of similar second score, never falling with the score."""
    n_bins = np.clip(len(second) // MIN_GENES_PER_BIN, 1, N_BINS)
    bins = np.array_split(np.argsort(second, kind="stable"), n_bins)
    share = isotonic_regression([np.mean(first[genes] >= TAU_ACCURATE) for genes in bins]).x
    return np.interp(first, [np.mean(second[genes]) for genes in bins], share)


def signature_log_sd(means, reference, fractions):
    """How wrong the signature is about each type (n_cell_types,), natural log: the sd over genes of what bulk makes of
    the reference, at least SIGNATURE_LOG_SD. A factor that all types of a gene share does not count."""
    known = np.isfinite(reference).all(axis=1) & (np.nan_to_num(reference).sum(axis=1) > 0)
    means, reference, fractions = means[known], reference[known], fractions.mean(axis=0)
    reference = reference * (means @ fractions / np.maximum(reference @ fractions, 1e-12))[:, None]
    ratio = np.log((means + REFERENCE_FLOOR) / (reference + REFERENCE_FLOOR))
    return np.maximum(ratio.std(axis=0), SIGNATURE_LOG_SD)


def simulate(model, random):
    """Expression (n_cell_types, n_genes, n_samples) drawn from the model: means, factors whose scores are permuted over
    samples for each type on its own, and lognormal variation around both for what is left."""
    log_variance = np.log1p(model.kappa)[:, None]
    truth = np.empty((model.means.shape[1], len(model.means), len(model.fractions)), dtype=np.float32)
    for k, mean in enumerate(model.means.T):
        explained = model.explained(k)[:, random.permutation(len(model.fractions))]
        draw = random.standard_normal(explained.shape, dtype=np.float32)
        truth[k] = np.maximum(explained, MIN_SHARE_OF_MEAN * mean[:, None])
        truth[k] *= np.exp(np.sqrt(log_variance) * draw - log_variance / 2)
    return truth


def lognormal(random, log_sd, shape):
    """Factors around 1."""
    return np.exp(log_sd * random.standard_normal(shape, dtype=np.float32))


def kendall(a, b):
    """Kendall's tau of each row of a and b (n_rows, n_samples), from Spearman's rho as if normal; NaN for a constant
    row. Exact tau takes n_samples times longer."""
    ranks = [rankdata(x, axis=1) for x in (a, b)]
    ranks = [x - x.mean(axis=1, keepdims=True) for x in ranks]
    norm = np.sqrt(np.sum(ranks[0] ** 2, axis=1) * np.sum(ranks[1] ** 2, axis=1))
    rho = np.divide(np.sum(ranks[0] * ranks[1], axis=1), norm, out=np.full(len(a), np.nan), where=norm > 0)
    return 2 / np.pi * np.arcsin(2 * np.sin(np.pi / 6 * rho))
