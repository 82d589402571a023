"""Step 5: how far each gene of each cell type can be trusted, by simulating from the fitted model.

Expression is drawn from the model, mixed into bulk, and deconvolved again with a signature that is wrong in the way
signatures of another platform and other donors are wrong. Confidence is the probability that the samples are ranked
right, that is, that Kendall's tau between truth and estimate is at least 0.3.
"""
import numpy as np
from scipy.special import ndtr
from scipy.stats import rankdata

import cell_fractions
import expression_model
import mean_expression

TAU_ACCURATE = .3       # Wang et al. 2022 call a gene accurate from here
TAU_SD = .10            # of the simulated around the true tau
BULK_LOG_SD = .1        # noise of bulk, natural log
SIGNATURE_LOG_SD = .3   # between platforms and donors, natural log
DOUBTFUL = .5           # at most this for what cannot be known:
MIN_SHARE_OF_MEAN = .02  # expression is not drawn below this share of its mean
N_SWEEPS = 20           # of the factors of the simulation
MIN_MEAN_FRACTION = .02  # types below this mean abundance,
MIN_SAMPLES = 50         # and cohorts below this size


def by_simulation(model, markers, reference, rank, random, fractions_known):
    """Confidence (n_genes, n_cell_types) in 0..1 of what `model` estimates; 0 where the estimate is constant.

    `fractions_known`: they were given, so the simulation gives them too."""
    truth = simulate(model, random)
    bulk = sum(f * of_type for f, of_type in zip(model.fractions.T, truth))
    bulk *= lognormal(random, BULK_LOG_SD, bulk.shape)
    scale = np.maximum(bulk.mean(axis=1, keepdims=True), np.finfo(np.float32).tiny)
    bulk /= scale
    wrong = signature_log_sd(model.means, reference, model.fractions)
    fractions = model.fractions
    if not fractions_known:
        signature = model.means[markers] * lognormal(random, wrong, (len(markers), len(wrong))) / scale[markers]
        fractions = cell_fractions.estimate(bulk[markers], signature)
    means = mean_expression.estimate(bulk, fractions, reference * lognormal(random, wrong, reference.shape))
    refit = expression_model.fit(bulk, fractions, means, rank, N_SWEEPS)
    tau = np.stack([kendall(*pair) for pair in zip(truth, expression_model.estimate(refit, bulk))], axis=1)
    score = np.where(np.isfinite(tau), ndtr((np.nan_to_num(tau) - TAU_ACCURATE) / TAU_SD), 0)
    doubtful = model.fractions.mean(axis=0) < MIN_MEAN_FRACTION
    if len(model.fractions) < MIN_SAMPLES:
        doubtful[:] = True
    return np.where(doubtful, np.minimum(score, DOUBTFUL), score)


def signature_log_sd(means, reference, fractions):
    """How wrong the signature is (n_cell_types,), natural log: the sd over genes of what bulk makes of the reference,
    at least SIGNATURE_LOG_SD."""
    known = np.isfinite(reference).all(axis=1)
    predicted = reference[known] * (means[known] @ fractions.mean(axis=0) / (reference[known] @ fractions.mean(axis=0)))[:, None]
    ratio = np.log((means[known] + .05) / (predicted + .05))
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
