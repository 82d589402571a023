"""How far a slide is from those that a model learnt from, by its mean feature.

Slides are few and features many, so the covariance is that of the leading principal components; what they leave is
one more coordinate, the logarithm of the length of the residual (as score and orthogonal distance are combined in
SIMCA; Pomerantsev and Rodionova, J Chemometrics 2014). With scores z_j of variance v_j and residual e,

    d^2 = sum_j z_j^2 / v_j + max(0, (log |e|^2 - m) / s)^2

A residual shorter than usual, as that of a slide of many tiles may be, is not far. Slides that a fit has seen are
nearer to it than new ones. Distances of training slides, m and s are therefore held out: each patient's slides are
measured by components of the other patients.
"""
import dataclasses

import numpy as np
from scipy import linalg

SLIDES_PER_COMPONENT = 10  # fewer slides do not tell the variance of a component
MAX_COMPONENTS = 32
N_GROUPS = 10              # of patients, held out in turn
OUTSIDE = 0.99             # a slide beyond this quantile of the training slides is flagged


@dataclasses.dataclass(frozen=True)
class TrainingRange:
    """What the distance needs; all float64."""
    mean: np.ndarray        # (n_features,)
    components: np.ndarray  # (n_components, n_features), orthonormal rows
    variances: np.ndarray   # (n_components,)   of the scores
    residual: np.ndarray    # (2,)   m and s
    distances: np.ndarray   # (n_slides,)   of the training slides, held out, sorted


def fit(means, patient_ids):
    """TrainingRange of training slides: their mean features (n_slides, n_features) and patients (n_slides,)."""
    means = means.astype(float)
    n_components = max(1, min(len(means) // SLIDES_PER_COMPONENT, MAX_COMPONENTS, means.shape[1] - 1))
    patients = np.unique(patient_ids)
    group_of = dict(zip(np.random.default_rng(0).permutation(patients), np.arange(len(patients)) % N_GROUPS))
    groups = np.array([group_of[patient] for patient in patient_ids])
    inner, residuals = np.zeros(len(means)), np.zeros(len(means))
    for group in np.unique(groups):
        held_out = groups == group
        inner[held_out], residuals[held_out] = coordinates(means[held_out], *principal(means[~held_out], n_components))
    residual = np.array([residuals.mean(), residuals.std()])
    return TrainingRange(*principal(means, n_components), residual, np.sort(combined(inner, residuals, residual)))


def principal(means, n_components):
    """Mean of rows, their leading components and the variances of these."""
    centre, n_slides = means.mean(0), len(means)
    centred = means - centre
    # slides are fewer than features: eigenvectors of the small Gram matrix, and only the leading ones
    values, vectors = linalg.eigh(centred @ centred.T, subset_by_index=[n_slides - n_components, n_slides - 1])
    return centre, (vectors / np.sqrt(values)).T @ centred, values / (n_slides - 1)


def coordinates(means, centre, components, variances):
    """Squared distance within the components and log squared length of the residual; two arrays (n_slides,)."""
    centred = means - centre
    scores = centred @ components.T
    left = centred - scores @ components
    return (scores ** 2 / variances).sum(1), np.log((left ** 2).sum(1) + np.finfo(float).tiny)


def combined(inner, residuals, residual):
    """Distance from its two parts, (n_slides,)."""
    return np.sqrt(inner + np.maximum((residuals - residual[0]) / residual[1], 0) ** 2)


def distances(training, means):
    """Distance of slides to the training slides, and its quantile among theirs; two arrays (n_slides,).

    The quantile is the share of training slides that are nearer: 1 beyond all of them.
    """
    distance = combined(*coordinates(means.astype(float), training.mean, training.components, training.variances),
                        training.residual)
    return distance, np.searchsorted(training.distances, distance) / len(training.distances)
