"""Tables of cell fractions, patients x cell types, from whatever tool: what is refused, and what is said."""
import numpy as np

from slide_ex import gene_names, ids, numeric_table
from slide_ex.ids import some

TOLERANCE = 1e-3      # of the sum of a row
NOISE = 1e-9          # below zero by as much is a zero: least squares (quadprog, limSolve) leaves -1e-17
DIAGNOSTICS = {"pvalue", "correlation", "rmse", "absolutescore", "absolutescoresigscore", "absolutescorenosumto1"}
# columns of CIBERSORT and CIBERSORTx beside the fractions, see gene_names.plain


def read(path, is_scaled=False):
    """Fractions (patients x cell types), rows summing to 1 (within TOLERANCE), and notes.

    Parameters
    ----------
    is_scaled : bool
        The user says that the rows are to be divided by their sums (--scale-fractions).

    Raises ValueError for values that are missing, infinite or negative and for rows with other sums than 1 or 100.
    """
    table = numeric_table.read(path)
    table.index = [ids.with_dashes(name) for name in table.index]
    notes = []
    diagnostics = [name for name in table if gene_names.plain(name) in DIAGNOSTICS]
    if diagnostics:
        notes.append(f"{path.name}: {some(diagnostics)}: columns of CIBERSORTx that are no cell types, left out")
        table = table.drop(columns=diagnostics)
    ids.refuse_cell_types(table.columns, path)
    refuse_repeated_rows(table, path)
    table = table.mask((table < 0) & (table > -NOISE), 0)
    bad = table.index[~(np.isfinite(table) & (table >= 0)).all(axis=1)]
    if len(bad):
        raise ValueError(f"{path}: fractions that are missing, infinite or negative in {some(bad)}: fill or remove "
                         "them")
    total = table.sum(axis=1)
    if (total == 0).any():
        raise ValueError(f"{path}: nothing but zeros for {some(table.index[total == 0])}")
    if ((total - 1).abs() <= TOLERANCE).all():
        return table, notes
    if ((total / 100 - 1).abs() <= TOLERANCE).all():
        return table.div(total, axis=0), [*notes, f"{path.name}: rows sum to 100: divided by it"]
    sums = f"{total.min():.4g} to {total.max():.4g}"
    if is_scaled:
        return table.div(total, axis=0), [*notes, f"{path.name}: rows sum to {sums}: each divided by its sum "
                                          "(--scale-fractions)"]
    odd = total.index[(total - 1).abs() > TOLERANCE]
    raise ValueError(f"{path}: rows do not sum to 1, but to {sums} ({some(odd)}): a cell type is missing, a column is "
                     "none, or patients are not in rows; absolute scores are divided by their sums with "
                     "--scale-fractions")


def refuse_repeated_rows(table, path):
    """ValueError for a patient who has two rows."""
    twice = table.index[table.index.duplicated()]
    if len(twice):
        raise ValueError(f"{path}: more than one row for {some(dict.fromkeys(twice))}: keep one row a patient")
