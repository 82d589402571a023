"""Where labels come from: expression of every gene in every patient per cell type, and fractions."""
import re
from dataclasses import dataclass

import numpy as np
import pandas as pd

from slide_ex import hdf5, ids, numeric_table
from slide_ex.ids import some
from slide_ex.project import expression_file

FRACTIONS, CONFIDENCE = "estimated_cell_fractions.txt", "confidence_score.txt"
TABLE = re.compile(r"(.+)\.(?:tsv|csv|txt)(?:\.gz)?")


@dataclass
class Labels:
    """method: what made them; patient_ids; abundance: fractions (patients x cell types);
    tables: iterable of (cell type, genes, expression (n_genes, n_patients) linear, confidence (n_genes,))."""
    method: str
    patient_ids: list
    abundance: pd.DataFrame
    tables: object


def from_deconvolution(files, with_bulk):
    """Labels from the outputs of 1main_deconvolution.py, {file name: path}; `with_bulk` adds bulk as a cell type."""
    cell_types, genes, patients = expression_file.read_names(files["expression.h5"])
    method = expression_file.read_record(files["expression.h5"])["method"]
    confidence = in_order(files["confidence_score.txt"], genes, cell_types)
    abundance = in_order(files["estimated_cell_fractions.txt"], patients, cell_types)

    def tables():
        with hdf5.reading(files["expression.h5"], expression_file.MADE_BY) as file:
            for k, cell_type in enumerate(cell_types):
                yield cell_type, genes, file["expression"][k], confidence[cell_type].to_numpy()
            if with_bulk:
                yield ids.BULK, genes, file["bulk"][:], np.ones(len(genes))

    return Labels(method, patients, abundance, tables())


def in_order(path, rows, columns):
    """Table of a text file with the given rows and columns, which must be the same sets."""
    table = numeric_table.read(path)
    for what, have, want in (("rows", table.index, rows), ("columns", table.columns, columns)):
        different = set(have) ^ set(want)
        if different or len(have) != len(want):
            raise ValueError(f"{path}: its {what} are not those of expression.h5: "
                             f"{some(sorted(different))}: run 1main_deconvolution.py --overwrite")
    return table.loc[rows, columns]


def table_files(folder):
    """{file name: path} of labels made by another tool: `<cell type>.<tsv, csv or txt>[.gz]`, one table a cell type,
    estimated_cell_fractions.txt and perhaps confidence_score.txt."""
    found = {path.name: path for path in sorted(folder.glob("*")) if TABLE.fullmatch(path.name)}
    if FRACTIONS not in found:
        raise FileNotFoundError(f"no {FRACTIONS} (patients x cell types, tab-separated) in {folder}")
    if not set(found) - {FRACTIONS, CONFIDENCE}:
        raise FileNotFoundError(f"no <cell type>.tsv, .csv or .txt in {folder}")
    return found


def from_tables(files, genes_in_rows, method):
    """Labels from tables of another tool, {file name: path}: patients x genes, or genes x patients; linear values.

    Confidence is 1 where there is no confidence_score.txt. Patients must be the same everywhere."""
    abundance = numeric_table.read(files[FRACTIONS])
    confidence = numeric_table.read(files[CONFIDENCE]) if CONFIDENCE in files else None

    def tables():
        for name, path in files.items():
            if name in (FRACTIONS, CONFIDENCE):
                continue
            cell_type = TABLE.fullmatch(name)[1]
            ids.refuse_cell_types([cell_type], path, allowed=[ids.BULK])
            table = numeric_table.read(path)
            table = table if genes_in_rows else table.T
            different = set(table.columns) ^ set(abundance.index)
            if different:
                raise ValueError(f"{path}: its patients are not those of {FRACTIONS}: "
                                 f"{some(sorted(different))}; are genes in rows (--genes-in-rows)?")
            table, _ = numeric_table.checked(table[abundance.index], path)
            scores = np.ones(len(table))
            if confidence is not None:
                if cell_type not in confidence or not table.index.isin(confidence.index).all():
                    raise ValueError(f"{files[CONFIDENCE]} lacks {cell_type} or some of its genes")
                scores = confidence.loc[table.index, cell_type].to_numpy()
            yield cell_type, table.index.tolist(), table.to_numpy(), scores

    return Labels(method, abundance.index.tolist(), abundance.div(abundance.sum(axis=1), axis=0), tables())
