"""Tables with gene names in the first column: read them, check them, and say in one line what is wrong."""
import re

import numpy as np
import pandas as pd

ENSEMBL = re.compile(r"ENS[A-Z]*G\d{6,}(\.\d+)?")
LARGEST_LOG = 25  # log2 of a million is 20: linear TPM of a whole sample has values far above


def find(project_path, name):
    """Path of <name>.tsv or <name>.tsv.gz in the project folder, or None."""
    found = [path for path in (project_path / f"{name}.tsv", project_path / f"{name}.tsv.gz") if path.is_file()]
    if len(found) == 2:
        raise ValueError(f"both {found[0].name} and {found[1].name} in {project_path}: remove one")
    return found[0] if found else None


def read(path, separator=None):
    """Table of numbers (rows x columns, names as strings) from tab-, comma- or space-separated text.

    The first column holds the row names; its header may be anything or missing, as R writes it. Without `separator`
    it is the tab, or the comma in a .csv. Raises ValueError that names file, rows and columns.
    """
    separator = separator or ("," if re.search(r"\.csv(\.gz)?$", path.name) else "\t")
    options = {"sep": separator, "header": None, "encoding": "utf-8-sig"}
    try:
        header = pd.read_csv(path, nrows=1, dtype=str, keep_default_na=False, **options).iloc[0].tolist()
        table = pd.read_csv(path, skiprows=1, index_col=0, dtype={0: str},
                            keep_default_na=False, na_values=["", "NA", "NaN", "nan"], **options)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError, EOFError, OSError) as error:
        raise ValueError(f"{path} is no readable table: {error}") from error
    table.columns = columns = header[len(header) - table.shape[1]:] if len(header) >= table.shape[1] else []
    if len(header) - table.shape[1] not in (0, 1) or table.empty:
        raise ValueError(f"{path}: {len(header)} names in the first line, {table.shape[1]} columns of numbers below; "
                         f"a table separated by {separator!r} with names in the first line and column is needed")
    repeated = sorted({column for column in columns if columns.count(column) > 1})
    if repeated:
        raise ValueError(f"{path}: column names occur twice: {some(repeated)}")
    text = [column for column in table if not pd.api.types.is_numeric_dtype(table[column])]
    if text:
        raise ValueError(f"{path}: columns with something that is no number: {some(text)}")
    table.index = table.index.astype(str).rename(None)
    return table.astype(float)


def checked(table, path, gene_map=None):
    """The table (genes x samples or types) with usable genes only, and lines that say what was left out.

    Symbols are kept as they are written; copies are recognised, and later joined, in upper case. `gene_map` (Series,
    Ensembl id without version -> symbol) translates Ensembl ids.
    """
    notes = []
    bad = table.columns[~np.isfinite(table).all()]
    if len(bad):
        raise ValueError(f"{path}: missing or infinite values in {some(bad)}: fill or remove them")
    negative = table.columns[(table < 0).any()]
    if len(negative):
        raise ValueError(f"{path}: negative values in {some(negative)}: linear values (TPM) are needed, not logarithms")
    if table.to_numpy().max() <= LARGEST_LOG:
        raise ValueError(f"{path}: the largest value is {table.to_numpy().max():.3g}, so the values look like "
                         "logarithms: give linear values (TPM)")
    table, mapped = with_symbols(table, path, gene_map)
    upper = table.index.str.upper()
    copies = upper.duplicated(keep=False)
    silent = ~copies & (table == 0).all(axis=1).to_numpy()
    for what, left_out in (("rows of repeated genes (all copies)", copies), ("genes that are zero everywhere", silent)):
        if left_out.any():
            notes.append(f"{path.name}: left out {left_out.sum()} {what}: {some(dict.fromkeys(table.index[left_out]))}")
    return table[~copies & ~silent], mapped + notes


def with_symbols(table, path, gene_map):
    """The table with symbols for Ensembl ids, where it has them, and lines about those without a symbol."""
    is_ensembl = table.index.str.fullmatch(ENSEMBL)
    if is_ensembl.mean() < .5:
        return table, []
    if gene_map is None:
        raise ValueError(f"{path}: genes are Ensembl ids ({some(table.index)}): give --gene-map FILE, two columns, "
                         "Ensembl id and symbol, for example exported from Ensembl BioMart")
    symbols = table.index.str.replace(r"\.\d+$", "", regex=True).map(gene_map)
    unknown = symbols.isna()
    if unknown.all():
        raise ValueError(f"{path}: none of its genes ({some(table.index)}) is in the first column of the gene map")
    notes = [f"{path.name}: {unknown.sum()} Ensembl ids without a symbol left out: {some(table.index[unknown])}"]
    return table[~unknown].set_axis(symbols[~unknown]), notes if unknown.any() else []


def read_gene_map(path):
    """Series Ensembl id (no version) -> symbol from a two-column table, with or without a header."""
    separator = "," if path.suffix == ".csv" else "\t"
    table = pd.read_csv(path, sep=separator, header=None, dtype=str)
    if table.shape[1] != 2:
        raise ValueError(f"{path} has {table.shape[1]} columns: Ensembl id and symbol are needed")
    table = table[table[0].str.fullmatch(ENSEMBL, na=False)].dropna()
    ids = table[0].str.replace(r"\.\d+$", "", regex=True)
    return pd.Series(table[1].to_numpy(), index=ids)[~ids.duplicated().to_numpy()]


def check_cell_types(names, path):
    """Cell types become folder names: refuse those that cannot."""
    for name in names:
        if not name.strip() or name.strip() != name or "/" in name or ".." in name or not name.isprintable():
            raise ValueError(f"{path}: cell type {name!r} cannot name a folder: no '/', '..', control characters "
                             "or blanks at the ends")


def some(names, n=5):
    """The first n names, and how many more."""
    names = list(map(str, names))
    return ", ".join(names[:n]) + (f" and {len(names) - n} more" if len(names) > n else "")
