"""Bulk expression from what people have, as a table genes x patients of linear values (TPM) under gene symbols.

STAR counts tables are those of the GDC mRNA pipeline (`*.rna_seq.augmented_star_gene_counts.tsv`): a line
`# gene-model: ...`, columns gene_id, gene_name, gene_type, unstranded, ..., tpm_unstranded, ..., and four rows N_*.
Matrices are tables genes x samples of Xena, cBioPortal or one's own.
"""
import hashlib

import numpy as np
import pandas as pd
from tqdm import tqdm

from slide_ex.ids import some
from slide_ex.text_table import read_strings, separator_of

GENE_COLUMNS = ["gene_id", "gene_name", "gene_type"]
GENE_MAP_COLUMNS = {"gene_id": ("gene_id", "id", "Ensembl_ID", "Gene stable ID"),  # GDC, Xena probe map, BioMart
                    "gene_name": ("gene_name", "gene", "symbol", "Gene name"),
                    "gene_type": ("gene_type", "Gene type")}
ENSEMBL = r"ENSG\d{6,}(?:\.\d+)?(?:_PAR_Y)?"
VERSION = r"\.\d+$"    # of an Ensembl id
PAR_Y = "_PAR_Y"      # GENCODE's second copy, always 0, of a gene in the pseudoautosomal regions
LARGEST_LOG = 25      # log2 of a million is 20; linear TPM of a whole sample has values far above
EXTRA_COLUMNS = ("Entrez_Gene_Id", "ENTREZID", "Description")  # of cBioPortal and GCT-like tables, no samples


def read_star(path, columns):
    """Some columns, gene_id among them, of the genes of one STAR counts table."""
    try:
        with open(path, encoding="utf-8") as file:
            skipped = file.readline().startswith("#")
        table = pd.read_csv(path, sep="\t", skiprows=int(skipped), usecols=columns, keep_default_na=False,
                            na_values={"tpm_unstranded": [""]})
    except (ValueError, OSError) as error:
        raise ValueError(f"it is no STAR counts table of GDC ({error})") from None
    table = table[~table["gene_id"].str.startswith("N_")]
    if table.empty or table.isna().any(axis=None):
        raise ValueError("it is truncated: genes without TPM")
    return table.reset_index(drop=True)


def read_star_files(paths):
    """TPM from {patient: path}; files that cannot be used do not stop the others.

    Returns
    -------
    table : DataFrame (n_genes, n_patients), index gene_id
    genes : DataFrame gene_id, gene_name, gene_type
    problems : dict of patient to str
    """
    values, models, gene_tables, problems = {}, {}, {}, {}
    for patient, path in tqdm(paths.items(), unit="file", disable=None):
        try:
            star = read_star(path, ["gene_id", "tpm_unstranded"])
            model = hashlib.sha256("\n".join(star["gene_id"]).encode()).hexdigest()
            if model not in gene_tables:
                gene_tables[model] = read_star(path, GENE_COLUMNS)
        except ValueError as error:
            problems[patient] = str(error)
            continue
        models[patient], values[patient] = model, star["tpm_unstranded"].to_numpy(np.float32)
    if not values:
        raise ValueError(f"none of {len(paths)} expression files can be read: {next(iter(problems.values()))}")
    usual = pd.Series(models).mode()[0]
    for patient in [patient for patient, model in models.items() if model != usual]:
        problems[patient] = (f"it has {len(values.pop(patient))} genes, most files have {len(gene_tables[usual])}: "
                             "truncated, or of another gene model")
    genes = gene_tables[usual]
    return pd.DataFrame(values, index=genes["gene_id"]), genes, problems


def read_samples(path, n_rows=None):
    """Table genes x samples of a text file, as it is; `n_rows` for its first rows only."""
    try:
        table = pd.read_csv(path, sep=separator_of(path), index_col=0, low_memory=False, nrows=n_rows)
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"{path} is no readable table genes x samples: {error}") from None
    return table.drop(columns=[column for column in EXTRA_COLUMNS if column in table])


def read_matrix(path, log_offset=None):
    """Table genes x samples of a text file; with `log_offset` c its values are log2(x + c) and are undone."""
    table = read_samples(path)
    text = [column for column in table if not pd.api.types.is_numeric_dtype(table[column])]
    if text or table.empty:
        raise ValueError(f"{path}: numbers are needed below gene names in the first column; columns without: "
                         f"{some(text) or 'all'}")
    table.index, table.columns = table.index.astype(str), table.columns.astype(str)
    bad = table.columns[~np.isfinite(table).all()]
    if len(bad):
        raise ValueError(f"{path}: missing or infinite values in {some(bad)}: fill or remove them")
    return linear(table, path, log_offset)


