"""The native deconvolution, as a methods section. It is a linear model of its own, not CODEFACS.

    bulk of gene g in sample i = sum over cell types k of fraction_ik * expression_gki + noise

0 what is no biology (patients: samples given twice, batches, levels), 1 fractions (cell_fractions), 2 means
(mean_expression), 3 factors (factor_model, rank_choice), 4 what is left (expression_model), 5 confidence (confidence,
unknown_type). Where they are known, states of the cell types and donors of the tumours (reference_states) help 1 and
3, and purity (tumour_purity) helps 1.
"""
from dataclasses import dataclass, replace

import numpy as np

from model import (
    cell_fractions,
    confidence,
    expression_model,
    mean_expression,
    patients,
    rank_choice,
    reference_fit,
    unknown_type,
)

MIN_SAMPLES = 3    # to deconvolve at all


@dataclass
class Deconvolution:
    """fractions (n_samples, n_cell_types); level (n_samples,) of all genes, around 1; sample (n_samples,), which are
    the same; batch (n_samples,) and its removed effects (n_genes, n_batches), natural log; expression (n_cell_types,
    n_genes, n_samples), in the units of bulk / level; confidence (n_genes, n_cell_types), 0..1; rank: the largest
    number of factors; held_out {rank: relative error of entries left out}; unrelated: the share that
    reference_fit.misfit gives; unexplained: genes and a line, as reference_fit.unexplained gives them; check:
    unknown_type.Check of the fractions."""
    fractions: np.ndarray
    level: np.ndarray
    sample: np.ndarray
    batch: np.ndarray
    batch_effects: np.ndarray
    expression: np.ndarray
    confidence: np.ndarray
    rank: int
    held_out: dict
    unrelated: float
    unexplained: tuple
    check: unknown_type.Check

    def of_every(self, sample):
        """The same of all samples, where this is of each sample once."""
        if len(sample) == len(self.sample):
            return self
        return replace(self, sample=sample, **{name: getattr(self, name)[sample]
                                               for name in ("fractions", "level", "batch")},
                       expression=self.expression[:, :, sample])


def deconvolve(bulk, markers, signature, reference, seed, fractions=None, states=None, purity=None, batch=None):
    """All steps, for each sample once.

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
    batch : ndarray of int (n_samples,), counted from 0, where they are known; otherwise two are looked for
    """
    sample = patients.same_sample(bulk)
    _, first = np.unique(sample, return_index=True)
    if len(first) < MIN_SAMPLES:
        raise ValueError(f"{bulk.shape[1]} patients are only {len(first)} different samples, too few to deconvolve")
    if len(first) < len(sample):
        bulk = patients.mean_of_groups(bulk, sample)
        fractions = fractions if fractions is None else patients.mean_of_groups(fractions.T, sample).T
        purity = purity and replace(purity, values=patients.mean_of_groups(purity.values[None], sample)[0])
        batch = batch if batch is None else batch[first]
    return deconvolve_once(bulk, markers, signature, reference, seed, fractions, states, purity, batch).of_every(sample)


def deconvolve_once(bulk, markers, signature, reference, seed, known, states, purity, batch):
    """As `deconvolve`, where no sample is given twice and fractions may be `known`."""
    at_markers = states and states.at(markers)
    random = np.random.default_rng(seed)
    fractions = cell_fractions.estimate(bulk[markers], signature, at_markers, purity) if known is None else known
    fractions = fractions.astype(np.float32)
    level = patients.level(bulk, fractions, reference)
    bulk = bulk / level
    if batch is None:
        batch = patients.find_batches(bulk, reference, fractions, random)
    effects = patients.batch_effects(bulk, reference, fractions, batch)
    bulk = patients.without_batches(bulk, effects, batch)
    if batch.any() and known is None:
        fractions = cell_fractions.estimate(bulk[markers], signature, at_markers, purity)
    platform, unrelated = reference_fit.misfit(bulk, reference, fractions, random)
    unexplained = reference_fit.unexplained(bulk, reference, fractions)
    check = unknown_type.check(bulk[markers], signature, fractions, at_markers)
    gene_mean = bulk.mean(axis=1, keepdims=True)
    scaled = (bulk / gene_mean).astype(np.float32)
    reference = (reference / gene_mean).astype(np.float32)
    means = mean_expression.estimate(scaled, fractions, reference)
    rank, held_out = rank_choice.choose(scaled - means @ fractions.T, means, fractions, random, states)
    model = expression_model.fit(scaled, fractions, means, rank, states=states)
    change = check.change if known is None else None
    noise = expression_model.measurement_noise(model, scaled, gene_mean[:, 0])
    scores = confidence.by_simulation(model, noise, markers, reference, platform, rank, random, change, states, purity)
    expression = expression_model.estimate(model, scaled)  # after the simulation, which needs as much memory
    scores = confidence.lowered(scores, expression, check, len(unexplained[0]) > 0, unrelated, known is not None)
    expression *= gene_mean.astype(np.float32)
    return Deconvolution(fractions, level, np.arange(len(level)), batch, effects, expression, scores, rank, held_out,
                         unrelated, unexplained, check)
