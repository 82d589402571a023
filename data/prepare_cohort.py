"""Make a project folder from any folder of slides, a table of ids and a table of expression.

Nothing is guessed: the table says which slide and which column of the expression belong to which patient, and every id
without a partner is an error that shows the nearest ids, unless --allow-unmatched leaves such rows out.

Reads   --table (.csv or .tsv): a row a slide with Filename (in --slides) and Patient.ID; optional Slide.ID (else the
        file name without its ending), Expression.ID (column of --expression, else Patient.ID), Magnification, MPP,
        Mask (its files belong into <project_path>/regions/), Response (pCR, RD or empty; other words with
        --responders). A row with an empty Filename is a patient with expression alone.
        --slides, --expression (genes x samples, TPM): either may be left out
Writes  <project_path>/slides/ (links), metadata.csv, bulk_expression.tsv.gz, clinical.csv (with Response),
        preparation.csv (every row, used or left out and why), preparation.json

    python data/prepare_cohort.py trial --table cohort.csv --slides scans --expression tpm.tsv
"""
import contextlib
import logging
from pathlib import Path

from slide_ex.script import parser, run

from inputs import bulk_sources, cohort_table, preparation
from slide_ex import checksums, expression_scale, gene_names
from slide_ex.project import description_file


def main(args):
    project = args.project_path
    tables = {name: getattr(args, name) for name in ("table", "expression", "gene_map")}
    now = {**{name: path and checksums.of_file(path) for name, path in tables.items()},
              "columns": args.columns, "log2_offset": args.log2, "allow_unmatched": args.allow_unmatched,
              "slides": str(args.slides.resolve()) if args.slides else None}
    now |= {name: True for name in ("clip_negative", "counts") if getattr(args, name)}
    now |= description_file.said(args)
    if preparation.is_finished(project, now, args.overwrite):
        logging.info("%s is finished: skipped", project / "preparation.json")
        return
    if not args.expression and (args.log2 is not None or args.clip_negative or args.counts):
        raise ValueError("--log2, --clip-negative and --counts are about --expression: give it, or leave them out")
    description_file.write(project, args)
    cohort = cohort_table.read(args.table, args.columns, description_file.read(project))
    if args.slides:
        cohort_table.find_slides(cohort, args.slides)
    gene_map = gene_names.read_gene_map(args.gene_map) if args.gene_map else None
    expression = args.expression and bulk_sources.read_matrix(
        args.expression, expression_scale.Declared(args.log2, args.clip_negative, is_bulk=True), args.counts, gene_map)
    if expression is not None:
        cohort_table.find_expression(cohort, expression.values, args.expression)
    cohort_table.refuse_unmatched(cohort, args.table, args.allow_unmatched)
    unnamed = cohort_table.without_row(cohort, args.slides, [] if expression is None else list(expression.values))

    used = cohort[cohort["reason"] == ""]
    bulk, notes = None, []
    if expression is not None:
        sample_of = used.drop_duplicates("patient_id").set_index("patient_id")["expression_id"].sort_index()
        expression.values = expression.values[sample_of].set_axis(sample_of.index, axis=1)
        bulk, notes = bulk_sources.under_symbols(expression, args.expression, gene_map)
    slides = used[used["filename"] != ""]
    preparation.begin(project, now)
    if args.slides:
        preparation.link_slides(project, slides)
    report = preparation.report_of(row=("slide_id", cohort))
    preparation.write(project, now, slides, bulk, cohort_table.clinical(used), report)
    for line in [*preparation.summary(report), *unnamed, *notes]:
        logging.info(line)
    logging.info("%d slides of %d patients%s", len(slides), slides["patient_id"].nunique(),
                 "" if bulk is None else f"; expression of {bulk.shape[0]} genes in {bulk.shape[1]} patients")


if __name__ == "__main__":
    p = parser(__doc__)
    p.add_argument("--table", type=Path, required=True, help="table of ids, see above")
    p.add_argument("--slides", type=Path, help="folder of slides; leave out where features are extracted already")
    p.add_argument("--expression", type=Path, help="table genes x samples; leave out for a cohort to predict only")
    p.add_argument("--columns", nargs="+", default=[], metavar="NAME=YOURS",
                   help="columns of the table that have other names, e.g. Patient.ID=case Filename=image")
    description_file.add_tissue_option(p)
    description_file.add_response_options(p, column=False)
    p.add_argument("--allow-unmatched", action="store_true", help="leave out rows without slide file or expression")
    expression_scale.add_options(p)
    p.add_argument("--counts", action="store_true",
                   help="--expression holds counts and a column Length (or the gene map does): TPM are made")
    p.add_argument("--gene-map", type=Path, help="table gene_id, gene_name[, gene_type] for Ensembl ids")
    arguments = p.parse_args()
    with contextlib.suppress(OSError):  # what is wrong with the path is said by run()
        arguments.project_path.mkdir(parents=True, exist_ok=True)
    run(main, arguments, "prepare_cohort")
