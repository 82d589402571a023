"""Make a project folder from slides and expression downloaded from the Genomic Data Commons (TCGA).

Diagnostic slides of primary tumours (sample type 01); one expression sample a patient, that with the first vial letter
(A before B), then the first file id; protein-coding genes; symbols that occur twice are left out. Slides of patients
without expression are left out; patients with expression alone stay, they help deconvolution. What gdc-client did not
finish stops the script, which then writes a manifest to download it again.

clinical.csv gets overall survival (Time in days, Event) of the portal's clinical.tsv.

Reads   --slides and --expression (folders as gdc-client leaves them, one folder a file), their sample sheets;
        or as --expression a table genes x samples (Xena, cBioPortal); --clinical, --manifest: optional
Writes  <project_path>/slides/ (links), metadata.csv, bulk_expression.tsv.gz, clinical.csv, preparation.csv (every file,
        used or left out and why), preparation.json; download_again.txt where files are missing

    python data/prepare_tcga.py brca --slides slides --slide-sheet gdc_sample_sheet.slides.tsv \\
        --expression rna --expression-sheet gdc_sample_sheet.rna.tsv
"""
import contextlib
import logging
from pathlib import Path

from slide_ex.script import parser, run

import pandas as pd

from gdc import gdc_download, tcga_download, tcga_selection
from inputs import preparation
from slide_ex import checksums, expression_scale
from slide_ex.project import description_file


def main(args):
    project = args.project_path
    manifest = gdc_download.read_manifests(args.manifest)
    slides = tcga_download.find_slides(args.slide_sheet, args.slides, args.frozen, manifest, args.md5)
    samples = tcga_download.find_samples(args.expression, args.expression_sheet, manifest, args.md5)
    tables = {name: getattr(args, name) for name in ("slide_sheet", "expression_sheet", "clinical", "gene_map")}
    now = {"sections": "frozen" if args.frozen else "diagnostic", "log2_offset": args.log2,
              "allow_missing": args.allow_missing, "slide_files": checksums.of_sizes(slides["path"]),
              "expression_files": checksums.of_sizes(samples["path"]),
              **{name: path and checksums.of_file(path) for name, path in tables.items()}}
    now |= {name: True for name in ("clip_negative", "counts") if getattr(args, name)}
    now |= description_file.said(args)
    if preparation.is_finished(project, now, args.overwrite):
        logging.info("%s is finished: skipped", project / "preparation.json")
        return

    tcga_download.refuse_missing(project, pd.concat([slides, samples]), manifest, args.allow_missing)
    bulk, notes, unreadable = tcga_download.read_bulk(
        samples, args.expression, expression_scale.Declared(args.log2, args.clip_negative, is_bulk=True), args.counts,
        args.gene_map)
    tcga_download.refuse_missing(project, unreadable, manifest, args.allow_missing)
    tcga_selection.leave_out(slides, ~slides["patient_id"].isin(bulk.columns), "no expression of the patient")
    used = slides[slides["reason"] == ""].sort_values("slide_id").rename(columns={"file_name": "filename"})
    if used.empty:
        raise ValueError(f"no patient has both a slide and expression: {slides['reason'].value_counts().to_dict()}")
    clinical = tcga_download.read_clinical(args.clinical, bulk.columns) if args.clinical else None
    report = preparation.report_of(slide=("file_name", slides), expression=("sample_id", samples))
    description_file.write(project, args)
    preparation.begin(project, now)
    preparation.link_slides(project, used)
    preparation.write(project, now, used, bulk, clinical, report)
    for line in [*preparation.summary(report), *notes]:
        logging.info(line)
    logging.info("%d slides of %d patients; expression of %d genes in %d patients", len(used),
                 used["patient_id"].nunique(), *bulk.shape)


if __name__ == "__main__":
    p = parser(__doc__)
    p.add_argument("--slides", type=Path, required=True, help="folder of downloaded slides")
    p.add_argument("--slide-sheet", type=Path, required=True,
                   help="sample sheet of the slides, of the portal or the API (docs/tcga-brca.md)")
    p.add_argument("--expression", type=Path, required=True,
                   help="folder of downloaded STAR counts, or a table genes x samples")
    p.add_argument("--expression-sheet", type=Path, help="sample sheet of the STAR counts")
    p.add_argument("--clinical", type=Path, help="clinical.tsv of the portal")
    p.add_argument("--manifest", type=Path, nargs="+", default=[], help="manifests of the downloads: compare sizes")
    p.add_argument("--md5", action="store_true", help="compare checksums with the manifest as well (reads every slide)")
    p.add_argument("--frozen", action="store_true", help="frozen sections (TS, BS) instead of diagnostic slides")
    p.add_argument("--allow-missing", action="store_true", help="go on without files that are missing or damaged")
    expression_scale.add_options(p, "the table of --expression")
    description_file.add_tissue_option(p)
    p.add_argument("--counts", action="store_true", help="the table of --expression holds counts and a column Length "
                   "(or the gene map does): TPM are made")
    p.add_argument("--gene-map", type=Path, help="table gene_id, gene_name[, gene_type] for a table of --expression")
    arguments = p.parse_args()
    with contextlib.suppress(OSError):  # what is wrong with the path is said by run()
        arguments.project_path.mkdir(parents=True, exist_ok=True)
    run(main, arguments, "prepare_tcga")