def linear(table, path, log_offset):
    """Linear values of a table; ValueError when they do not look like what the user declared."""
    largest, smallest = table.to_numpy().max(), table.to_numpy().min()
    if log_offset is None:
        if largest <= LARGEST_LOG or smallest < 0:
            raise ValueError(f"{path}: values from {smallest:.3g} to {largest:.3g} look like logarithms: give --log2 "
                             "if they are log2(x + 1), --log2 0.001 if log2(x + 0.001), or a table of TPM")
        return table
    if largest > LARGEST_LOG:
        raise ValueError(f"{path}: the largest value is {largest:.3g}, too large for a logarithm: leave out --log2")
    return (np.exp2(table) - log_offset).clip(lower=0)


def read_gene_map(path):
    """gene_id, gene_name and, where there, gene_type: of a STAR counts table, a Xena probe map, a BioMart export."""
    with open(path, encoding="utf-8") as file:
        skipped = file.readline().startswith("#")
    table = read_strings(path, "a gene map", int(skipped))
    renamed = {name: ours for ours, names in GENE_MAP_COLUMNS.items() for name in names if name in table}
    if not {"gene_id", "gene_name"} <= set(renamed.values()):
        raise ValueError(f"{path} has columns {some(table, 8)}: a gene map needs gene_id and gene_name (and gene_type "
                         "to keep protein-coding genes only); any STAR counts table of GDC will do")
    return table.rename(columns=renamed)[list(dict.fromkeys(renamed.values()))]


def under_symbols(table, path, genes=None):
    """The table under gene symbols, protein-coding genes only where types are known, without repeated symbols.

    Parameters
    ----------
    table : DataFrame (n_genes, n_samples), index Ensembl ids or symbols
    genes : DataFrame gene_id, gene_name[, gene_type], or None

    Returns
    -------
    table, notes : DataFrame and list of str, what was left out
    """
    notes = []
    if table.index.str.fullmatch(ENSEMBL).mean() > .5:
        table, notes = mapped(table, path, genes)
    elif genes is not None and "gene_type" in genes:
        coding = set(genes["gene_name"][genes["gene_type"] == "protein_coding"])
        notes.append(f"{(~table.index.isin(coding)).sum()} genes that are not protein-coding left out")
        table = table[table.index.isin(coding)]
    elif genes is None:
        notes.append("gene types are not known, all genes are kept: give --gene-map for protein-coding genes only")
    copies = table.index.str.upper().duplicated(keep=False)
    if copies.any():
        notes.append(f"{copies.sum()} rows of {table.index[copies].str.upper().nunique()} symbols that occur more than "
                     f"once left out: {some(dict.fromkeys(table.index[copies]))}")
    if copies.all():
        raise ValueError(f"{path}: no gene is left ({'; '.join(notes)})")
    return table[~copies].rename_axis("gene"), notes


def mapped(table, path, genes):
    """The rows of a table of Ensembl ids that are protein-coding genes with a symbol, under it; and notes."""
    if genes is None:
        raise ValueError(f"{path}: genes are Ensembl ids ({some(table.index, 3)}): give --gene-map FILE with gene_id "
                         "and gene_name; any STAR counts table of GDC or the Xena probe map will do")
    second = table.index.str.endswith(PAR_Y)
    table = table[~second]
    genes = genes[~genes["gene_id"].str.endswith(PAR_Y)]
    of_id = genes.set_index(genes["gene_id"].str.replace(VERSION, "", regex=True))
    found = of_id[~of_id.index.duplicated()].reindex(table.index.str.replace(VERSION, "", regex=True))
    named = found["gene_name"].fillna("").to_numpy() != ""
    coding = found["gene_type"].eq("protein_coding").to_numpy() if "gene_type" in found else np.ones(len(table), bool)
    counts = {"copies on chromosome Y (_PAR_Y)": second.sum(), "Ensembl ids without a symbol": (~named).sum(),
              "genes that are not protein-coding": (named & ~coding).sum()}
    notes = [f"{n} {what} left out" for what, n in counts.items() if n]
    if "gene_type" not in found:
        notes.append("the gene map has no gene_type: genes that are not protein-coding are kept")
    return table[named & coding].set_axis(found["gene_name"][named & coding]), notes
