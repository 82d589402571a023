"""Make signature and reference from annotated single cells.

Every cell type (with --state-column every state of a type, with --donor-column every donor's cells of a type, where
there are enough) is added up over its cells, scaled to a million; markers are chosen by marker_genes.py. Donors of the
single cells should not be patients of the bulk.

Reads   a .h5ad file (raw counts; needs deconvolution/requirements-single-cell.txt), or counts (.mtx with names of genes
        and barcodes beside it, or a table genes x cells) and --labels (one row a cell, first column the cell id)
Writes  signature.tsv.gz (markers x cell types), reference.tsv.gz (all genes x cell types), signature_choice.csv
        (condition number for each number of markers), signature.json (what they were made from); with --state-column
        also reference_states.tsv.gz (all genes x '<cell type>: <state>'), with --donor-column reference_donors.tsv.gz

    python deconvolution/make_signature.py cohort counts.mtx --labels cells.csv --label-column celltype_major
"""
import logging
from pathlib import Path

from slide_ex.script import parser, run, whole

import numpy as np
import pandas as pd

from slide_ex import checksums, ids, record, text_table
from slide_ex.stages import plan
from sources import cell_profiles, marker_genes, single_cells

SEED = 42
PARTS = {"state_column": "reference_states.tsv.gz", "donor_column": "reference_donors.tsv.gz"}
MADE_BY = "deconvolution/make_signature.py"


def main(args):
    parts = [option for option in PARTS if getattr(args, option)]
    also = tuple(PARTS[option] for option in parts)
    outputs = plan.outputs(args.project_path, "signature", also)
    marker = outputs[-1]
    files = single_cells.files(args.single_cells, args.labels)
    now = {"label_column": args.label_column, "state_column": args.state_column, "seed": args.seed,
           "inputs": {path.name: checksums.of_file(path) for path in files}, "finished": True}
    now |= {name: getattr(args, name) for name in ("layer", "allow_fractional", "donor_column") if getattr(args, name)}
    if is_finished(outputs, now, args.overwrite):
        logging.info(f"{marker} is finished: skipped")
        return
    counts, genes, labels = single_cells.read(args.single_cells, args.labels, args.label_column, args.layer,
                                              args.allow_fractional)
    counts, genes, n_copies = without_copies(counts, genes)
    types = types_with_cells(labels[args.label_column], args.single_cells)
    logging.info(f"{counts.shape[0]} cells, {len(genes)} genes ({n_copies} rows of repeated symbols left out), "
                 f"{len(types)} cell types")
    codes = pd.Index(types).get_indexer(labels[args.label_column])
    profile = cell_profiles.add_up(counts, codes, len(types))
    ranked = marker_genes.rank(marker_genes.random_halves(counts, codes, len(types), np.random.default_rng(args.seed)))
    for name, n_cells, own in zip(types, np.bincount(codes[codes >= 0]), ranked):
        logging.info(f"{name}: {n_cells} cells, {len(own)} markers")
        if len(own) == 0:
            raise ValueError(f"{args.single_cells}: {name} has no marker gene: merge it with the type it resembles")
    rows, conditions = marker_genes.choose(ranked, profile)
    best = min(conditions, key=conditions.get)
    logging.info(f"{len(rows)} genes, up to {best} a type, condition number {conditions[best]:.1f}")
    reference = pd.DataFrame(profile, genes, types)
    choice = pd.DataFrame({"condition_number": conditions}).rename_axis("n_markers")
    tables = [reference.iloc[rows], reference[profile.sum(axis=1) > 0], choice]
    tables = [cell_profiles.of_parts(counts, genes, labels, types, args.label_column, getattr(args, option))
              for option in parts] + tables
    for name in left_by_earlier_run(marker, parts):
        (args.project_path / name).unlink(missing_ok=True)    # deconvolution would use them beside the new signature
    record.write(marker, now | {"finished": False})    # so that a run that was killed is taken up again
    for path, table in zip(outputs, tables):
        with whole(path) as part:
            table.to_csv(part, sep=text_table.separator_of(path), float_format="%.6g")
    record.write(marker, now, outputs[:len(tables)])


def is_finished(outputs, now, overwrite):
    """Whether all outputs are there and were made so; ValueError where other ones, or somebody's own, are there."""
    there, marker = [path for path in outputs if path.exists()], outputs[-1]
    if there and not marker.exists() and not overwrite:
        raise ValueError(f"{there[0]} exists: it may be your own; --overwrite replaces it")
    if overwrite or not marker.exists():
        return False
    made = record.read(marker, MADE_BY)
    record.refuse_other(marker, made | {"finished": True}, now)
    return made["finished"] and len(there) == len(outputs)


def types_with_cells(labels, path):
    """Cell types that have enough cells, sorted, with a note about each other one; ValueError below two."""
    n_cells = labels.value_counts()
    types = sorted(n_cells.index[n_cells >= cell_profiles.MIN_CELLS])
    for name in sorted(n_cells.index[n_cells < cell_profiles.MIN_CELLS]):
        logging.info(f"note: {name} left out: {n_cells[name]} cells, {cell_profiles.MIN_CELLS} are needed")
    if len(types) < 2:
        raise ValueError(f"{path}: {len(types)} cell types have enough cells; two are needed")
    ids.refuse_cell_types(types, path)
    return types


def left_by_earlier_run(marker, parts):
    """Tables of states or donors that an earlier run wrote and this one does not; none where its record is damaged."""
    try:
        made = record.read(marker, MADE_BY)
    except (FileNotFoundError, ValueError):
        return []
    return [name for option, name in PARTS.items() if made.get(option) and option not in parts]


def without_copies(counts, genes):
    """All copies of a repeated symbol dropped, and how many rows that were."""
    copies = genes.str.upper().duplicated(keep=False)
    return counts[:, ~copies], genes[~copies], int(copies.sum())


if __name__ == "__main__":
    p = parser(__doc__)
    p.add_argument("single_cells", type=Path, help=".h5ad, .mtx[.gz], or a table genes x cells")
    p.add_argument("--labels", type=Path, help="table with one row a cell, for counts other than .h5ad")
    p.add_argument("--label-column", default="celltype_major", help="column of the cell types, default %(default)s")
    p.add_argument("--state-column", help="column of cell states, for reference_states.tsv.gz")
    p.add_argument("--donor-column", help="column of donors (patients), for reference_donors.tsv.gz")
    p.add_argument("--layer", metavar="NAME", help="where the counts of an .h5ad are: X, raw or a layer; default: the "
                   "first of layers, .raw and X that holds whole numbers")
    p.add_argument("--allow-fractional", action="store_true",
                   help="accept counts that are no whole numbers, as SoupX, CellBender and DecontX leave them")
    p.add_argument("--seed", type=int, default=SEED, help="of the random halves, default %(default)s")
    run(main, p.parse_args(), "make_signature")
