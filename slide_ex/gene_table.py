"""Tables genes x samples (bulk, signature, reference, labels), from whatever tool: the one gate.

What the names mean is in gene_names.py, whether the values are what they are said to be in expression_scale.py.
"""
from dataclasses import dataclass, field

import pandas as pd

from slide_ex import expression_scale, gene_names, ids, numeric_table, text_table
from slide_ex.ids import counted, some

ANNOTATION = {         # names of columns, see gene_names.plain, that describe genes and are no samples
    "entrezgeneid", "entrezid", "entrez", "description", "chr", "chrom", "chromosome", "start", "end", "strand",
    "chromstart", "chromend", "locusid", "cytoband", "transcriptid", "transcriptids", "transcriptidss", "hgncid",
    "genelocus", "refseq", "uniprot", "probeid", "probe", "idref", "geneidentifier", "genedescription", "seqname",
    "chromosomename", "startposition", "endposition", "entrezgene", "ncbigeneid", "entrezgeneidnumber",
    "mean", "median", "sum", "total", "sd", "average",
    "basemean", "log2foldchange", "lfcse", "pvalue", "padj",    # DESeq2
    "logfc", "logcpm", "fdr", "aveexpr", "adjpval"}             # edgeR, limma


@dataclass
class Genes:
    """values (genes x samples) under the names of the first column; annotation: text columns that describe the genes
    (gene_id, gene_name, gene_type, length where there), the same rows; notes: what was understood, one line each."""
    values: pd.DataFrame
    annotation: pd.DataFrame
    notes: list = field(default_factory=list)


def find(project_path, name):
    """Path of <name>.tsv or <name>.tsv.gz in the project folder, or None; ValueError where both are there."""
    found = [path for path in (project_path / f"{name}.tsv", project_path / f"{name}.tsv.gz") if path.is_file()]
    if len(found) == 2:
        raise ValueError(f"both {found[0].name} and {found[1].name} in {project_path}: remove one")
    return found[0] if found else None


def is_annotation(name):
    """Whether a column of that name describes genes."""
    return gene_names.plain(name) in ANNOTATION or gene_names.column_kind(name) is not None


def samples(path):
    """Names of the columns of a table genes x samples, without those that describe the genes."""
    return [ids.with_dashes(name) for name in text_table.layout(path).header[1:] if name and not is_annotation(name)]


def read(path):
    """Genes of a table genes x samples: columns that describe genes are no samples, names are brought to one form."""
    values, annotation = numeric_table.read_parts(path, None, is_annotation)
    notes = []
    if values.shape[1] == 0:
        raise ValueError(f"{path} has no column of values, only {some(annotation)}")
    known = {}
    for name in annotation:
        kind = gene_names.column_kind(name)
        if kind and kind not in known:
            known[kind] = annotation[name].fillna("").str.strip()
    if "gene_name" not in known and "Description" in annotation and gene_names.has_ensembl_ids(values.index):
        words = annotation["Description"].fillna("").str.strip()      # GCT of GTEx: symbols
        if not words.str.contains(" ").any():
            known["gene_name"] = words
    if len(annotation.columns):
        notes.append(f"{path.name}: columns that describe genes are no samples: {some(annotation)}")
    if values.index.str.fullmatch(r"\d+").all() and "gene_name" not in known and "gene_id" not in known:
        raise ValueError(f"{path}: the first column holds numbers ({some(values.index, 3)}), not names of genes: put "
                         "symbols or Ensembl ids there")
    genes = Genes(values, pd.DataFrame(known, values.index), notes)
    under_first_names(genes, path)
    leave_out_other_rows(genes, path)
    values = genes.values
    whole = (values == values.round()).all()
    if whole.any() and whole.mean() < .5 and len(values) > 10:
        odd = values.columns[whole & (values.nunique() > len(values) / 2)]
        if len(odd):
            raise ValueError(f"{path}: {some(odd)} hold whole numbers, other columns do not: they describe genes (ids, "
                             "lengths) or are counts; remove them")
    return genes


def under_first_names(genes, path):
    """Row names that are numbers or two names in one are replaced by the names that they stand beside, with a line."""
    names = genes.values.index
    if names.str.fullmatch(r"\d+").all():
        kind = "gene_id" if "gene_id" in genes.annotation else "gene_name"
        new = pd.Index(genes.annotation[kind].to_numpy())
        genes.notes.append(f"{path.name}: the first column holds numbers; genes are named by a column beside it")
    elif (new := gene_names.one_name(names)) is not None:
        genes.notes.append(f"{path.name}: names such as {names[-1]} are read as {new[-1]}")
    else:
        return
    genes.values, genes.annotation = (table.set_axis(new) for table in (genes.values, genes.annotation))


