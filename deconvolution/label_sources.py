"""Where labels come from: expression of every gene in every patient per cell type, and fractions."""
from dataclasses import dataclass

import h5py
import numpy as np
import pandas as pd

import expression_file
import expression_table
from target_labels import BULK


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
    with h5py.File(files["expression.h5"], "r") as file:
        cell_types, genes, patients = (expression_file.names(file, name)
                                       for name in ("cell_types", "genes", "patient_ids"))
        method = file.attrs["method"]
    confidence = in_order(files["confidence_score.txt"], genes, cell_types)
    abundance = in_order(files["estimated_cell_fractions.txt"], patients, cell_types)

    def tables():
        with h5py.File(files["expression.h5"], "r") as file:
            for k, cell_type in enumerate(cell_types):
                yield cell_type, genes, file["expression"][k], confidence[cell_type].to_numpy()
            if with_bulk:
                yield BULK, genes, file["bulk"][:], np.ones(len(genes))

    return Labels(method, patients, abundance, tables())


def in_order(path, rows, columns):
    """Table of a text file with the given rows and columns, which must be the same sets."""
    table = expression_table.read(path)
    for what, have, want in (("rows", table.index, rows), ("columns", table.columns, columns)):
        different = set(have) ^ set(want)
        if different or len(have) != len(want):
            raise ValueError(f"{path}: its {what} are not those of expression.h5 ({expression_table.some(sorted(different))}"
                             "): run deconvolution/1main_deconvolution.py --overwrite")
    return table.loc[rows, columns]
