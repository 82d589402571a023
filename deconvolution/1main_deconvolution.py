"""Stage 1. Deconvolve bulk expression into cell-type fractions and cell-type expression of every patient.

The default method is native: a linear factor model of this project (native.py). It is not CODEFACS, which
--method codefacs runs from your own copy, on Slurm, or reads from --codefacs-output.

Reads   bulk_expression.tsv[.gz] (genes x patients, TPM), signature.tsv[.gz] (marker genes x cell types); optional
        reference.tsv[.gz] (all genes x cell types), reference_states.tsv[.gz] and reference_donors.tsv[.gz] (all genes
        x '<cell type>: <state or donor>'); with --purity a table of patients and their purity, or clinical.csv; with
        --batch a column of clinical.csv
Writes  deconvolution/estimated_cell_fractions.txt, confidence_score.txt, summary.csv, report.pdf, expression.h5,
        with --text also expression_<cell type>.txt

    python deconvolution/1main_deconvolution.py demo
    python deconvolution/1main_deconvolution.py cohort --method codefacs --codefacs-dir ~/CODEFACS/scripts
"""
import logging
import shlex
from pathlib import Path

from slide_ex.script import parser, run

from outputs import result_files
from slide_ex import checksums, expression_scale
from slide_ex.project import clinical_file
from sources import batch_column, codefacs, engines, inputs_of_project, malignant_types, purity_table, state_tables

SEED = 42
DECLARED = "log2", "clip_negative", "scale_fractions", "malignant", "no_states", "batch"    # recorded where said
OF_NATIVE = "fractions", "purity", "malignant", "no_states", "batch"


def main(args):
    refuse_contradictions(args)
    folder = args.project_path / "deconvolution"
    files = inputs_of_project.paths(args.project_path)
    states = {} if args.no_states or args.method == "codefacs" else state_tables.paths(args.project_path)
    if args.malignant and not args.purity and state_tables.DONORS not in states:
        raise ValueError("--malignant is about --purity and reference_donors.tsv[.gz]: there is neither, leave it out")
    purity_file = args.project_path / clinical_file.NAME if args.purity is True else args.purity
    purity = purity_table.read(purity_file) if purity_file else None
    batch = batch_column.read(args.project_path, args.batch) if args.batch else None
    parameters, inputs = made_from(args, files | states, purity, batch)
    if result_files.is_finished(args.project_path, {"parameters": parameters, "inputs": inputs}, args.overwrite):
        logging.info(f"{folder} is finished: skipped")
        return
    data = inputs_of_project.load(files, args.gene_map, args.min_markers_found, expression_scale.Declared(
        args.log2, args.clip_negative, is_bulk=True))
    logging.info(f"{data.bulk.shape[0]} genes, {data.bulk.shape[1]} patients, {data.signature.shape[1]} cell types, "
                 f"{len(data.markers)} markers, reference for {data.reference.notna().all(axis=1).sum()} genes")
    if args.method == "native":
        result = native_result(args, data, states, purity, purity_file, batch)
    else:
        output = args.codefacs_output or engines.run_codefacs(folder, data, args.codefacs_dir,
                                                              shlex.split(args.codefacs_args))
        result = engines.read_codefacs(output, data)
    summary = result_files.write(args.project_path, result, parameters, inputs, args.text)
    for note in result.notes:
        logging.info(f"note: {note}")
    for cell_type, row in summary.iterrows():
        logging.info(f"{cell_type}: mean fraction {row['mean_fraction']:.3f}, {row['n_confident_0.95']:.0f} genes with "
                     f"confidence >= 0.95, median r with bulk {row['median_r_with_bulk']:.2f}")


def made_from(args, files, purity, batch):
    """Parameters and checksums of the inputs, two dicts, that decide the result."""
    extra = {"gene_map": args.gene_map, "fractions": args.fractions} | codefacs.files(args.codefacs_output)
    inputs = {name: checksums.of_file(path) for name, path in (files | extra).items() if path}
    inputs |= {name: checksums.of_content(value) for name, value in (("purity", purity), ("batches", batch)) if value}
    parameters = {"method": args.method, "min_markers_found": args.min_markers_found, "text": args.text} | (
        {"seed": args.seed} if args.method == "native" else {"codefacs_args": args.codefacs_args})
    return parameters | {name: getattr(args, name) for name in DECLARED if getattr(args, name)}, inputs


def native_result(args, data, state_files, purity, purity_file, batch):
    """Result of the native model, with all that is known of the patients beside their bulk."""
    fractions = None
    if args.fractions:
        fractions = inputs_of_project.known_fractions(args.fractions, data, args.scale_fractions)
    malignant = malignant_types.of(list(data.signature), args.malignant)
    states = state_tables.read(state_files, data, args.gene_map, malignant)
    if purity:
        purity = purity_table.of_patients(purity, data, malignant, purity_file)
    if batch:
        batch = batch_column.of_patients(batch, args.batch, data.bulk.columns)
    return engines.run_native(data, args.seed, fractions, states, purity, batch)


def refuse_contradictions(args):
    """ValueError for options that do not go together."""
    if args.method == "native" and (args.codefacs_dir or args.codefacs_output):
        raise ValueError("--codefacs-dir and --codefacs-output need --method codefacs")
    if args.method == "codefacs" and (given := [name for name in OF_NATIVE if getattr(args, name)]):
        raise ValueError(f"--{given[0].replace('_', '-')} is about --method native: leave it out")
    if args.scale_fractions and not args.fractions:
        raise ValueError("--scale-fractions is about --fractions: give it, or leave it out")
    if args.purity and args.fractions:
        raise ValueError("--purity is an observation of the fractions that --fractions gives: leave one out")


if __name__ == "__main__":
    p = parser(__doc__)
    p.add_argument("--method", choices=["native", "codefacs"], default="native", help="default %(default)s")
    p.add_argument("--fractions", type=Path, help="native: known fractions, patients x cell types")
    p.add_argument("--scale-fractions", action="store_true", help="divide the rows of --fractions by their sums")
    p.add_argument("--batch", metavar="COLUMN", help="native: column of clinical.csv whose groups of patients were "
                   "sequenced differently; their means are removed from every gene. Without it two are looked for")
    p.add_argument("--purity", type=Path, nargs="?", const=True, metavar="FILE", help="native: patients and "
                   "their fraction of malignant cells, 0..1; without FILE column Purity of the project's clinical.csv")
    p.add_argument("--malignant", action="append", default=[], metavar="CELL_TYPE", help="native: what purity and "
                   "donors are about; may be given several times; default: the cell types whose name says so")
    p.add_argument("--no-states", action="store_true",
                   help="native: do not use reference_states.tsv[.gz] and reference_donors.tsv[.gz]")
    expression_scale.add_options(p, "bulk_expression")
    p.add_argument("--seed", type=int, default=SEED, help="native: of all random draws, default %(default)s")
    p.add_argument("--codefacs-dir", type=Path, help="scripts folder of your copy of CODEFACS")
    p.add_argument("--codefacs-args", default=codefacs.DEFAULT_ARGUMENTS, help="default '%(default)s'")
    p.add_argument("--codefacs-output", type=Path, help="outputs of a finished CODEFACS run, to be read")
    p.add_argument("--gene-map", type=Path, help="two columns, Ensembl id and symbol, for tables with Ensembl ids")
    p.add_argument("--min-markers-found", type=float, default=.5, help="share of the signature's genes that bulk must "
                   "have, default %(default)s")
    p.add_argument("--text", action="store_true", help="also expression_<cell type>.txt, as CODEFACS writes them")
    run(main, p.parse_args(), "1main_deconvolution")
