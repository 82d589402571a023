"""Bulk expression from what people have, as a table genes x patients of linear values (TPM) under gene symbols.

STAR counts tables are those of the GDC mRNA pipeline (`*.rna_seq.augmented_star_gene_counts.tsv`): a line
`# gene-model: ...`, columns gene_id, gene_name, gene_type, unstranded, ..., tpm_unstranded, ..., and four rows N_*.
Matrices are tables genes x samples of Xena, cBioPortal or one's own.
"""
import numpy as np
import pandas as pd
from tqdm import tqdm

from slide_ex import checksums, numeric_table
from slide_ex.ids import some

GENE_COLUMNS = ["gene_id", "gene_name", "gene_type"]
PAR_Y = "_PAR_Y"      # GENCODE's second copy, always 0, of a gene in the pseudoautosomal regions
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
            model = checksums.of_text("\n".join(star["gene_id"]))
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


def read_matrix(path, log_offset=None):
    """Table genes x samples of a text file; with `log_offset` c its values are log2(x + c) and are undone."""
    table = numeric_table.read(path, left_out=EXTRA_COLUMNS)
    numeric_table.refuse_missing(table, path)
    return numeric_table.linear(table, path, log_offset)


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
    if numeric_table.has_ensembl_ids(table.index):
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
    of_id = genes.set_index(numeric_table.without_version(genes["gene_id"]))
    found = of_id[~of_id.index.duplicated()].reindex(numeric_table.without_version(table.index))
    named = found["gene_name"].fillna("").to_numpy() != ""
    coding = found["gene_type"].eq("protein_coding").to_numpy() if "gene_type" in found else np.ones(len(table), bool)
    counts = {"copies on chromosome Y (_PAR_Y)": second.sum(), "Ensembl ids without a symbol": (~named).sum(),
              "genes that are not protein-coding": (named & ~coding).sum()}
    notes = [f"{n} {what} left out" for what, n in counts.items() if n]
    if "gene_type" not in found:
        notes.append("the gene map has no gene_type: genes that are not protein-coding are kept")
    return table[named & coding].set_axis(found["gene_name"][named & coding]), notes
