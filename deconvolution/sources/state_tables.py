"""States of cell types and donors of the malignant ones in a project: reference_states and reference_donors.

Both are tables genes x '<cell type>: <state>' or '<cell type>: <donor>', linear, as make_signature.py writes them. All
columns of reference_states are used, and of reference_donors those of malignant types: donors differ in their tumours.
"""
import numpy as np
import pandas as pd

from model import reference_states
from slide_ex import gene_names, gene_table
from slide_ex.ids import counted, some

STATES, DONORS = "reference_states", "reference_donors"
BETWEEN = ": "           # of cell type and state in the name of a column


def paths(project_path):
    """{name: path} of the tables that are there."""
    found = {name: gene_table.find(project_path, name) for name in (STATES, DONORS)}
    return {name: path for name, path in found.items() if path}


def read(files, data, gene_map, malignant):
    """States for inputs_of_project.Inputs, to which lines are added; None without any.

    Parameters
    ----------
    files : {name: path}, as `paths` gives them
    gene_map : path of a table, or None
    malignant : list of str, the cell types whose donors are used
    """
    gene_map = gene_names.read_gene_map(gene_map) if gene_map and files else None
    tables = [usable(name, path, data, gene_map, malignant) for name, path in files.items()]
    tables = [table for table in tables if table is not None]
    if not tables:
        return None
    table = pd.concat(tables, axis=1)
    of_type = data.signature.columns.get_indexer([cell_type_of(name, data.signature.columns) for name in table])
    states = reference_states.of_profiles(table.to_numpy(), of_type, data.reference.to_numpy())
    if len(states.of_type) < len(of_type):
        data.notes.append(f"{len(states.of_type)} of {len(of_type)} states and donors are used, of cell types with "
                          "many those that differ most")
    return states


def usable(name, path, data, gene_map, malignant):
    """The columns of one table that are used, on the genes of bulk (NaN where it lacks them), or None."""
    table, notes = gene_table.checked(gene_table.read(path), path, gene_map)
    cell_types = data.signature.columns
    own = pd.Series({column: cell_type_of(column, cell_types) for column in table}, dtype=object).dropna()
    if own.empty:
        part = name.removeprefix("reference_").removesuffix("s")
        raise ValueError(f"{path} has no column '<cell type>{BETWEEN}<{part}>' with a cell type of the signature; its "
                         f"columns are {some(table)}: rename them, or leave the table out with --no-states")
    if name == DONORS:
        own = own[own.isin(malignant)]
    data.notes += notes
    if own.empty:
        why = f"it has no donor of {' and '.join(malignant)}" if malignant else (
            "no cell type is malignant by its name; say which with --malignant")
        data.notes.append(f"{path.name} is not used: {why}")
        return None
    others = table.columns.difference(own.index)
    unused = f"; not of these, not used: {counted(others)}" if len(others) else ""
    data.notes.append(f"{path.name}: {about(own)}{unused}")
    return on_genes_of_bulk(table[own.index], data.bulk.index, path)


def cell_type_of(column, cell_types):
    """The cell type that a column is about, or None; the longer name where one begins with another."""
    fitting = [name for name in cell_types if column.startswith(name + BETWEEN)]
    return max(fitting, key=len, default=None)


def on_genes_of_bulk(table, genes, path):
    """The table with the genes of bulk (NaN where it lacks them)."""
    found = table.set_axis(table.index.str.upper()).reindex(genes.str.upper()).set_axis(genes)
    if found.isna().all(axis=None):
        raise ValueError(f"{path} and bulk have no gene in common (for example {some(table.index, 3)} against "
                         f"{some(genes, 3)}): both need gene symbols")
    silent = found.columns[np.nansum(found, axis=0) == 0]
    if len(silent):
        raise ValueError(f"{path}: nothing but zeros for {some(silent)} in the genes of bulk: remove these columns")
    return found


def about(own):
    """In words: how many states of which cell types."""
    return "; ".join(f"{n} of {cell_type}" for cell_type, n in own.value_counts(sort=False).items())
