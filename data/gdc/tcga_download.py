"""Slides and expression of TCGA as downloaded: every file of the sheets with its path, or why it is left out."""
import logging

import pandas as pd

from gdc import gdc_download, tcga_selection
from inputs import bulk_sources
from slide_ex import expression_scale, gene_names, gene_table
from slide_ex.ids import counted
from slide_ex.script import whole

MISSING = "missing: "  # begins the reasons that a new download would fix


def find_slides(sheet_path, folder, frozen, manifest, check_md5):
    """Slides of the sheet: file_id, file_name, slide_id, patient_id, path, reason."""
    sheet = gdc_download.read_sample_sheet(sheet_path, "Slide Image")
    table = tcga_selection.choose_slides(sheet, tcga_selection.FROZEN if frozen else tcga_selection.DIAGNOSTIC)
    return with_paths(table, folder, manifest, check_md5)


def find_samples(source, sheet_path, manifest, check_md5):
    """Expression samples, of a folder by its sheet or the columns of a table: sample_id, patient_id, path, reason."""
    if source.is_file():
        columns = gene_table.samples(source)
        table = pd.DataFrame({"file_id": columns, "file_name": source.name, "sample_id": columns, "reason": ""})
        return tcga_selection.choose_samples(table).assign(path=source)
    if sheet_path is None:
        raise ValueError(f"{source} is a folder: give its sample sheet with --expression-sheet")
    sheet = gdc_download.read_sample_sheet(sheet_path, "Gene Expression Quantification")
    return with_paths(tcga_selection.choose_samples(sheet), source, manifest, check_md5)


def with_paths(table, folder, manifest, check_md5):
    """The table with the column path; files that are not whole get a reason."""
    wanted = table["reason"] == ""
    paths, problems = gdc_download.locate(table[wanted], folder, manifest, check_md5)
    table.loc[wanted, "path"] = paths
    table.loc[~wanted, "path"] = folder
    table.loc[wanted, "reason"] = [problem and MISSING + problem for problem in problems]
    return table


def read_bulk(samples, source, scale, is_counts, gene_map):
    """Table genes x patients of the samples without a reason, notes, and the rows of unreadable files, now with one.

    scale, is_counts : what the user says of a table, see bulk_sources.read_matrix
    """
    wanted = samples["reason"] == ""
    used = samples[wanted].set_index("patient_id")
    if source.is_file():
        gene_map = gene_names.read_gene_map(gene_map) if gene_map else None
        genes = bulk_sources.read_matrix(source, scale, is_counts, gene_map)
        genes.values = genes.values[list(used["sample_id"])].set_axis(used.index, axis=1)
    else:
        if is_counts or scale != expression_scale.Declared(is_bulk=True):
            raise ValueError(f"{source} is a folder of STAR counts, whose TPM are read: --log2, --clip-negative and "
                             "--counts are about a table of --expression")
        table, gene_map, problems = bulk_sources.read_star_files(used["path"].sort_index().to_dict())
        genes = gene_table.Genes(table, pd.DataFrame(index=table.index))
        for patient, problem in problems.items():
            samples.loc[wanted & (samples["patient_id"] == patient), "reason"] = MISSING + problem
    genes.values = genes.values.sort_index(axis=1)
    table, notes = bulk_sources.under_symbols(genes, source, gene_map)
    return table, notes, samples[wanted & (samples["reason"] != "")]


def read_clinical(path, patients):
    """clinical.csv of some patients from the portal's clinical.tsv."""
    what = "clinical.tsv of the portal's Clinical download (TSV)"
    table = gdc_download.read_columns(path, [], what)
    if not set(tcga_selection.CASE_COLUMNS) & set(table):
        raise ValueError(f"{path} has no column {' or '.join(tcga_selection.CASE_COLUMNS)}: give {what}")
    made = tcga_selection.clinical_table(table, set(patients))
    lacking = sorted(set(patients) - set(made["Patient.ID"]))
    if made.empty:
        raise ValueError(f"{path} has no row for any of {counted(lacking)}, whose expression is there: give that of "
                         "the same project")
    if lacking:
        logging.info(f"{path.name}: no row for {counted(lacking)}")
    several = [column for column in table if column not in made and column not in tcga_selection.CASE_COLUMNS]
    if several:
        logging.info(f"{path.name}: columns with several values for a patient left out: {counted(several)}")
    return made


def refuse_missing(project, files, manifest, allow_missing):
    """Unless allowed, stop for files that are not whole: log each, write the manifest of a new download."""
    missing = files[files["reason"].str.startswith(MISSING)]
    for row in missing.itertuples():
        logging.info("%s/%s %s", row.file_id, row.file_name, row.reason)
    if missing.empty or allow_missing:
        return
    again = project / "download_again.txt"
    with whole(again) as part:
        gdc_download.manifest_of(missing, manifest).to_csv(part, sep="\t", index=False)
    raise ValueError(f"{len(missing)} files are missing or damaged, listed above: download them with "
                     f"gdc-client download -m {again}, or go on without them with --allow-missing")
