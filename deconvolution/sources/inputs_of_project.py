"""Bulk, signature and reference of a project, checked and joined by gene symbol and cell type."""
from dataclasses import dataclass

import numpy as np
import pandas as pd

from slide_ex import expression_scale, gene_names, gene_table, ids
from slide_ex.ids import some
from sources import fraction_table

OTHER_SCALE = 2        # samples whose total is this many times off the median are put on the median's scale
CONDITION_DOUBTFUL = 30  # of the signature with columns of length 1 (Belsley, Kuh and Welsch 1980)
CONDITION_HOPELESS = 1e6
MIN_MARKERS = 10


@dataclass
class Inputs:
    """bulk (genes x patients); markers: rows of bulk that the signature is about; signature (markers x cell types);
    reference (genes of bulk x cell types; NaN rows without one); notes: what the user should know, one line each."""
    bulk: pd.DataFrame
    markers: np.ndarray
    signature: pd.DataFrame
    reference: pd.DataFrame
    notes: list


def paths(project_path):
    """{name: path} of the input tables of a project; the reference is optional."""
    found = {name: gene_table.find(project_path, name) for name in ("bulk_expression", "signature", "reference")}
    for name in ("bulk_expression", "signature"):
        if found[name] is None:
            raise FileNotFoundError(f"no {name}.tsv or {name}.tsv.gz in {project_path}: see data/README.md")
    return {name: path for name, path in found.items() if path}


def load(files, gene_map, min_markers_found, scale):
    """Inputs from {name: path}, as `paths` gives them; `gene_map`: path of a table or None; `scale` of bulk:
    expression_scale.Declared. Raises ValueError for what cannot be used."""
    gene_map = gene_names.read_gene_map(gene_map) if gene_map else None
    tables, notes = {}, []
    for name, path in files.items():
        tables[name], about = gene_table.checked(gene_table.read(path), path, gene_map,
                                                    scale if name == "bulk_expression" else expression_scale.Declared())
        notes += about
    bulk, about = on_one_scale(tables["bulk_expression"], files["bulk_expression"])
    notes += about + check_signature(tables["signature"], files["signature"])
    place = pd.Series(np.arange(len(bulk)), index=bulk.index.str.upper())
    signature = tables["signature"]
    found = place.reindex(signature.index.str.upper())
    check_overlap(found, bulk, signature, files, min_markers_found)
    notes += about_missing_markers(signature, found.isna().to_numpy(), bulk)
    signature = signature[found.notna().to_numpy()]
    silent = signature.columns[(signature == 0).all()]
    if len(silent):
        raise ValueError(f"{files['signature']}: no gene of bulk is a marker of {some(silent)}")
    reference, about = full_reference(tables.get("reference"), signature, files)
    notes += about
    by_symbol = reference.set_axis(reference.index.str.upper())
    reference = by_symbol.reindex(bulk.index.str.upper()).set_axis(bulk.index)
    return Inputs(bulk, found.dropna().to_numpy(int), signature, reference, notes)


def on_one_scale(bulk, path):
    """Bulk with samples of a strange total brought to the median total, and a line about them."""
    if bulk.shape[1] < 3:
        raise ValueError(f"{path}: {bulk.shape[1]} patients are too few to deconvolve")
    total = bulk.sum()
    if (total == 0).any():
        raise ValueError(f"{path}: patients without any expression: {some(bulk.columns[total == 0])}: remove them")
    ratio = total / total.median()
    strange = (ratio > OTHER_SCALE) | (ratio < 1 / OTHER_SCALE)
    if not strange.any():
        return bulk, []
    return bulk / ratio.where(strange, 1), [f"{path.name}: {strange.sum()} patients have totals far from the others' "
                                            f"and were scaled to their median: {some(bulk.columns[strange])}"]


