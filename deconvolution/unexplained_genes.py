"""Whether bulk shows genes that the cell types of the signature cannot explain, as a missing cell type would."""
import numpy as np

from expression_table import some

UNEXPLAINED_FOLD = 5     # bulk this many times above the reference's prediction, in the median patient
ALARMING_RATIO = 3       # of genes that far above to genes that far below: platforms alone err both ways
MIN_GENES = 20


def notes(bulk, reference, fractions):
    """Lines for the report, none when all is well.

    Parameters
    ----------
    bulk : DataFrame (n_genes, n_patients)
    reference : DataFrame (n_genes, n_cell_types), NaN rows without reference
    fractions : ndarray (n_patients, n_cell_types)
    """
    known = reference.notna().all(axis=1).to_numpy()
    predicted = reference[known].to_numpy() @ fractions.T
    measured = bulk[known].to_numpy()
    floor = np.percentile(measured[measured > 0], 25)
    fold = np.median((measured + floor) / (predicted + floor), axis=1)
    fold /= np.median(fold)
    above, below = fold > UNEXPLAINED_FOLD, fold < 1 / UNEXPLAINED_FOLD
    if above.sum() < MIN_GENES or above.sum() < ALARMING_RATIO * below.sum():
        return []
    strongest = bulk.index[known][np.argsort(-fold)[:5]]
    return [f"{above.sum()} genes are more than {UNEXPLAINED_FOLD} times above what the cell types explain "
            f"({below.sum()} below), first {some(strongest)}: a cell type may be missing from the signature"]
