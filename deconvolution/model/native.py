"""The native deconvolution, as a methods section. It is a linear model of its own, not CODEFACS.

    bulk of gene g in sample i = sum over cell types k of fraction_ik * expression_gki + noise

1 fractions (cell_fractions) and scale of the samples (sample_scale), 2 means (mean_expression), 3 factors
(factor_model, rank_choice), 4 what is left (residual_share), 5 confidence (confidence). Where they are known, states
of the cell types and donors of the tumours (reference_states) help 1 and 3, and purity (tumour_purity) helps 1.
"""
from dataclasses import dataclass

import numpy as np

from model import (
    cell_fractions,
    confidence,
    expression_model,
    mean_expression,
    rank_choice,
    reference_fit,
    sample_scale,
)


@dataclass
class Deconvolution:
    """fractions (n_samples, n_cell_types); scale (n_samples,) of the samples, around 1; expression (n_cell_types,
    n_genes, n_samples), in the units of bulk / scale; confidence (n_genes, n_cell_types), 0..1; rank: the largest
    number of factors; held_out {rank: relative error of entries left out}; unrelated: the share that
    reference_fit.misfit gives."""
    fractions: np.ndarray
    scale: np.ndarray
    expression: np.ndarray
    confidence: np.ndarray
    rank: int
    held_out: dict
    unrelated: float


def deconvolve(bulk, markers, signature, reference, seed, fractions=None, states=None, purity=None):
    """All steps.

    Parameters
    ----------
    bulk : ndarray (n_genes, n_samples), linear, every gene expressed somewhere
    markers : ndarray of int (n_markers,), the rows of bulk that the signature is about
    signature : ndarray (n_markers, n_cell_types), linear
    reference : ndarray (n_genes, n_cell_types), linear; NaN rows for genes without reference
    seed : int, of the simulation behind the confidence
    fractions : ndarray (n_samples, n_cell_types), where they are known
    states : reference_states.States of the genes of bulk, or None
    purity : tumour_purity.Purity of the samples, an observation of the fractions, or None
    """
    known = fractions is not None
    if not known:
        fractions = cell_fractions.estimate(bulk[markers], signature, states and states.at(markers), purity)
    fractions = fractions.astype(np.float32)
    random = np.random.default_rng(seed)
    scale = sample_scale.estimate(bulk, fractions, reference)
    bulk = bulk / scale
    gene_mean = bulk.mean(axis=1, keepdims=True)
    scaled = (bulk / gene_mean).astype(np.float32)
    platform, unrelated = reference_fit.misfit(bulk, reference, fractions, random)
    batch = reference_fit.batch(reference_fit.log_ratio(bulk, reference, fractions))
    reference = (reference / gene_mean).astype(np.float32)
    means = mean_expression.estimate(scaled, fractions, reference)
    rank, held_out = rank_choice.choose(scaled - means @ fractions.T, means, fractions, random, states)
    model = expression_model.fit(scaled, fractions, means, rank, states=states)
    expression = expression_model.estimate(model, scaled)
    scores = confidence.by_simulation(model, markers, reference, platform, batch, rank, random, known, states,
                                      purity)
    if unrelated > reference_fit.UNRELATED:
        scores = np.minimum(scores, confidence.DOUBTFUL)
    scores[np.ptp(expression, axis=2).T == 0] = 0  # a constant says nothing about patients
    expression *= gene_mean.astype(np.float32)
    return Deconvolution(fractions, scale, expression, scores, rank, held_out, unrelated)
