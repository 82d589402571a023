"""Annotated single cells: counts with one label a cell, from .h5ad or from a table."""
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import io, sparse

from slide_ex import numeric_table
from slide_ex.ids import some


def files(path, labels_path):
    """The files that `read` reads."""
    beside = [path.parent / f"{kind}.tsv{packed}" for kind in ("genes", "features", "barcodes")
              for packed in ("", ".gz") if ".mtx" in path.name]
    return [one for one in (path, labels_path, *beside) if one and one.is_file()]


def read(path, labels_path, label_column):
    """Counts and labels.

    Parameters
    ----------
    path : Path, `.h5ad`; `.mtx[.gz]`, genes x cells, genes.tsv and barcodes.tsv beside it; or a table genes x cells
    labels_path : Path or None, table with one row a cell, for files other than .h5ad
    label_column : str, column of the labels (in .obs of .h5ad)

    Returns
    -------
    counts : sparse CSR matrix float32 (n_cells, n_genes)
    genes : Index (n_genes,)
    labels : DataFrame of str (n_cells, n_columns), the columns of labels
    """
    if path.suffix == ".h5ad":
        counts, genes, labels = read_h5ad(path)
    else:
        if labels_path is None:
            raise ValueError(f"{path} has no labels of its own: give --labels FILE, one row a cell, cell id first")
        counts, genes, cells = read_mtx(path) if ".mtx" in path.name else read_table(path)
        labels = pd.read_csv(labels_path, sep=None, engine="python", index_col=0, dtype=str)
        n_labels = labels.index.value_counts().reindex(cells, fill_value=0)
        if (n_labels != 1).any():
            raise ValueError(f"{labels_path}: cells of {path.name} without exactly one label: "
                             f"{some(cells[n_labels != 1])}")
        labels = labels.loc[cells]
    if label_column not in labels:
        raise ValueError(f"no column {label_column!r} of labels; there are {some(labels)}")
    if counts.shape[1] == 0 or counts.min() < 0 or not np.isfinite(counts.data).all():
        raise ValueError(f"{path}: counts must be numbers that are not negative")
    if not np.array_equal(counts.data[:10000], np.round(counts.data[:10000])):
        raise ValueError(f"{path}: values are not whole numbers: raw counts are needed, not normalised values")
    return counts, genes, labels


def read_h5ad(path):
    """Raw counts of an AnnData file: layer `counts`, else .raw, else .X."""
    try:
        import anndata
    except ImportError as error:
        raise ValueError(f"reading {path.name} needs anndata: pip install -r "
                         "deconvolution/requirements-single-cell.txt, or give counts and --labels") from error
    data = anndata.read_h5ad(path)
    if "counts" in data.layers:
        counts, genes = data.layers["counts"], data.var_names
    else:
        source = data.raw if data.raw is not None else data
        counts, genes = source.X, source.var_names
    return sparse.csr_matrix(counts, dtype=np.float32), pd.Index(genes), data.obs.astype(str)


def read_mtx(path):
    """Matrix Market, genes x cells, as 10x Genomics writes it; the symbol is the second column of genes.tsv."""
    names = {}
    for kind in ("genes", "features", "barcodes"):
        for candidate in (path.parent / f"{kind}.tsv", path.parent / f"{kind}.tsv.gz"):
            if candidate.is_file():
                table = pd.read_csv(candidate, sep="\t", header=None, dtype=str)
                names[kind] = pd.Index(table[min(1, table.shape[1] - 1) if kind != "barcodes" else 0].to_numpy())
    genes, cells = names.get("genes", names.get("features")), names.get("barcodes")
    if genes is None or cells is None:
        raise FileNotFoundError(f"genes.tsv (or features.tsv) and barcodes.tsv must lie beside {path}")
    counts = sparse.csr_matrix(io.mmread(str(path)).T, dtype=np.float32)
    if counts.shape != (len(cells), len(genes)):
        raise ValueError(f"{path} is for {counts.shape[1]} genes and {counts.shape[0]} cells, the names beside it for "
                         f"{len(genes)} and {len(cells)}")
    return counts, genes, cells


def read_table(path: Path):
    """Text table, genes x cells."""
    table = numeric_table.read(path)
    return sparse.csr_matrix(table.to_numpy(np.float32).T), table.index, pd.Index(table.columns)
