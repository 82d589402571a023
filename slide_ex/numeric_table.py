"""Tables of numbers with gene names in the first column: read, checked, and in one line what is wrong.

The one gate for genes x samples (bulk, signature, reference) and for tables of fractions, from whatever tool.
"""

import numpy as np
import pandas as pd

from slide_ex import text_table
from slide_ex.ids import some

ENSEMBL = r"ENS[A-Z]*G\d{6,}(?:\.\d+)?(?:_PAR_Y)?"
VERSION = r"\.\d+$"    # of an Ensembl id
LARGEST_LOG = 25       # log2 of a million is 20: linear TPM of a whole sample has values far above
MISSING = ["", "NA", "NaN", "nan"]
GENE_MAP_COLUMNS = {"gene_id": ("gene_id", "id", "Ensembl_ID", "Gene stable ID"),  # GDC, Xena probe map, BioMart
                    "gene_name": ("gene_name", "gene", "symbol", "Gene name"),
                    "gene_type": ("gene_type", "Gene type")}


def find(project_path, name):
    """Path of <name>.tsv or <name>.tsv.gz in the project folder, or None; ValueError where both are there."""
    found = [path for path in (project_path / f"{name}.tsv", project_path / f"{name}.tsv.gz") if path.is_file()]
    if len(found) == 2:
        raise ValueError(f"both {found[0].name} and {found[1].name} in {project_path}: remove one")
    return found[0] if found else None


def header(path, separator=None):
    """The cells of the first line."""
    try:
        line = pd.read_csv(path, nrows=1, dtype=str, keep_default_na=False, header=None, encoding="utf-8-sig",
                           sep=separator or text_table.separator_of(path))
    except text_table.NOT_A_TABLE as error:
        raise ValueError(f"{path} is no readable table: {error}") from error
    return line.iloc[0].tolist()


def samples(path, left_out=()):
    """Names of the columns of a table genes x samples, without that of the genes and those `left_out`."""
    return [name for name in header(path)[1:] if name not in left_out]


def read(path, separator=None, left_out=()):
    """Table of numbers (rows x columns, names as strings) from tab-, comma- or space-separated text.

    The first column holds the row names; its header may be anything or missing, as R writes it. Without `separator`
    it is the tab, or the comma in a .csv. Columns named in `left_out` are skipped, whatever they hold. Raises
    ValueError that names file, rows and columns.
    """
    separator = separator or text_table.separator_of(path)
    names = header(path, separator)
    try:
        table = pd.read_csv(path, skiprows=1, index_col=0, dtype={0: str}, keep_default_na=False, na_values=MISSING,
                            sep=separator, header=None, encoding="utf-8-sig", low_memory=False)
    except text_table.NOT_A_TABLE as error:
        raise ValueError(f"{path} is no readable table: {error}") from error
    table.columns = columns = names[len(names) - table.shape[1]:] if len(names) >= table.shape[1] else []
    if len(names) - table.shape[1] not in (0, 1) or table.empty:
        raise ValueError(f"{path}: {len(names)} names in the first line, {table.shape[1]} columns of numbers below; "
                         f"a table separated by {separator!r} with names in the first line and column is needed")
    repeated = sorted({column for column in columns if columns.count(column) > 1})
    if repeated:
        raise ValueError(f"{path}: column names occur twice: {some(repeated)}")
    table = table.drop(columns=[column for column in left_out if column in table])
    text = [column for column in table if not pd.api.types.is_numeric_dtype(table[column])]
    if text:
        raise ValueError(f"{path}: columns with something that is no number: {some(text)}: "
                         "correct or remove them")
    table.index = table.index.astype(str).rename(None)
    return table.astype(float)


def refuse_missing(table, path):
    """ValueError for values that are missing or infinite."""
    bad = table.columns[~np.isfinite(table).all()]
    if len(bad):
        raise ValueError(f"{path}: missing or infinite values in {some(bad)}: fill or remove them")


def checked(table, path, gene_map=None):
    """The table (genes x samples or types) with usable genes only, and lines that say what was left out.

    Symbols are kept as they are written; copies are recognised, and later joined, in upper case. `gene_map` (table of
    `read_gene_map`) translates Ensembl ids.
    """
    notes = []
    refuse_missing(table, path)
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


def has_ensembl_ids(names):
    """Whether most of the names (Index) are ids of Ensembl."""
    return names.str.fullmatch(ENSEMBL).mean() >= .5


def without_version(ensembl_ids):
    return ensembl_ids.str.replace(VERSION, "", regex=True)


def with_symbols(table, path, gene_map):
    """The table with symbols for Ensembl ids, where it has them, and lines about those without a symbol."""
    if not has_ensembl_ids(table.index):
        return table, []
    if gene_map is None:
        raise ValueError(f"{path}: genes are Ensembl ids ({some(table.index)}): give --gene-map FILE, two columns, "
                         "Ensembl id and symbol, for example exported from Ensembl BioMart")
    known = pd.Series(gene_map["gene_name"].to_numpy(), without_version(gene_map["gene_id"]))
    symbols = without_version(table.index).map(known[~known.index.duplicated()])
    unknown = symbols.isna()
    if unknown.all():
        raise ValueError(f"{path}: none of its genes ({some(table.index)}) is in the first column of the gene map")
    notes = [f"{path.name}: {unknown.sum()} Ensembl ids without a symbol left out: {some(table.index[unknown])}"]
    return table[~unknown].set_axis(symbols[~unknown]), notes if unknown.any() else []


def read_gene_map(path):
    """gene_id, gene_name and, where there, gene_type.

    Of a STAR counts table of GDC, a Xena probe map, a BioMart export, or of two columns without a header.
    """
    with open(path, encoding="utf-8-sig") as file:
        skipped = int(file.readline().startswith("#"))
    table = text_table.read_strings(path, "a gene map", skipped)
    renamed = {name: ours for ours, names in GENE_MAP_COLUMNS.items() for name in names if name in table}
    if {"gene_id", "gene_name"} <= set(renamed.values()):
        return table.rename(columns=renamed)[list(dict.fromkeys(renamed.values()))]
    if table.shape[1] != 2:
        raise ValueError(f"{path} has columns {some(table, 8)}: a gene map needs gene_id and gene_name (and gene_type "
                         "to keep protein-coding genes only), or two columns, Ensembl id and symbol; any STAR counts "
                         "table of GDC will do")
    pairs = pd.concat([pd.DataFrame([list(table)]), table.set_axis([0, 1], axis=1)], ignore_index=True)
    pairs = pairs[pairs[0].str.fullmatch(ENSEMBL) & (pairs[1] != "")]
    return pairs.set_axis(["gene_id", "gene_name"], axis=1).reset_index(drop=True)


def linear(table, path, log_offset=None):
    """Linear values of a table; with `log_offset` c it holds log2(x + c). ValueError where it looks otherwise."""
    largest, smallest = table.to_numpy().max(), table.to_numpy().min()
    if log_offset is None:
        if largest <= LARGEST_LOG or smallest < 0:
            raise ValueError(f"{path}: values from {smallest:.3g} to {largest:.3g} look like logarithms: give --log2 "
                             "if they are log2(x + 1), --log2 0.001 if log2(x + 0.001), or a table of TPM")
        return table
    if largest > LARGEST_LOG:
        raise ValueError(f"{path}: the largest value is {largest:.3g}, too large for a logarithm: leave out --log2")
    return (np.exp2(table) - log_offset).clip(lower=0)
