"""Names of genes: ids of Ensembl and their versions, copies on chromosome Y, old and new symbols, what Excel made of
them.

Sources: Ensembl and GENCODE (stable ids; ENSGR... before GENCODE 25 and _PAR_Y after it are the copies of
pseudoautosomal genes on chromosome Y), HGNC (renamed families), Ziemann et al. 2016 (symbols that became dates).
"""
import re

import numpy as np
import pandas as pd

from slide_ex import text_table
from slide_ex.ids import some

ENSEMBL = r"ENS[A-Z]*GR?\d{6,}(?:\.\d+)?(?:_PAR_Y)?"
VERSION = r"\.\d+$"           # of an Ensembl id
COPY_ON_Y = r"ENSGR\d+.*|ENSG\d+.*_PAR_Y"
TWO_NAMES = r"[^|]+\|[^|]+"   # A1BG|1 of Firehose, ENSG00000121410|A1BG
READS_IN_NO_GENE = r"__[a-z]\w+|N_(?:unmapped|multimapping|noFeature|ambiguous)"   # of HTSeq, and of STAR
MOSTLY = .9                   # share of the names that are of one kind
MONTHS = "Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec"
DATE = (rf"(?i:\d{{1,2}}-(?:{MONTHS})(?:-\d{{2,4}})?|(?:{MONTHS})-\d{{1,2}}"
        r"|\d{4}-\d\d-\d\d.*|\d{1,2}[/.]\d{1,2}[/.]\d{2,4})")
GENE_MAP_COLUMNS = {          # as GDC, Xena, BioMart, biomaRt, featureCounts and others call them, see `plain`
    "gene_id": ("geneid", "id", "ensemblid", "genestableid", "genestableidversion", "ensemblgeneid",
                "ensemblgeneidversion", "ensembl"),
    "gene_name": ("genename", "gene", "symbol", "genesymbol", "hgncsymbol", "externalgenename", "hugosymbol",
                  "featurename", "genesymbols"),
    "gene_type": ("genetype", "genebiotype", "biotype", "featuretype"),
    "length": ("length", "genelength", "effectivelength", "txlength", "transcriptlength",
               "transcriptlengthincludingutrsandcds")}
RENAMED = (                   # symbols before and after: families (regular expressions), and markers of cell types
    (r"SEPT(\d+)", r"SEPTIN\1"), (r"MARCH(\d+)", r"MARCHF\1"), (r"MARC(\d)", r"MTARC\1"), (r"DEC1", "DELEC1"),
    (r"CTGF", "CCN2"), (r"CYR61", "CCN1"), (r"NOV", "CCN3"),
    (r"PVRL(\d)", r"NECTIN\1"), (r"GPR56", "ADGRG1"), (r"EMR(\d)", r"ADGRE\1"), (r"CD97", "ADGRE5"),
    (r"ELTD1", "ADGRL4"), (r"LPHN(\d)", r"ADGRL\1"), (r"GPR116", "ADGRF5"), (r"FAM150B", "ALKAL2"),
    (r"SEPP1", "SELENOP"), (r"SEPW1", "SELENOW"), (r"SELM", "SELENOM"), (r"IL8", "CXCL8"), (r"MLLT4", "AFDN"),
    (r"GNB2L1", "RACK1"), (r"FYB", "FYB1"), (r"TMEM173", "STING1"), (r"MB21D1", "CGAS"), (r"PARK2", "PRKN"),
    (r"GARS", "GARS1"), (r"KIAA1524", "CIP2A"), (r"FAM64A", "PIMREG"), (r"HIST1H4C", "H4C3"), (r"H2AFZ", "H2AZ1"),
    (r"LINC00152", "CYTOR"), (r"KIRREL", "KIRREL1"), (r"PTRF", "CAVIN1"),
    (r"PRKCDBP", "CAVIN3"), (r"SDPR", "CAVIN2"), (r"LHFP", "LHFPL6"), (r"FAM46C", "TENT5C"),
    (r"C10orf10", "DEPP1"), (r"TMEM66", "SARAF"), (r"NGFRAP1", "BEX3"), (r"HN1", "JPT1"), (r"CASC5", "KNL1"))


