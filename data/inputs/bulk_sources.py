"""Bulk expression from what people have, as a table genes x patients of linear values (TPM) under gene symbols.

STAR counts tables are those of the GDC mRNA pipeline (`*.rna_seq.augmented_star_gene_counts.tsv`): a line
`# gene-model: ...`, columns gene_id, gene_name, gene_type, unstranded, ..., tpm_unstranded, ..., and four rows N_*.
Matrices are tables genes x samples of Xena, cBioPortal or one's own.
"""
import numpy as np
import pandas as pd
from tqdm import tqdm

from slide_ex import checksums, expression_scale, gene_names, gene_table, numeric_table
from slide_ex.ids import some

GENE_COLUMNS = ["gene_id", "gene_name", "gene_type"]


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


def read_matrix(path, scale, is_counts=False, gene_map=None):
    """Genes x samples of a text file in TPM, as gene_table.Genes.

    Parameters
    ----------
    scale : expression_scale.Declared
    is_counts : bool
        The values are counts, to be divided by the lengths of the genes.
    gene_map : table of gene_names.read_gene_map with the lengths, where the file has none; or None
    """
    genes = gene_table.read(path)
    numeric_table.refuse_missing(genes.values, path)
    if is_counts:
        if scale.log2_offset is not None or (genes.values < 0).any(axis=None):
            raise ValueError(f"{path}: --counts needs counts, not logarithms or negative values")
        if expression_scale.are_of_tpm(genes.values.sum()):
            genes.notes.append(f"{path.name}: before lengths were divided out the samples added up to a million: that "
                               "is right of CPM; if these were TPM already, leave out --counts")
        genes.values = expression_scale.tpm(genes.values, lengths(genes, path, gene_map), path)
        genes.notes.append(f"{path.name}: TPM made of counts and lengths of genes")
        return genes
    genes.values, notes = expression_scale.linear(genes.values, path, scale)
    genes.notes += notes
    return genes


def lengths(genes, path, gene_map):
    """Length of each gene, as text: a column of the table, or of the gene map; ValueError where there is none."""
    if "length" in genes.annotation:
        return genes.annotation["length"]
    if gene_map is None or "length" not in gene_map:
        raise ValueError(f"{path}: --counts needs the length of each gene: a column Length (featureCounts writes one), "
                         "or a gene map with one")
    several = gene_map.groupby("gene_id")["length"].nunique() > 1
    if several.any():
        genes.notes.append(f"the gene map has several lengths (of transcripts?) of {several.sum()} genes, the first "
                           f"counts: {some(several.index[several])}")
    if gene_names.has_ensembl_ids(genes.values.index):
        return gene_table.look_up(genes.values.index, gene_map)["length"]
    of_name = gene_map.drop_duplicates("gene_name").set_index("gene_name")["length"]
    return of_name.reindex(genes.values.index)


def under_symbols(genes, path, gene_map=None):
    """The table under gene symbols, protein-coding genes only where types are known, without repeated symbols.

    Parameters
    ----------
    genes : gene_table.Genes, under Ensembl ids or symbols
    gene_map : DataFrame gene_id, gene_name[, gene_type], or None: then that of the table's own columns, if it has them

    Returns
    -------
    table, notes : DataFrame and list of str, what was left out
    """
    table, notes = genes.values, list(genes.notes)
    if gene_names.has_ensembl_ids(table.index):
        if gene_map is None and "gene_name" in genes.annotation:
            gene_map = genes.annotation.assign(gene_id=genes.annotation.index)
        table, about = mapped(table, path, gene_map)
        notes += about
    elif gene_map is not None and "gene_type" in gene_map:
        coding = table.index.isin(gene_map["gene_name"][gene_map["gene_type"] == "protein_coding"])
        unknown = ~table.index.isin(gene_map["gene_name"])
        notes.append(f"{(~coding & ~unknown).sum()} genes that are not protein-coding left out")
        if unknown.any():
            notes.append(f"{unknown.sum()} genes that are not in the gene map left out: {some(table.index[unknown])}")
        table = table[coding]
    elif "gene_type" in genes.annotation:
        coding = genes.annotation["gene_type"].eq("protein_coding").to_numpy()
        notes.append(f"{(~coding).sum()} genes that are not protein-coding left out")
        table = table[coding]
    elif gene_map is None:
        notes.append("gene types are not known, all genes are kept: give --gene-map for protein-coding genes only")
    dates = gene_names.are_dates(table.index)
    if dates.any():
        notes.append(f"{dates.sum()} names that a spreadsheet turned into dates left out: {some(table.index[dates])}")
    table = table[~dates]
    copies = table.index.str.upper().duplicated(keep=False)
    if copies.any():
        notes.append(f"{copies.sum()} rows of {table.index[copies].str.upper().nunique()} symbols that occur more than "
                     f"once left out: {some(dict.fromkeys(table.index[copies]))}")
    if copies.all():
        raise ValueError(f"{path}: no gene is left ({'; '.join(notes)})")
    return table[~copies].rename_axis("gene"), notes


def mapped(table, path, gene_map):
    """The rows of a table of Ensembl ids that are protein-coding genes with a symbol, under it; and notes."""
    if gene_map is None:
        raise ValueError(f"{path}: genes are Ensembl ids ({some(table.index, 3)}): give --gene-map FILE with gene_id "
                         "and gene_name; any STAR counts table of GDC or the Xena probe map will do")
    table, notes = gene_table.without_copies_on_y(table, path)
    found = gene_table.look_up(table.index, gene_map)
    named = found["gene_name"].fillna("").to_numpy() != ""
    coding = found["gene_type"].eq("protein_coding").to_numpy() if "gene_type" in found else np.ones(len(table), bool)
    counts = {"Ensembl ids without a symbol": (~named).sum(),
              "genes that are not protein-coding": (named & ~coding).sum()}
    notes += [f"{n} {what} left out" for what, n in counts.items() if n]
    if "gene_type" not in found:
        notes.append("the gene map has no gene_type: genes that are not protein-coding are kept")
    return table[named & coding].set_axis(found["gene_name"][named & coding].to_numpy()), notes
