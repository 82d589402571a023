"""Where labels come from: expression of every gene in every patient per cell type, and fractions."""
import logging
import re
from dataclasses import dataclass

import numpy as np
import pandas as pd

from slide_ex import expression_scale, gene_table, hdf5, ids, numeric_table
from slide_ex.ids import counted, some
from slide_ex.project import expression_file
from sources import fraction_table

FRACTIONS, CONFIDENCE = "estimated_cell_fractions.txt", "confidence_score.txt"
TABLE = re.compile(r"(.+)\.(?:tsv|csv|txt)(?:\.gz)?")
HIGH_RESOLUTION = re.compile(r"CIBERSORTxHiRes_[^_]+_(.+?)_Window\d+")    # how CIBERSORTx names its tables


@dataclass
class Labels:
    """method: what made them; patient_ids; abundance: fractions (patients x cell types);
    tables: iterable of (cell type, genes, expression (n_genes, n_patients) linear, confidence (n_genes,))."""
    method: str
    patient_ids: list
    abundance: pd.DataFrame
    tables: object


@dataclass(frozen=True)
class Said:
    """What the user says of the tables of another tool: genes are in rows; log2_offset c of values log2(x + c), or
    None; fractions do not sum to 1; expression is to be divided by the fraction of its cell type."""
    genes_in_rows: bool = False
    log2_offset: float | None = None
    scale_fractions: bool = False
    divide_by_fractions: bool = False


def from_deconvolution(files, with_bulk):
    """Labels from the outputs of 1main_deconvolution.py, {file name: path}; `with_bulk` adds bulk as a cell type."""
    cell_types, genes, patients = expression_file.read_names(files["expression.h5"])
    method = expression_file.read_record(files["expression.h5"])["method"]
    confidence = in_order(numeric_table.read(files[CONFIDENCE]), files[CONFIDENCE], genes, cell_types)
    refuse_no_confidence(confidence, files[CONFIDENCE])
    abundance = in_order(fraction_table.read(files[FRACTIONS])[0], files[FRACTIONS], patients, cell_types)

    def tables():
        with hdf5.reading(files["expression.h5"], expression_file.MADE_BY) as file:
            for k, cell_type in enumerate(cell_types):
                yield cell_type, genes, file["expression"][k], confidence[cell_type].to_numpy()
            if with_bulk:
                yield ids.BULK, genes, file["bulk"][:], np.ones(len(genes))

    return Labels(method, patients, abundance, tables())


def in_order(table, path, rows, columns):
    """A table with the given rows and columns, which must be the same sets."""
    for what, have, want in (("rows", table.index, rows), ("columns", table.columns, columns)):
        different = set(have) ^ set(want)
        if different or len(have) != len(want):
            raise ValueError(f"{path}: its {what} are not those of expression.h5: "
                             f"{some(sorted(different))}: run 1main_deconvolution.py --overwrite")
    return table.loc[rows, columns]


def refuse_no_confidence(table, path):
    """ValueError for confidence outside 0..1 or missing."""
    bad = table.columns[~((table >= 0) & (table <= 1)).all()]
    if len(bad):
        raise ValueError(f"{path}: confidence that is missing or outside 0..1 in {some(bad)}")


