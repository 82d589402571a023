"""Stage 1. Deconvolve bulk expression into cell-type fractions and cell-type expression of every patient.

The default method is native: a linear factor model of this project, documented in data/README.md. It is not CODEFACS.

Reads   bulk_expression.tsv[.gz] (genes x patients, TPM), signature.tsv[.gz] (marker genes x cell types),
        reference.tsv[.gz] (all genes x cell types; optional)
Writes  deconvolution/estimated_cell_fractions.txt, confidence_score.txt, expression.h5

    python deconvolution/1main_deconvolution.py demo
"""
import logging
from pathlib import Path

import numpy as np
import pandas as pd

import deconvolution_inputs
import expression_file
import expression_table
import native
from deconvolution_script import parser, run, whole

SEED = 42


def main(args):
    folder = args.project_path / "deconvolution"
    files = deconvolution_inputs.paths(args.project_path)
    extra = {"gene_map": args.gene_map, "fractions": args.fractions}
    inputs = {name: expression_file.sha256(path) for name, path in (files | extra).items() if path}
    parameters = {"method": "native", "seed": args.seed, "min_markers_found": args.min_markers_found}
    if not args.overwrite and expression_file.is_finished(folder / "expression.h5", parameters, inputs):
        logging.info(f"{folder} is finished: skipped")
        return
    gene_map = expression_table.read_gene_map(args.gene_map) if args.gene_map else None
    data = deconvolution_inputs.load(files, gene_map, args.min_markers_found)
    for note in data.notes:
        logging.info(f"note: {note}")
    logging.info(f"{data.bulk.shape[0]} genes, {data.bulk.shape[1]} patients, {data.signature.shape[1]} cell types, "
                 f"{len(data.markers)} markers, reference for {data.reference.notna().all(axis=1).sum()} genes")
    known = known_fractions(args.fractions, data) if args.fractions else None
    result = native.deconvolve(data.bulk.to_numpy(), data.markers, data.signature.to_numpy(), data.reference.to_numpy(),
                               args.seed, known)
    write(folder, result, data, parameters, inputs)
    for cell_type, fraction, score in zip(data.signature, result.fractions.T, result.confidence.T):
        logging.info(f"{cell_type}: mean fraction {fraction.mean():.3f}, {np.sum(score >= .95)} genes with confidence "
                     f">= 0.95")


def known_fractions(path, data):
    """Given fractions (patients x cell types) in the order of the data, rows summing to 1."""
    table = expression_table.read(path)
    missing = data.bulk.columns.difference(table.index).union(data.signature.columns.difference(table.columns))
    if len(missing):
        raise ValueError(f"{path} lacks {expression_table.some(missing)}: patients in rows, cell types in columns")
    table = table.loc[data.bulk.columns, data.signature.columns]
    bad = table.index[~(np.isfinite(table).all(axis=1) & (table >= 0).all(axis=1) & (table.sum(axis=1) > 0))]
    if len(bad):
        raise ValueError(f"{path}: fractions must be numbers from 0 to 1: see {expression_table.some(bad)}")
    return table.div(table.sum(axis=1), axis=0).to_numpy()


def write(folder, result, data, parameters, inputs):
    """The outputs; expression.h5 last, because it tells a later run that all are finished."""
    genes, patients, cell_types = data.bulk.index, data.bulk.columns, data.signature.columns
    (folder / "expression.h5").unlink(missing_ok=True)
    for name, rows, table in (("estimated_cell_fractions.txt", patients, result.fractions),
                              ("confidence_score.txt", genes, result.confidence)):
        with whole(folder / name) as part:
            pd.DataFrame(table, rows, cell_types).to_csv(part, sep="\t", float_format="%.6g")
    with whole(folder / "expression.h5") as part:
        expression_file.write(part, result.expression, data.bulk.to_numpy(), cell_types, genes, patients, "native",
                              parameters, inputs)


if __name__ == "__main__":
    p = parser(__doc__)
    p.add_argument("--fractions", type=Path, help="known fractions, patients x cell types, instead of estimated ones")
    p.add_argument("--gene-map", type=Path, help="two columns, Ensembl id and symbol, for tables with Ensembl ids")
    p.add_argument("--min-markers-found", type=float, default=.5, help="share of the signature's genes that bulk must "
                   "have, default %(default)s")
    p.add_argument("--seed", type=int, default=SEED, help="of the simulation behind the confidence, default %(default)s")
    run(main, p.parse_args(), "1main_deconvolution")
