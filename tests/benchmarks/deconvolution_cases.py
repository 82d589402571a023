"""A richer reference for bench_deconvolution.py, made from samples that are not deconvolved.

Donors and states are means of the true expression of each cell type over groups of the held-out samples. Genes without
known truth get what bulk of the held-out samples says of the groups (least squares). They are brought to the platform
of the reference; noise and missing states make them as wrong as those of other patients and another laboratory.
"""
import numpy as np
from sklearn.cluster import KMeans

from model import reference_states, tumour_purity
from model.nonnegative import coordinate_descent

N_STATES, N_DONORS = 6, 20   # of each cell type; of the malignant one
MALIGNANT = 0                # column of the malignant type
RIDGE = .02                  # of the mean diagonal, towards the reference


def held_out(data, n_samples):
    """The first samples, to be deconvolved, and the others."""
    parts = []
    for chosen in (slice(n_samples), slice(n_samples, None)):
        parts.append(data | {"bulk": data["bulk"][:, chosen], "fractions": data["fractions"][chosen],
                             "expression": data["expression"][:, :, chosen]})
    return parts


def grouped(data, n_groups):
    """Profiles (n_genes, n_groups in all) of groups of samples with similar expression in a cell type, and their types;
    n_groups: one number a type."""
    columns, of_type, profiles = [], [], []
    for k, expression in enumerate(data["expression"]):
        labels = KMeans(n_groups[k], n_init=3, random_state=0).fit_predict(np.log2(expression + 1).T)
        for label in np.unique(labels):
            columns.append(data["fractions"][:, k] * (labels == label))
            profiles.append(expression[:, labels == label].mean(axis=1))
            of_type.append(k)
    design, of_type, bulk = np.array(columns).T, np.array(of_type), data["bulk"]
    level = np.median(bulk / np.maximum(data["reference"] @ data["fractions"].T, 1e-9), axis=1)
    prior = (data["reference"] * level[:, None])[:, of_type]
    gram = design.T @ design
    ridge = RIDGE * np.trace(gram) / len(gram)
    gram = np.repeat((gram + ridge * np.eye(len(gram)))[None], len(bulk), axis=0)
    found = coordinate_descent(gram, bulk @ design + ridge * prior, prior)
    found[data["scored"]] = np.array(profiles).T
    for k in range(len(data["expression"])):
        own = of_type == k
        found[:, own] *= (data["reference"][:, k] / np.maximum(found[:, own].mean(axis=1), 1e-9))[:, None]
    return found, of_type


def with_profiles(data, n_samples, log_sd, random):
    """The first samples, with the profiles of states that other tools take ("profiles", "of_type"), with noise, and
    the same as "states"."""
    data, others = held_out(data, n_samples)
    profiles, of_type = grouped(others, np.full(len(data["cell_types"]), N_STATES))
    profiles *= random.lognormal(0, log_sd, profiles.shape)
    return data | {"profiles": profiles, "of_type": of_type,
                   "states": reference_states.of_profiles(profiles, of_type, data["reference"])}


def states(profiles, of_type, reference, log_sd, missing, random):
    """States with lognormal noise in every gene, of which a share is missing in each type."""
    kept = np.concatenate([random.permutation(own)[round(missing * len(own)):]
                           for own in (np.flatnonzero(of_type == k) for k in np.unique(of_type))])
    noisy = profiles[:, kept] * random.lognormal(0, log_sd, (len(profiles), len(kept)))
    return reference_states.of_profiles(noisy, of_type[kept], reference)


def richer(data, n_samples, seed):
    """(name, data with "states" or "purity") of every case, of the first n_samples."""
    data, others = held_out(data, n_samples)
    n_types = len(data["cell_types"])
    yield "plain", data
    by_state, types = grouped(others, np.full(n_types, N_STATES))
    for log_sd, missing in ((.3, 0), (.6, 0), (.3, .5), (.6, .5)):
        yield f"states, sd {log_sd}, {missing:.0%} missing", data | {"states": states(
            by_state, types, data["reference"], log_sd, missing, np.random.default_rng(seed))}
    by_donor, of_donor = grouped(others, np.where(np.arange(n_types) == MALIGNANT, N_DONORS, 1))
    donors = of_donor == MALIGNANT
    for log_sd in (.3, .6):
        yield f"malignant donors, sd {log_sd}, 50% missing", data | {"states": states(
            by_donor[:, donors], of_donor[donors], data["reference"], log_sd, .5, np.random.default_rng(seed))}
    random = np.random.default_rng(seed)
    purity = tumour_purity.Purity(np.zeros(n_samples), np.arange(n_types) == MALIGNANT).drawn(data["fractions"], random)
    yield "purity, sd 0.05", data | {"purity": purity}
    together = np.hstack([by_state, by_donor[:, donors]]), np.r_[types, of_donor[donors]]
    yield "states and donors, sd 0.6, 50% missing, purity", data | {"purity": purity, "states": states(
        *together, data["reference"], .6, .5, random)}