def table_files(folder):
    """{file name: path} of labels made by another tool: `<cell type>.<tsv, csv or txt>[.gz]`, one table a cell type,
    estimated_cell_fractions.txt and perhaps confidence_score.txt."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder: give the folder with {FRACTIONS} and a table a cell type")
    found = {path.name: path for path in sorted(folder.glob("*")) if TABLE.fullmatch(path.name)}
    if FRACTIONS not in found:
        raise FileNotFoundError(f"no {FRACTIONS} (patients x cell types, tab-separated) in {folder}")
    if not set(found) - {FRACTIONS, CONFIDENCE}:
        raise FileNotFoundError(f"no <cell type>.tsv, .csv or .txt in {folder}")
    return found


def cell_types_of(files, fractions, path):
    """{file name: cell type} of the tables; ValueError for one without fractions, a line for fractions without one."""
    found = {}
    for name in files:
        if name not in (FRACTIONS, CONFIDENCE):
            stem = TABLE.fullmatch(name)[1]
            written = match[1] if (match := HIGH_RESOLUTION.fullmatch(stem)) else stem
            alike = [own for own in fractions if match and ids.bare(own) == ids.bare(written)]
            found[name] = alike[0] if len(alike) == 1 else written
    ids.refuse_cell_types(found.values(), path.parent, allowed=[ids.BULK])
    names = set(found.values()) - {ids.BULK}
    if len(set(found.values())) < len(found):
        raise ValueError(f"{path.parent}: two tables of one cell type among {some(sorted(found))}: remove one")
    unknown = sorted(names - set(fractions))
    if unknown:
        raise ValueError(f"{path} has no fractions of {ids.with_near_matches(unknown, fractions)}: its columns must be "
                         "the cell types of the tables; is it cut off, or a table none of a cell type?")
    without = [name for name in fractions if name not in names]
    if without:
        logging.info(f"no table of expression, abundance only: {some(without)}")
    return found


def from_tables(files, said, method):
    """Labels from tables of another tool, {file name: path}: patients x genes, or genes x patients (see Said).

    Confidence is 1 where there is no confidence_score.txt. Patients must be the same everywhere."""
    abundance, notes = fraction_table.read(files[FRACTIONS], said.scale_fractions)
    for note in notes:
        logging.info(note)
    abundance = abundance.div(abundance.sum(axis=1), axis=0)
    cell_types = cell_types_of(files, list(abundance), files[FRACTIONS])
    confidence = numeric_table.read(files[CONFIDENCE]) if CONFIDENCE in files else None
    if confidence is not None:
        refuse_no_confidence(confidence, files[CONFIDENCE])

    def tables():
        for name, cell_type in cell_types.items():
            table = read_table(files[name], abundance.index, said)
            if said.divide_by_fractions and cell_type != ids.BULK:
                table = divided(table, abundance[cell_type])
            scores = np.ones(len(table))
            if confidence is not None:
                if cell_type not in confidence or not table.index.isin(confidence.index).all():
                    raise ValueError(f"{files[CONFIDENCE]} lacks {cell_type} or some of its genes")
                scores = confidence.loc[table.index, cell_type].to_numpy()
            yield cell_type, table.index.tolist(), table.to_numpy(), scores

    return Labels(method, abundance.index.tolist(), abundance, tables())


def read_table(path, patients, said):
    """One cell type's expression (genes x patients), linear, checked; genes without values are dropped with a line."""
    if said.genes_in_rows:
        genes = gene_table.read(path)
    else:
        table = numeric_table.read(path).T.rename(columns=ids.with_dashes)
        genes = gene_table.Genes(table, pd.DataFrame(index=table.index))
    different = set(genes.values.columns) ^ set(patients)
    if different:
        where = "columns (leave out --genes-in-rows)" if said.genes_in_rows else "rows (--genes-in-rows)"
        raise ValueError(f"{path}: its patients are not those of {FRACTIONS}: {some(sorted(different))}; are genes in "
                         f"{where}?")
    if not genes.values.columns.is_unique:
        raise ValueError(f"{path}: a patient is there twice: keep one row a patient")
    genes.values = genes.values[patients]
    lacking = genes.values.isna().any(axis=1).to_numpy()
    if lacking.all():
        raise ValueError(f"{path}: every gene has missing values")
    if lacking.any():
        logging.info(f"{path.name}: genes with missing values dropped: {counted(genes.values.index[lacking])}")
        genes.values, genes.annotation = genes.values[~lacking], genes.annotation[~lacking]
    table, notes = gene_table.checked(genes, path, scale=expression_scale.Declared(said.log2_offset))
    for note in notes:
        logging.info(note)
    return table


def divided(table, fractions):
    """Expression (genes x patients) per cell of the type: divided by its fraction, times the mean fraction, so that the
    level stays. Patients without such cells get the mean of the others, which says nothing about them."""
    share = fractions.to_numpy()
    with_cells = share > 0
    table = table.multiply(np.divide(share.mean(), share, out=np.zeros(len(share)), where=with_cells), axis=1)
    mean = table.loc[:, with_cells].mean(axis=1).to_numpy()[:, None]
    return pd.DataFrame(np.where(with_cells, table, mean), table.index, table.columns)
