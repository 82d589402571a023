"""Stage 2. Make the labels that prediction trains on: confident genes per cell type, in logarithms, and abundance.

A gene of a cell type is kept when its confidence, the share of patients with a value above zero and its variance are
high enough, and when it is in the list of --genes, if one is given. A cell type without such a gene has no labels.

Reads   deconvolution/expression.h5, confidence_score.txt, estimated_cell_fractions.txt;
        with --labels FOLDER those of another tool (BayesPrism, CIBERSORTx, ...) instead: <cell type>.tsv, .csv or .txt
        (patients x genes, linear or with --log2), estimated_cell_fractions.txt, confidence_score.txt (optional)
Writes  targets.h5, deconvolution/target_genes.csv (per cell type genes that each filter left, and the median over them
        of Pearson's r between label and the type's own fraction); with --labels deconvolution/summary.csv

    python deconvolution/prepare_targets.py demo --bulk
"""
import logging
from pathlib import Path

from slide_ex.script import parser, run, whole

import numpy as np
import pandas as pd

from outputs import target_labels
from slide_ex import checksums, gene_names, record
from slide_ex.project import expression_file, targets_file
from slide_ex.stages import plan
from sources import label_tables

SUMMARY = "deconvolution/summary.csv"
DECLARED = "log2", "scale_fractions", "divide_by_fractions"     # of tables of --labels, recorded where they are said
SOURCES = ("expression.h5", "confidence_score.txt", "estimated_cell_fractions.txt")


def main(args):
    if args.log_base <= 1:
        raise ValueError(f"--log-base {args.log_base:g}: it must be above 1")
    settings = {"min_confidence": args.confidence, "min_nonzero_fraction": args.min_nonzero,
                "min_variance": args.min_variance, "log_base": args.log_base}
    source, files = source_of(args)
    parameters = settings | {"bulk": args.bulk, "genes_in_rows": args.genes_in_rows, "source": source.method}
    parameters |= {name: getattr(args, name) for name in DECLARED if getattr(args, name)}
    inputs = {name: checksums.of_file(path) for name, path in (files | {"genes": args.genes}).items() if path}
    counts_path, targets = plan.outputs(args.project_path, "targets")
    if record.is_finished([counts_path, targets], lambda: made_from(targets), parameters | inputs, args.overwrite,
                          remedy="run with --overwrite to redo it"):
        logging.info(f"{targets} is finished: skipped")
        return
    kept, counts, r = labels_of(source, args.genes, settings)
    if not any(len(genes) for _, genes, _, _ in kept):
        raise ValueError(f"no gene of any cell type is left, see the counts above: lower --confidence (now "
                         f"{args.confidence}), or deconvolve more patients")
    if args.labels:
        target_labels.refuse_abundance(r, len(source.patient_ids), args.labels)
    targets.unlink(missing_ok=True)
    with whole(counts_path) as part:
        counts.to_csv(part, index=False, float_format="%.4g")
    attributes = settings | {"deconvolution_method": source.method, "parameters": record.as_text(parameters),
                             "inputs": record.as_text(inputs)}
    tables = [counts_path]
    if args.labels and not plan.outputs(args.project_path, "deconvolution")[-1].exists():
        tables.append(write_summary(args.project_path, source.abundance, r))
    if not args.labels:
        attributes["deconvolution_sha256"] = inputs["expression.h5"]
    with whole(targets) as part:
        targets_file.write(part, source.patient_ids, kept, source.abundance, attributes,
                           checksums.of_files(tables, targets.parent))


