"""Labels for training: one table patients x genes per cell type, filtered, in logarithms."""
import logging

import numpy as np

from slide_ex.ids import counted, some

MIN_CONFIDENCE = .95
MIN_NONZERO_FRACTION = .5  # of patients with a value above zero; this and the variance: Wang et al. 2026
MIN_VARIANCE = 1e-5        # of the label over patients, in logarithms

MOST_R_WITH_FRACTION = .4  # median over cell types. Expression in a cell: at most .14, in one type (docs/labels.md);
MOST_R_OF_ONE = .6         # expression times the fraction: .55 to .92. Most of a single type
FEW_PATIENTS = 10          # below as many r says nothing


def r_with_fraction(labels, fractions):
    """Median over genes of Pearson's r between label and the type's own fraction over patients; NaN without a gene.

    labels : ndarray (n_patients, n_genes), logarithms; fractions : ndarray (n_patients,)
    """
    labels, fractions = labels - labels.mean(axis=0), fractions - fractions.mean()
    norm = np.sqrt((labels ** 2).sum(axis=0) * (fractions ** 2).sum())
    r = (fractions @ labels)[norm > 0] / norm[norm > 0]
    return float(np.median(r)) if len(r) else np.nan


def refuse_abundance(r, n_patients, folder):
    """ValueError where labels of another tool follow the fractions of their types: a model would learn abundance.

    r : dict of cell type to r_with_fraction
    """
    known = {name: value for name, value in r.items() if np.isfinite(value)}
    values = list(known.values()) or [0]
    if n_patients >= FEW_PATIENTS and (np.median(values) > MOST_R_WITH_FRACTION or max(values) > MOST_R_OF_ONE):
        highest = sorted(known, key=known.get, reverse=True)
        raise ValueError(f"{folder}: labels go with the fraction of their own cell type (median r over genes: "
                         + some((f"{name} {known[name]:.2f}" for name in highest), 4)
                         + "), so that they are expression times abundance, as BayesPrism's Z: --divide-by-fractions "
                           "makes it expression in a cell")


def upper(names):
    return [name.upper() for name in names]


def check_list(wanted, known, path):
    """Log which names of a list are no genes of the labels (set of str); ValueError where none is one."""
    unknown = [name for name, own in zip(wanted, np.isin(*map(upper, (wanted, known)))) if not own]
    if len(unknown) == len(wanted):
        raise ValueError(f"{path}: none of {counted(unknown)} is a gene of the labels, such as "
                         f"{some(sorted(known), 3)}: one gene a line is needed")
    if unknown:
        logging.info(f"{path.name}: no genes of the labels: {counted(unknown)}")


def select(genes, expression, scores, wanted, settings):
    """Labels of one cell type and how many genes each filter left.

    Parameters
    ----------
    genes : list of str (n_genes,)
    expression : ndarray (n_genes, n_patients), linear
    scores : ndarray (n_genes,), confidence
    wanted : names of genes in any case, or None for all genes
    settings : dict with min_confidence, min_nonzero_fraction, min_variance, log_base

    Returns
    -------
    kept : ndarray of int, the genes that pass
    labels : ndarray float32 (n_patients, n_kept)
    counts : dict, genes left after each filter in turn
    """
    kept = np.ones(len(expression), dtype=bool)
    counts = {"genes": len(kept)}
    labels = np.log1p(expression) / np.log(settings["log_base"])
    listed = np.ones(len(genes), dtype=bool) if wanted is None else np.isin(*map(upper, (genes, wanted)))
    for name, passes in (("in the list", listed),
                         ("confident", scores >= settings["min_confidence"]),
                         ("non-zero", np.mean(expression > 0, axis=1) >= settings["min_nonzero_fraction"]),
                         ("variable", labels.var(axis=1) >= settings["min_variance"])):
        kept &= passes
        counts[name] = int(kept.sum())
    return np.flatnonzero(kept), labels[kept].T.astype(np.float32), counts
