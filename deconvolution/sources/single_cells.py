"""Annotated single cells: counts with one label a cell, from .h5ad or from a table."""
import logging
import os
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import io, sparse

from slide_ex import gene_names, gene_table, numeric_table, text_table
from slide_ex.ids import counted, some
from slide_ex.project import clinical_words

KINDS = "genes", "features", "barcodes"
EXPRESSION = "Gene Expression"      # what 10x Genomics calls genes, beside "Antibody Capture", "Peaks", ...
FEATURE_TYPES = "feature_types"     # the column of that in .var, as scanpy reads it
COUNT_LAYERS = "counts", "raw_counts", "raw", "count"   # where people keep counts in AnnData, before .raw and X
NO_TYPE = {"doublet", "doublets", "multiplet", "multiplets", "unassigned", "unclassified", "undefined", "undetermined",
           "ambiguous", "low quality", "low-quality", "lowquality", "debris", "filtered", "rejected", "exclude",
           "unannotated", "unlabeled", "unlabelled", "negative"}    # beside the words of clinical_words for missing
NOT_READ = {".h5", ".h5seurat", ".loom", ".rds", ".rda", ".rdata"}
LOOKED_AT = 1_000_000    # counts that are looked at for fractions


def files(path, labels_path):
    """The files that `read` reads; FileNotFoundError, and ValueError for counts in a format that it does not read."""
    if not path.is_file() or path.suffix.lower() in NOT_READ:
        kind, error = ("no file", FileNotFoundError) if not path.is_file() else (f"{path.suffix}, not read", ValueError)
        raise error(f"{path} is {kind}: give .h5ad, the .mtx[.gz] beside the tables of its genes and barcodes, or a "
                    "table genes x cells")
    beside = names_beside(path).values() if ".mtx" in path.name else ()
    return [one for one in (path, labels_path, *beside) if one and one.is_file()]


def read(path, labels_path, label_column, layer=None, allow_fractional=False):
    """Counts and labels of the cells that have one.

    Parameters
    ----------
    path : Path, `.h5ad`; `.mtx[.gz]`, genes x cells, names of genes and cells beside it; or a table genes x cells
    labels_path : Path or None, table with one row a cell, for files other than .h5ad
    label_column : str, column of the labels (in .obs of .h5ad)
    layer : where the counts of an .h5ad are: X, raw or a layer; None looks for them
    allow_fractional : counts may be no whole numbers (SoupX, CellBender, DecontX)

    Returns
    -------
    counts : sparse CSR matrix float32 (n_cells, n_genes)
    genes : Index (n_genes,)
    labels : DataFrame of str (n_cells, n_columns), the columns of labels
    """
    if path.suffix == ".h5ad":
        counts, genes, labels = read_h5ad(path, layer, allow_fractional)
    else:
        if labels_path is None:
            raise ValueError(f"{path} has no labels of its own: give --labels FILE, one row a cell, cell id first")
        if layer:
            raise ValueError(f"{path} has no layers: --layer is for .h5ad")
        counts, genes, cells = read_mtx(path) if ".mtx" in path.name else read_table(path)
        labels = read_labels(labels_path, cells, path)
    if label_column not in labels:
        raise ValueError(f"no column {label_column!r} of labels; there are {some(labels, 20)}: give --label-column")
    if counts.shape[1] == 0 or counts.min() < 0 or not np.isfinite(counts.data).all():
        raise ValueError(f"{path}: counts must be numbers that are not negative")
    if not allow_fractional and not are_whole(counts):
        raise ValueError(f"{path}: values are not whole numbers: raw counts are needed, not normalised values; counts "
                         "that ambient correction (SoupX, CellBender) left fractional are accepted with "
                         "--allow-fractional")
    return with_labels(counts, genes, labels, label_column)


def with_labels(counts, genes, labels, label_column):
    """The cells whose label is a cell type; others are left out with a line that counts them."""
    words = labels[label_column].fillna("").astype(str).str.strip()
    no_type = words.map(lambda word: clinical_words.is_missing(word) or word.lower() in NO_TYPE).to_numpy(bool)
    for word, n in words[no_type].value_counts().items():
        logging.info(f"note: {n} cells without a cell type left out (label {word!r})")
    labels = labels.assign(**{label_column: words})
    return counts[np.flatnonzero(~no_type)], genes, labels[~no_type]