def check_signature(signature, path):
    """Lines about a signature that is hard to use; ValueError for one that cannot be used."""
    ids.refuse_cell_types(signature.columns, path)
    if signature.shape[1] < 2:
        raise ValueError(f"{path}: at least two cell types are needed")
    if (signature.sum() == 0).any():
        raise ValueError(f"{path}: nothing but zeros for {some(signature.columns[signature.sum() == 0])}")
    _, strength, directions = np.linalg.svd(signature / np.linalg.norm(signature, axis=0), full_matrices=False)
    pair = sorted(signature.columns[np.argsort(-np.abs(directions[-1]))[:2]])
    if strength[-1] * CONDITION_HOPELESS < strength[0]:
        raise ValueError(f"{path}: {pair[0]} and {pair[1]} cannot be told apart (singular signature): merge them")
    if strength[-1] * CONDITION_DOUBTFUL < strength[0]:
        return [f"{path.name}: {pair[0]} and {pair[1]} are nearly collinear (condition number "
                f"{strength[0] / strength[-1]:.0f}): do not trust how they are told apart"]
    return []


def check_overlap(found, bulk, signature, files, min_markers_found):
    """Refuse when too few genes of the signature are in bulk."""
    paths_ = f"{files['signature']} and {files['bulk_expression'].name}"
    if found.notna().sum() == 0 and signature.index.str.upper().isin(bulk.columns.str.upper()).any():
        raise ValueError(f"{files['bulk_expression']} has patients in rows: transpose it, genes in rows and patients "
                         "in columns")
    if found.notna().sum() == 0:
        raise ValueError(f"{paths_} have no gene in common (for example {some(signature.index, 3)} against "
                         f"{some(bulk.index, 3)}): both need gene symbols")
    if found.notna().mean() < min_markers_found or found.notna().sum() < MIN_MARKERS:
        raise ValueError(f"{found.isna().sum()} of {len(found)} genes of {paths_} ({found.isna().mean():.0%}) are "
                         f"missing in bulk: {some(signature.index[found.isna()])}; is the signature of this tissue, "
                         "with the same symbols? --min-markers-found lets less pass")


def about_missing_markers(signature, missing, bulk):
    """Lines about genes of the signature that bulk lacks: how many markers each cell type (where they are highest)
    keeps, and which may be there under another symbol."""
    if not missing.any():
        return []
    notes = [f"{missing.sum()} of {len(missing)} genes of the signature are not in bulk"]
    of_type = signature.idxmax(axis=1).to_numpy()
    for cell_type in signature:
        own = of_type == cell_type
        if (own & missing).any():
            lost = gene_names.with_other_symbols(signature.index[own & missing], bulk.index)
            notes.append(f"{cell_type}: {(own & ~missing).sum()} of {own.sum()} markers are in bulk, not: {lost}")
    if any("?)" in note for note in notes):
        notes.append("names with ? are older or newer symbols of one gene (HGNC): rename them in one of the tables")
    return notes


def full_reference(reference, signature, files):
    """The reference with the signature's cell types in its order, and notes; the signature itself where there is none.
    """
    if reference is None:
        return signature, []
    missing = signature.columns.difference(reference.columns)
    if len(missing):
        raise ValueError(f"{files['reference']} lacks cell types of the signature: "
                         + ids.with_near_matches(missing, reference.columns.difference(signature.columns)))
    others = reference.columns.difference(signature.columns)
    return reference[signature.columns], [f"{files['reference'].name}: cell types that the signature lacks, not used: "
                                          f"{ids.counted(others)}"] if len(others) else []


def known_fractions(path, data, is_scaled):
    """Given fractions (patients x cell types) in the order of the data, rows summing to 1; notes are added to the data.

    is_scaled : see fraction_table.read
    """
    table, notes = fraction_table.read(path, is_scaled)
    for wanted, there in ((data.bulk.columns, table.index), (data.signature.columns, table.columns)):
        if len(lacking := wanted.difference(there)):
            raise ValueError(f"{path} lacks {ids.with_near_matches(lacking, there.difference(wanted))}: patients in "
                             "rows, cell types in columns")
    unknown = table.columns.difference(data.signature.columns)
    if len(unknown):
        raise ValueError(f"{path}: {ids.with_near_matches(unknown, data.signature.columns)} is no cell type of the "
                         "signature: add it there, or give fractions without it that sum to 1")
    data.notes += notes
    if len(others := table.index.difference(data.bulk.columns)):
        data.notes.append(f"{path.name}: patients that are not in bulk, not used: {ids.counted(others)}")
    table = table.loc[data.bulk.columns, data.signature.columns]
    return table.div(table.sum(axis=1), axis=0).to_numpy()