def leave_out_other_rows(genes, path):
    """Rows that are no genes go, with a line: those without a name, without a value in any sample (cBioPortal), and
    what counting programs write below the genes."""
    for what, are_so in (("without a name", lambda table: table.index.isin(["", *numeric_table.MISSING])),
                         ("without any value", lambda table: table.isna().all(axis=1).to_numpy()),
                         ("of reads in no gene", lambda table: table.index.str.fullmatch(gene_names.READS_IN_NO_GENE))):
        left_out = are_so(genes.values)
        if left_out.all():
            raise ValueError(f"{path}: all rows are {what}: names of genes are needed in the first column, numbers in "
                             "the others")
        if left_out.any():
            names = [name or "''" for name in genes.values.index[left_out]]
            genes.notes.append(f"{path.name}: rows {what} left out: {counted(names)}")
            genes.values, genes.annotation = genes.values[~left_out], genes.annotation[~left_out]


def checked(genes, path, gene_map=None, scale=None):
    """A table (genes x samples or types) under symbols, with usable genes only, and lines that say what was left out.

    Symbols are kept as they are written; copies are recognised, and later joined, in upper case. `genes`: Genes, or a
    table of numbers; `gene_map` (table of gene_names.read_gene_map) translates Ensembl ids; `scale`:
    expression_scale.Declared, by default linear values.
    """
    genes = genes if isinstance(genes, Genes) else Genes(genes, pd.DataFrame(index=genes.index))
    numeric_table.refuse_missing(genes.values, path)
    table, notes = expression_scale.linear(genes.values, path, scale or expression_scale.Declared())
    notes = genes.notes + notes
    table, about = with_symbols(Genes(table, genes.annotation), path, gene_map)
    notes += about
    dates = gene_names.are_dates(table.index)
    upper = table.index.str.upper()
    copies = upper.duplicated(keep=False) & ~dates
    silent = ~copies & ~dates & (table == 0).all(axis=1).to_numpy()
    for what, left_out in (("names that a spreadsheet turned into dates", dates),
                           ("rows of repeated genes (all copies)", copies),
                           ("genes that are zero everywhere", silent)):
        if left_out.any():
            notes.append(f"{path.name}: left out {left_out.sum()} {what}: {some(dict.fromkeys(table.index[left_out]))}")
    table = table[~copies & ~silent & ~dates]
    if table.empty:
        raise ValueError(f"{path}: no gene is left ({'; '.join(notes)})")
    return table, notes


def without_copies_on_y(table, path):
    """The table without the second copies of genes on chromosome Y, and a line about them."""
    second = gene_names.are_copies_on_y(table.index)
    notes = [f"{path.name}: {second.sum()} copies on chromosome Y (_PAR_Y, ENSGR) left out"] if second.any() else []
    return table[~second], notes


def with_symbols(genes, path, gene_map):
    """The table with symbols for Ensembl ids, where it has them, and lines about those without a symbol."""
    if not gene_names.has_ensembl_ids(genes.values.index):
        return genes.values, []
    if gene_map is None and "gene_name" in genes.annotation:
        gene_map = genes.annotation.assign(gene_id=genes.annotation.index)
    if gene_map is None:
        raise ValueError(f"{path}: genes are Ensembl ids ({some(genes.values.index)}): give --gene-map FILE, two "
                         "columns, Ensembl id and symbol, for example exported from Ensembl BioMart")
    table, notes = without_copies_on_y(genes.values, path)
    found = look_up(table.index, gene_map)["gene_name"]
    unknown = found.fillna("").eq("").to_numpy()
    if unknown.all():
        raise ValueError(f"{path}: none of its genes ({some(table.index)}) is in the first column of the gene map")
    if unknown.any():
        notes.append(f"{path.name}: {unknown.sum()} Ensembl ids without a symbol left out: "
                     f"{some(table.index[unknown])}")
    return table[~unknown].set_axis(found[~unknown].to_numpy()), notes


def look_up(ensembl_ids, gene_map):
    """Rows of a gene map for ids of Ensembl, whatever their versions; NaN where it has none."""
    gene_map = gene_map[~gene_names.are_copies_on_y(gene_map["gene_id"])]
    of_id = gene_map.set_axis(gene_names.without_version(gene_map["gene_id"]).to_numpy())
    return of_id[~of_id.index.duplicated()].reindex(gene_names.without_version(ensembl_ids))
