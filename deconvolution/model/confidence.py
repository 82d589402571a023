"""Step 5: how far each gene of each cell type can be trusted, by simulating from the fitted model.

Expression is drawn from the model, mixed into bulk, and deconvolved again with a signature and a reference that are
wrong in the way those of another platform and other donors are. Kendall's tau between the drawn and the estimated
expression, the mean of two such simulations, is the score of a gene in a cell type. It is biased: the model took some
noise for signal, and what varies in all cell types together for the variation of one, and the simulation believes it.
So the score is calibrated in a rival world, that the same bulk could have come from (`rival`), where noise is noise and
the truth is known: its bulk is deconvolved, and the result scored in the same way. Among genes of that cell type with
such a score, in how many was tau with the truth at least 0.3? That share is the confidence.
"""
from dataclasses import replace
from functools import partial

import numpy as np
from scipy.optimize import isotonic_regression
from scipy.stats import norm

from model import cell_fractions, expression_model, mean_expression, reference_fit
from model.rank_correlation import kendall, spearman

TAU_ACCURATE = .3       # Wang et al. 2022 call a gene accurate from here
MARGIN = .05            # of tau, added in the rival world, because no simulation is as odd as real data
N_SCORES = 2            # simulations whose tau is averaged
SCORE_SD = .05          # of tau between simulations
SHARED_STATES = .6      # of the variance of the rival's scores: the same in all cell types
BULK_LOG_SD = .1        # noise of bulk, natural log, beside what the data show
SIGNATURE_LOG_SD = .3   # between platforms and donors, natural log; more where the data show more
CHANGE = .5             # of the fractions beside an unknown type, that much more than the signature's errors make
REFERENCE_FLOOR = .05   # in units of a gene's mean: what counts as "about nothing" in that logarithm
MIN_SHARE_OF_MEAN = .02  # expression is not drawn below this share of its mean
N_SWEEPS = 20           # of the factors of a simulation
N_BINS = 100            # of genes of similar score, whose accuracy is counted; fewer where genes are few
MIN_GENES_PER_BIN = 25
DOUBTFUL = .49          # the confidence of what cannot be known, rather not right than right, is at most this
MIN_MEAN_FRACTION = .02  # a type of lower mean abundance cannot be known
MIN_SHARE_OF_BULK = .01  # nor a type that makes less than this of a gene's bulk
MIN_SAMPLES = 50         # nor anything in a smaller cohort
MIN_RHO = .2             # nor an estimate that follows an unknown type: rank correlation with its amount above this
MIN_RHO_BY_CHANCE = 1.5  # and, for chance, this / sqrt(n_samples) more


def by_simulation(model, noise, markers, reference, platform_log_sd, rank, random, change, states=None, purity=None):
    """Confidence (n_genes, n_cell_types) in 0..1 of what `model` estimates.

    `noise` (n_genes,) as expression_model.measurement_noise gives it.
    `reference` is in units of each gene's mean over samples, as the model is; `platform_log_sd` is how wrong it is
    about a gene in all types together (reference_fit.misfit).
    `change` of the fractions beside an unknown type (unknown_type.Check), which is how far they may be off; None where
    they were given: the simulation gives them, too. `states`, `purity`: what else the estimate was made with
    (reference_states.States, tumour_purity.Purity), which the simulation has, wrong in its own way."""
    refit = partial(simulate_and_refit, markers=markers, platform_log_sd=platform_log_sd, rank=rank,
                    log_sd=signature_log_sd(model.means, reference, model.fractions), random=random,
                    change=change, states=states, purity=purity)
    score = sum(refit(permuted(model, random))[0] for _ in range(N_SCORES)) / N_SCORES
    truth, of_rival = refit(rival(model, noise, random))
    rival_score, _ = refit(permuted(of_rival, random))
    result = np.stack([calibrated(*columns) for columns in zip(score.T, rival_score.T, truth.T)], axis=1)
    by_type = model.means * model.fractions.mean(axis=0)
    doubtful = by_type < MIN_SHARE_OF_BULK * by_type.sum(axis=1, keepdims=True)
    doubtful |= model.fractions.mean(axis=0) < MIN_MEAN_FRACTION
    if len(model.fractions) < MIN_SAMPLES:
        doubtful[:] = True
    return np.where(doubtful, np.minimum(result, DOUBTFUL), result)


def lowered(scores, expression, check, unexplained, unrelated, fractions_known):
    """Scores (n_genes, n_cell_types), at most DOUBTFUL where something speaks against them that a simulation from the
    fitted model cannot know: `check` (unknown_type.Check); where bulk has genes that are `unexplained`, expression
    (n_cell_types, n_genes, n_samples) that follows the unknown type of the check; a reference that explains nothing
    (`unrelated`, as reference_fit.misfit gives it). 0 for constants, which say nothing about patients.

    Expression that follows a known type is left alone: cells do answer to one another."""
    doubtful = np.full(scores.shape, unrelated > reference_fit.UNRELATED)
    if not fractions_known:
        doubtful |= check.doubtful()
        if unexplained:
            doubtful |= np.stack([follows(of_type, check.unknown) for of_type in expression], axis=1)
    scores = np.where(doubtful, np.minimum(scores, DOUBTFUL), scores)
    return np.where(np.ptp(expression, axis=2).T == 0, 0, scores)


def follows(expression, amount):
    """Whether each row of expression (n_genes, n_samples) goes with the amount (n_samples,) of a type that nobody
    knows: then it is rather what that type makes, left in the wrong place."""
    rho = spearman(expression, np.broadcast_to(amount, expression.shape))
    return np.abs(rho) > MIN_RHO + MIN_RHO_BY_CHANCE / np.sqrt(len(amount))