def source_of(args):
    """Where labels come from (label_tables.Source), and its files, {name: path}."""
    said = label_tables.Said(args.genes_in_rows, args.log2, args.scale_fractions, args.divide_by_fractions)
    if args.labels:
        if args.bulk:
            raise ValueError("--bulk takes bulk from the deconvolution: with --labels, put a Bulk.tsv into the folder")
        files = label_tables.table_files(args.labels)
        return label_tables.from_tables(files, said, f"tables of {args.labels.name}"), files
    if said != label_tables.Said():
        raise ValueError("--genes-in-rows, --log2, --scale-fractions and --divide-by-fractions are about --labels")
    files = {name: args.project_path / "deconvolution" / name for name in SOURCES}
    for path in files.values():
        if not path.exists():
            raise FileNotFoundError(f"no {path}: run deconvolution/1main_deconvolution.py first")
    return label_tables.from_deconvolution(files, args.bulk), files


def labels_of(source, genes_file, settings):
    """Labels of all cell types, of the genes of a list where there is one.

    Returns
    -------
    kept : list of (cell type, genes, labels, confidence), as targets_file.write takes them
    counts : DataFrame, how many genes of each cell type each filter left
    r : dict of cell type to the median over its genes of r between label and own fraction
    """
    wanted = gene_names.read_list(genes_file) if genes_file else None
    kept, counts, r, known = [], [], {}, set()
    for cell_type, genes, expression, scores in source.tables:
        known.update(genes)
        rows, labels, left = target_labels.select(genes, expression, scores, wanted, settings)
        kept.append((cell_type, np.array(genes)[rows], labels, scores[rows]))
        if cell_type in source.abundance:
            r[cell_type] = target_labels.r_with_fraction(labels, source.abundance[cell_type].to_numpy())
        counts.append({"cell_type": cell_type} | left | {"median_r_with_fraction": r.get(cell_type, np.nan)})
        logging.info(f"{cell_type}: " + ", ".join(f"{n} {what}" for what, n in left.items())
                     + ("" if len(rows) else ": no labels for this cell type"))
    if wanted is not None:
        target_labels.check_list(wanted, known, genes_file)
    return kept, pd.DataFrame(counts), r


def write_summary(project, abundance, r):
    """deconvolution/summary.csv of labels of another tool: mean fraction and r with the own fraction, per cell type;
    its path."""
    table = pd.DataFrame({"mean_fraction": abundance.mean()}).assign(median_r_with_fraction=pd.Series(r, dtype=float))
    path = plan.outputs(project, "targets", also=(SUMMARY,))[0]
    with whole(path) as part:
        table.rename_axis("cell_type").to_csv(part, float_format="%.6g")
    return path


def made_from(path):
    """Parameters and inputs of a targets.h5 that is there, in one dict."""
    made = expression_file.made_from(targets_file.read_attributes(path), path, targets_file.MADE_BY)
    return made["parameters"] | made["inputs"]


if __name__ == "__main__":
    p = parser(__doc__)
    p.add_argument("--confidence", type=float, default=target_labels.MIN_CONFIDENCE, help="default %(default)s")
    p.add_argument("--min-nonzero", type=float, default=target_labels.MIN_NONZERO_FRACTION,
                   help="share of patients, default %(default)s")
    p.add_argument("--min-variance", type=float, default=target_labels.MIN_VARIANCE,
                   help="of the label, default %(default)s")
    p.add_argument("--log-base", type=float, default=2, help="of the labels, log(TPM + 1), default %(default)s")
    p.add_argument("--genes", type=Path, help="text file, one gene a line: keep only these")
    p.add_argument("--labels", type=Path, help="folder with labels of another tool")
    p.add_argument("--genes-in-rows", action="store_true", help="the tables of --labels are genes x patients")
    p.add_argument("--log2", type=float, nargs="?", const=1., metavar="C",
                   help="the tables of --labels hold log2(x + C), default C 1 (bMIND)")
    p.add_argument("--scale-fractions", action="store_true", help="--labels: divide fractions by the sum of their row")
    p.add_argument("--divide-by-fractions", action="store_true",
                   help="--labels: expression goes with the fraction of the cell type (BayesPrism's Z): divide by it")
    p.add_argument("--bulk", action="store_true", help="also bulk itself, as the cell type Bulk")
    run(main, p.parse_args(), "prepare_targets")
