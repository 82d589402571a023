"""Labels for training: one table patients x genes per cell type, filtered, in logarithms; and their file.

targets.h5
    patient_ids                            str (n_patients,)
    expression/<cell type>/labels          float32 (n_patients, n_genes)   log(value + 1) in base log_base
    expression/<cell type>/genes           str (n_genes,)
    expression/<cell type>/confidence      float32 (n_genes,)              0..1; 1 where the source gives none
    abundance/labels                       float32 (n_patients, n_cell_types)   fractions, rows sum to 1
    abundance/cell_types                   str (n_cell_types,)
    attributes: log_base, min_confidence, min_nonzero_fraction, min_variance, deconvolution_method,
                deconvolution_sha256 (of expression.h5; not with --labels), parameters and inputs (see expression_file)

A cell type without a gene that passes all filters has no group.
"""
import h5py
import numpy as np

MIN_CONFIDENCE = .95
MIN_NONZERO_FRACTION = .5  # of patients with a value above zero; this and the variance: Wang et al. 2026
MIN_VARIANCE = 1e-5        # of the label over patients, in logarithms
BULK = "Bulk"              # name of bulk itself as a cell type


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


def write(path, patient_ids, expression, abundance, attributes):
    """The file described above.

    `expression`: list of (cell type, genes, labels, confidence); `abundance`: table patients x cell types."""
    with h5py.File(path, "w") as file:
        text = {"dtype": h5py.string_dtype()}
        file.create_dataset("patient_ids", data=list(patient_ids), **text)
        for cell_type, genes, labels, scores in expression:
            if len(genes):
                group = file.create_group(f"expression/{cell_type}")
                group["labels"] = labels
                group.create_dataset("genes", data=list(genes), **text)
                group["confidence"] = scores.astype(np.float32)
        file["abundance/labels"] = abundance.to_numpy(np.float32)
        file.create_dataset("abundance/cell_types", data=list(abundance.columns), **text)
        file.attrs.update(attributes)