def permuted(model, random):
    """The model with its scores permuted over samples, for each cell type on its own."""
    scores = np.stack([of_type[random.permutation(len(of_type))] for of_type in model.factors.scores])
    return replace(model, factors=replace(model.factors, scores=scores))


def rival(model, noise, random):
    """Another model of similar bulk, in which each gene varies, relative to its mean, as much in every cell type as
    the fitted model says of all together; in which cell types share states: the fit would give what they share to the
    most abundant; and in which `noise` (n_genes,) of bulk is not expression: the fit would share it out."""
    loadings, scores = model.factors.loadings, permuted(model, random).factors.scores
    power = np.sum(loadings ** 2, axis=2).T  # (n_genes, n_cell_types)
    weight = np.mean(model.fractions ** 2, axis=0)
    relative = power @ weight / np.maximum(model.means ** 2 @ weight, np.finfo(np.float32).tiny)
    wanted = relative[:, None] * model.means ** 2
    factor = np.sqrt(np.divide(wanted, power, out=np.zeros_like(power), where=power > 0))
    common = random.standard_normal(scores.shape[1:], dtype=np.float32)
    scores = np.sqrt(SHARED_STATES) * common + np.sqrt(1 - SHARED_STATES) * scores
    factors = replace(model.factors, loadings=loadings * factor.T[:, :, None], scores=scores.astype(np.float32))
    return expression_model.with_noise(replace(model, factors=factors), noise)


def simulate_and_refit(model, markers, log_sd, platform_log_sd, rank, random, change, states, purity):
    """Kendall's tau (n_genes, n_cell_types) between expression drawn from `model` and what is estimated from its bulk
    (0 where either is constant), and the model of that estimate."""
    truth = simulate(model, random)
    bulk = np.einsum("ik,kgi->gi", model.fractions, truth)
    bulk *= lognormal(random, np.sqrt(np.float32(BULK_LOG_SD ** 2) + model.noise).reshape(-1, 1), bulk.shape)
    gene_mean = np.maximum(bulk.mean(axis=1, keepdims=True), np.finfo(np.float32).tiny)
    bulk /= gene_mean
    means = model.means / gene_mean
    fractions = model.fractions
    states = states and states.perturbed(random, SIGNATURE_LOG_SD)
    if change is not None:
        platform = lognormal(random, platform_log_sd, (len(markers), 1))
        signature = means[markers] * platform * lognormal(random, log_sd, means[markers].shape)
        fractions = cell_fractions.estimate(bulk[markers], signature, states and states.at(markers),
                                            purity and purity.drawn(model.fractions, random))
        fractions = changed(fractions, change, random)
    means = mean_expression.estimate(bulk, fractions, means * lognormal(random, log_sd, means.shape))
    refit = expression_model.fit(bulk, fractions, means, rank, N_SWEEPS, states)
    tau = np.stack([kendall(*of_type) for of_type in zip(truth, expression_model.estimates(refit, bulk))], axis=1)
    return np.nan_to_num(tau), refit


def changed(fractions, change, random):
    """Fractions (n_samples, n_cell_types) moved by `change` of the same shape, one way or the other in each sample."""
    moved = np.maximum(fractions + random.choice((-CHANGE, CHANGE), (len(change), 1)) * change, 0)
    return (moved / moved.sum(axis=1, keepdims=True)).astype(np.float32)


def calibrated(score, rival_score, truth):
    """Confidence (n_genes,) of the scores in one cell type: the share of genes with truth >= TAU_ACCURATE + MARGIN
    among those of similar score in the rival world, never falling with the score; and no more than the chance that the
    score, which errs rather upwards, is at least TAU_ACCURATE."""
    n_bins = np.clip(len(truth) // MIN_GENES_PER_BIN, 1, N_BINS)
    bins = np.array_split(np.argsort(rival_score, kind="stable"), n_bins)
    share = isotonic_regression([np.mean(truth[genes] >= TAU_ACCURATE + MARGIN) for genes in bins]).x
    result = np.interp(score, [np.mean(rival_score[genes]) for genes in bins], share)
    return np.minimum(result, norm.cdf((score - TAU_ACCURATE) / SCORE_SD))


def signature_log_sd(means, reference, fractions):
    """How wrong the signature is about each type (n_cell_types,), natural log: the sd over genes of what bulk makes of
    the reference, at least SIGNATURE_LOG_SD. A factor that all types of a gene share does not count."""
    known = np.isfinite(reference).all(axis=1) & (np.nan_to_num(reference).sum(axis=1) > 0)
    means, reference, fractions = means[known], reference[known], fractions.mean(axis=0)
    reference = reference * (means @ fractions / np.maximum(reference @ fractions, 1e-12))[:, None]
    ratio = np.log((means + REFERENCE_FLOOR) / (reference + REFERENCE_FLOOR))
    return np.maximum(ratio.std(axis=0), SIGNATURE_LOG_SD)


def simulate(model, random):
    """Expression (n_cell_types, n_genes, n_samples) drawn from the model: means, factors, and lognormal variation
    around both for what is left."""
    log_variance = np.log1p(model.kappa)[:, None]
    truth = np.empty((model.means.shape[1], len(model.means), len(model.fractions)), dtype=np.float32)
    for k, mean in enumerate(model.means.T):
        np.maximum(model.explained(k), MIN_SHARE_OF_MEAN * mean[:, None], out=truth[k])
        draw = random.standard_normal(truth[k].shape, dtype=np.float32)
        draw *= np.sqrt(log_variance)
        draw -= log_variance / 2
        truth[k] *= np.exp(draw, out=draw)
    return truth


def lognormal(random, log_sd, shape):
    """Factors around 1."""
    draw = random.standard_normal(shape, dtype=np.float32)
    draw *= log_sd
    return np.exp(draw, out=draw)

