"""Profiles of cell types and of their parts, states or donors: cells added up and scaled to a million."""
import logging

import numpy as np
import pandas as pd

from slide_ex.ids import some
from slide_ex.project import clinical_words
from sources import state_tables

MIN_CELLS = 20  # of a type, or of a part of it


def add_up(counts, codes, n_groups):
    """TPM-like sums (n_genes, n_groups) of the cells (sparse, n_cells x n_genes) of each group; code -1 is left out."""
    cells = np.flatnonzero(codes >= 0)
    membership = np.zeros((n_groups, len(codes)), dtype=np.float32)
    membership[codes[cells], cells] = 1
    sums = np.asarray(membership @ counts, dtype=float)
    return (sums / np.maximum(sums.sum(axis=1, keepdims=True), 1) * 1e6).T


def of_parts(counts, genes, labels, types, type_column, column):
    """Profiles (genes x '<cell type>: <part>') of the parts of cell types, states or donors, that have enough cells.

    labels : DataFrame of str (n_cells, n_columns); a cell without a part, or of a type not in `types`, is left out"""
    if column not in labels:
        raise ValueError(f"no column {column!r}; there are {some(labels, 20)}")
    given = clinical_words.without_missing(labels[column])
    is_used = (given != "") & labels[type_column].isin(types)
    names = (labels[type_column] + state_tables.BETWEEN + given).where(is_used, "")
    n_cells = names[is_used].value_counts()
    few = sorted(n_cells.index[n_cells < MIN_CELLS])
    if len(few) == len(n_cells):
        raise ValueError(f"column {column!r}: no part of a cell type has {MIN_CELLS} cells")
    if few:
        logging.info(f"note: {column}: {len(few)} with fewer than {MIN_CELLS} cells left out: {some(few)}")
    kept = sorted(n_cells.index.difference(few))
    return pd.DataFrame(add_up(counts, pd.Index(kept).get_indexer(names), len(kept)), genes, kept)
