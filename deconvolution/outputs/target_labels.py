"""Labels for training: one table patients x genes per cell type, filtered, in logarithms."""
import numpy as np

MIN_CONFIDENCE = .95
MIN_NONZERO_FRACTION = .5  # of patients with a value above zero; this and the variance: Wang et al. 2026
MIN_VARIANCE = 1e-5        # of the label over patients, in logarithms


def select(genes, expression, scores, wanted, settings):
    """Labels of one cell type and how many genes each filter left.

    Parameters
    ----------
    genes : list of str (n_genes,)
    expression : ndarray (n_genes, n_patients), linear
    scores : ndarray (n_genes,), confidence
    wanted : set of str, or None for all genes
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
    listed = np.ones(len(genes), dtype=bool) if wanted is None else np.isin(genes, list(wanted))
    for name, passes in (("in the list", listed),
                         ("confident", scores >= settings["min_confidence"]),
                         ("non-zero", np.mean(expression > 0, axis=1) >= settings["min_nonzero_fraction"]),
                         ("variable", labels.var(axis=1) >= settings["min_variance"])):
        kept &= passes
        counts[name] = int(kept.sum())
    return np.flatnonzero(kept), labels[kept].T.astype(np.float32), counts
