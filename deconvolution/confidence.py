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

TAU_ACCURATE = .3       # Wang et al. 2022 call a gene accurate from here
TAU_SD = .10            # of the simulated around the true tau
BULK_LOG_SD = .1        # noise of bulk, natural log
SIGNATURE_LOG_SD = .3   # between platforms and donors, natural log
DOUBTFUL = .5           # at most this for what cannot be known:
MIN_MEAN_FRACTION = .02  # types below this mean abundance,
MIN_SAMPLES = 50         # and cohorts below this size


def by_simulation(model, markers, signature, reference, random, fractions_known):
    """Confidence (n_genes, n_cell_types) in 0..1 of what `model` estimates; 0 where the estimate is constant.

    `fractions_known`: they were given, so the simulation gives them too."""
    truth = simulate(model, random)
    bulk = np.einsum("kgi,ik->gi", truth, model.fractions)
    bulk *= lognormal(random, BULK_LOG_SD, bulk.shape)
    fractions = model.fractions
    if not fractions_known:
        fractions = cell_fractions.estimate(bulk[markers].astype(float),
                                            signature * lognormal(random, SIGNATURE_LOG_SD, signature.shape))
    refit = expression_model.fit(bulk, fractions, reference * lognormal(random, SIGNATURE_LOG_SD, reference.shape))
    tau = np.stack([kendall(*pair) for pair in zip(truth, expression_model.estimate(refit, bulk))], axis=1)
    score = np.where(np.isfinite(tau), ndtr((np.nan_to_num(tau) - TAU_ACCURATE) / TAU_SD), 0)
    doubtful = model.fractions.mean(axis=0) < MIN_MEAN_FRACTION
    if len(model.fractions) < MIN_SAMPLES:
        doubtful[:] = True
    return np.where(doubtful, np.minimum(score, DOUBTFUL), score)


def simulate(model, random):
    """Expression (n_cell_types, n_genes, n_samples) drawn from the model: lognormal around the means."""
    log_variance = np.log1p(model.kappa)[:, None]
    truth = np.empty((model.means.shape[1], len(model.means), len(model.fractions)), dtype=np.float32)
    for k, mean in enumerate(model.means.T):
        draw = random.standard_normal(truth[k].shape, dtype=np.float32)
        truth[k] = mean[:, None] * np.exp(np.sqrt(log_variance) * draw - log_variance / 2)
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