def plain(name):
    """A name of a column without case and punctuation: 'Gene stable ID' is genestableid."""
    return re.sub(r"[\W_]", "", str(name)).lower()


def column_kind(name):
    """gene_id, gene_name, gene_type or length for a column that is called so; else None."""
    return next((ours for ours, theirs in GENE_MAP_COLUMNS.items() if plain(name) in theirs), None)


# Ids of Ensembl

def has_ensembl_ids(names):
    """Whether most of the names (Index) are ids of Ensembl."""
    return names.str.fullmatch(ENSEMBL).mean() >= .5


def without_version(ensembl_ids):
    return ensembl_ids.str.replace(VERSION, "", regex=True)


def are_copies_on_y(names):
    """Which names (Index or Series) are second copies of genes of the pseudoautosomal regions; bool array."""
    return np.asarray(names.str.fullmatch(COPY_ON_Y), dtype=bool)


# Symbols

def one_name(names):
    """One name where nearly all hold two ('A1BG|1', 'ENSG00000121410|A1BG'): the symbol, "" for '?'; else None."""
    if len(names) == 0 or names.str.fullmatch(TWO_NAMES).mean() < MOSTLY:
        return None
    first, second = (names.str.split("|").str[i].fillna("") for i in (0, 1))
    is_id = pd.Series(first).str.fullmatch(ENSEMBL).mean() > .5
    return pd.Index(second if is_id else first).str.strip().str.replace(r"^\?$", "", regex=True)


def are_dates(names):
    """Which names look like dates, as Excel makes of MARCH1, SEPT2 and DEC1; bool array."""
    return np.asarray(names.str.fullmatch(DATE), dtype=bool)


def newer_symbol(name):
    """The symbol that HGNC gives a gene of RENAMED today; the name itself for other genes."""
    return next((re.sub(old, new, name) for old, new in RENAMED if re.fullmatch(old, name)), name)


def with_other_symbols(names, known):
    """Names for a message, each with the older or newer symbol that is among `known`: 'SEPT6 (SEPTIN6?), ABC'."""
    by_newer = {newer_symbol(name): name for name in known}
    others = [by_newer.get(newer_symbol(name)) for name in names]
    return some(f"{name} ({other}?)" if other else name for name, other in zip(names, others))


# Lists of genes, gene maps

def read_list(path):
    """Names in a file of text, one a line or between blanks, commas or semicolons, each once."""
    names = re.split(r"[\s,;\"]+", "\n".join(text_table.read_lines(path, "a file with one gene a line")))
    return list(dict.fromkeys(filter(None, names)))


def read_gene_map(path):
    """gene_id, gene_name and, where there, gene_type and length, as strings.

    Of a STAR counts table of GDC, a Xena probe map, a BioMart export, or of two columns without a header.
    """
    table = text_table.read_strings(path, "a gene map")
    kinds = {name: column_kind(name) for name in table}
    found = {}
    for name, kind in kinds.items():
        if kind and kind not in found:
            found[kind] = table[name]
    if {"gene_id", "gene_name"} <= set(found):
        return pd.DataFrame(found)
    if table.shape[1] != 2:
        raise ValueError(f"{path} has columns {some(table, 8)}: a gene map needs gene_id and gene_name (and gene_type "
                         "to keep protein-coding genes only), or two columns, Ensembl id and symbol; any STAR counts "
                         "table of GDC will do")
    pairs = pd.concat([pd.DataFrame([list(table)]), table.set_axis([0, 1], axis=1)], ignore_index=True)
    pairs = pairs[pairs[0].str.fullmatch(ENSEMBL) & (pairs[1] != "")]
    return pairs.set_axis(["gene_id", "gene_name"], axis=1).reset_index(drop=True)