def are_whole(counts):
    """Whether the stored numbers, looked at all over the matrix, are whole."""
    data = counts.data[::max(counts.data.size // LOOKED_AT, 1)]
    return np.array_equal(data, np.round(data))


def read_labels(path, cells, counts_path):
    """Labels of the cells, in their order, from a table with the cell id in its first column; "" for those without a
    row, such as cells that did not pass quality control."""
    table = text_table.read_strings(path, "a table with one row a cell, cell id first")
    table = table.set_axis(table.iloc[:, 0].to_numpy()).iloc[:, 1:]
    for names, of in ((cells, counts_path), (table.index[table.index.isin(cells)], path)):
        if len(twice := names[names.duplicated()].unique()):
            raise ValueError(f"{of}: cells that are there twice: {counted(twice)}: which is which cannot be known")
    without = cells[~cells.isin(table.index)]
    if len(without) == len(cells):
        raise ValueError(f"{path} has no row for any cell of {counts_path.name} ({some(cells, 2)}); its first column "
                         f"has {some(table.index, 2)}: write the ids of cells there as they are with the counts")
    if len(without):
        logging.info(f"note: {path.name} has no row for {len(without)} of {len(cells)} cells: {some(without, 3)}")
    return table.reindex(cells, fill_value="")


def read_h5ad(path, layer, allow_fractional):
    """Counts of an AnnData file, from `layer` or the first of its places that holds whole numbers, which is said."""
    try:
        import anndata
    except ImportError as error:
        raise ValueError(f"reading {path.name} needs anndata: pip install -r "
                         "deconvolution/requirements-single-cell.txt, or give counts and --labels") from error
    try:
        data = anndata.read_h5ad(path)
    except Exception as error:  # anndata reports damaged files in many ways
        raise ValueError(f"{path} is no AnnData file that can be read ({str(error).splitlines()[0]})") from None
    places = {name: (data.layers[name], data.var) for name in data.layers}
    order = [name for name in COUNT_LAYERS if name in places]
    if data.raw is not None:
        places[".raw"] = data.raw.X, data.raw.var
        order.append(".raw")
    places["X"] = data.X, data.var
    order.append("X")
    if layer:
        name = ".raw" if layer == "raw" and "raw" not in places else layer
        if name not in places:
            raise ValueError(f"{path} has no {layer!r}; there are {', '.join(places)}: give one with --layer")
        order = [name]
    found = {name: sparse.csr_matrix(places[name][0], dtype=np.float32) for name in order}
    chosen = next((name for name in order if are_whole(found[name])), order[0] if layer or allow_fractional else None)
    if chosen is None:
        raise ValueError(f"{path}: no whole numbers in {', '.join(order)}: raw counts are needed (--layer NAME says "
                         "where they are, --allow-fractional accepts those of ambient correction)")
    logging.info(f"counts are those of {chosen}")
    var = places[chosen][1]
    return *of_genes(found[chosen], gene_index(var, data.var, path), var.get(FEATURE_TYPES), path), labels_of(data.obs)


def labels_of(obs):
    """The table of cells as text, "" where a value is missing."""
    return obs.astype(object).where(obs.notna(), "").astype(str)


def gene_index(var, shared, path):
    """Names of the genes: the index, or the column of symbols where the index holds ids of Ensembl."""
    names = pd.Index(var.index.astype(str))
    if not gene_names.has_ensembl_ids(names):
        return names
    for table in (var, shared.reindex(var.index)):
        for column in table:
            if gene_names.column_kind(column) == "gene_name":
                symbols = table[column].astype(object).where(table[column].notna(), "").astype(str)
                logging.info(f"genes are Ensembl ids; symbols are taken from {column}")
                return pd.Index(np.where(symbols != "", symbols, names))
    logging.info("note: genes are Ensembl ids and there is no column of symbols: the signature has ids, and bulk needs "
                 "them too")
    return names


def of_genes(counts, genes, kinds, path):
    """Counts and names of the features that are genes; kinds (n_features,): what they are, None where nobody says."""
    is_gene = np.ones(len(genes), bool) if kinds is None else np.asarray(kinds.astype(str)) == EXPRESSION
    if is_gene.all() or not is_gene.any():
        return counts, genes
    logging.info(f"note: {path.name}: features that are not {EXPRESSION} left out: {counted(genes[~is_gene])}")
    return counts[:, is_gene], genes[is_gene]


def names_beside(path):
    """{kind: path} of the tables of genes (or features) and barcodes beside an .mtx.

    They may share a part of its name: genes.tsv, GSM1_genes.tsv.gz beside GSM1_matrix.mtx.gz, count_matrix_genes.tsv
    beside count_matrix_sparse.mtx (GSE176078).
    """
    found = {}
    for kind in KINDS:
        candidates = [other for other in path.parent.iterdir()
                      if other.name.removesuffix(".gz").endswith(f"{kind}.tsv")]
        begins = {other: other.name.removesuffix(".gz").removesuffix(f"{kind}.tsv") for other in candidates}
        fitting = [other for other in candidates if path.name.startswith(begins[other])]
        if fitting:
            found[kind] = max(fitting, key=lambda other: len(os.path.commonprefix([other.name, path.name])))
    return found


def read_mtx(path):
    """Matrix Market, genes x cells, as 10x Genomics writes it; of several columns of genes the second has symbols and
    the third says which are genes."""
    names, types = {}, None
    for kind, beside in names_beside(path).items():
        try:
            table = pd.read_csv(beside, sep="\t", header=None, dtype=str, keep_default_na=False)
        except text_table.NOT_A_TABLE as error:
            raise ValueError(f"{beside} is no table of names ({error})") from None
        names[kind] = pd.Index(table[min(1, table.shape[1] - 1) if kind != "barcodes" else 0].to_numpy())
        types = table.get(2) if kind != "barcodes" else types
    genes, cells = names.get("genes", names.get("features")), names.get("barcodes")
    if genes is None or cells is None:
        raise FileNotFoundError(f"names of genes and cells must lie beside {path}: genes.tsv (or features.tsv) and "
                                "barcodes.tsv, with the beginning of its name or without, packed (.gz) or not")
    try:
        counts = sparse.csr_matrix(io.mmread(str(path)).T, dtype=np.float32)
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"{path} is no readable Matrix Market file ({error})") from None
    if counts.shape != (len(cells), len(genes)):
        raise ValueError(f"{path} is for {counts.shape[1]} genes and {counts.shape[0]} cells, the names beside it for "
                         f"{len(genes)} and {len(cells)}")
    return *of_genes(counts, genes, types, path), cells


def read_table(path: Path):
    """Text table, genes x cells."""
    genes = gene_table.read(path)
    numeric_table.refuse_missing(genes.values, path)
    for note in genes.notes:
        logging.info(note)
    return sparse.csr_matrix(genes.values.to_numpy(np.float32).T), genes.values.index, pd.Index(genes.values.columns)
