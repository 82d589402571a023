"""How much of everything each sample shows. TPM are shares of a whole: where a few genes are very high, or a cell type
holds much RNA, all other genes of that sample are low in all cell types at once, which no cell type's expression
should have to explain."""
import numpy as np

from model.mean_expression import on_scale_of_bulk

LEAST = .02        # of the ratio: half of the genes of a sample can be missing
USUAL_LOG_SD = .1  # of the estimate where samples do not differ in scale, natural log: programmes of many genes


def estimate(bulk, fractions, reference):
    """Scale (n_samples,) with geometric mean 1: the median over genes of bulk / prediction, shrunk to 1 as far as its
    spread is no larger than usual.

    Arrays bulk (n_genes, n_samples), fractions (n_samples, n_cell_types), reference (n_genes, n_cell_types) with NaN
    rows where unknown. 1 for all samples when no gene can be predicted."""
    known = np.isfinite(reference).all(axis=1)
    fit = on_scale_of_bulk(reference[known], bulk[known], fractions) @ fractions.T
    seen = (fit > 0).all(axis=1)  # and not zero in most samples
    if not seen.any():
        return np.ones(len(fractions))
    log_scale = np.log(np.maximum(np.median(bulk[known][seen] / fit[seen], axis=0), LEAST))
    log_scale -= log_scale.mean()
    excess = 1 - USUAL_LOG_SD ** 2 / max(np.var(log_scale), USUAL_LOG_SD ** 2)
    return np.exp(excess * log_scale)
