"""From files as the Genomic Data Commons delivers them to the inputs of a project."""
import gzip
import hashlib
import shutil

import h5py
import numpy as np
import pandas as pd
import pytest
from next_commands import follow

from gdc import tcga_selection

PATIENTS = ["TCGA-A1-A0SB", "TCGA-A1-A0SD", "TCGA-B6-A0RS", "TCGA-BH-A0B3"]
GENES = pd.DataFrame([("ENSG00000000003.15", "TSPAN6", "protein_coding"),
                      ("ENSG00000000457.14", "SCYL3", "protein_coding"),
                      ("ENSG00000002586.20", "CD99", "protein_coding"),
                      ("ENSG00000002586.20_PAR_Y", "CD99", "protein_coding"),
                      ("ENSG00000228572.7", "AL954722.1", "lncRNA"),
                      ("ENSG00000158427.15", "TMSB15B", "protein_coding"),
                      ("ENSG00000269226.7", "TMSB15B", "protein_coding")],
                     columns=["gene_id", "gene_name", "gene_type"])
STAR_HEADER = ("gene_id\tgene_name\tgene_type\tunstranded\tstranded_first\tstranded_second\ttpm_unstranded\t"
               "fpkm_unstranded\tfpkm_uq_unstranded")
OLD_SHEET = ["File ID", "File Name", "Data Category", "Data Type", "Project ID", "Case ID", "Sample ID", "Sample Type"]
NEW_SHEET = [*OLD_SHEET[:-1], "Tissue Type", "Tumor Descriptor", "Specimen Type", "Preservation Method"]


def uuid(name):
    digest = hashlib.md5(name.encode()).hexdigest()
    return "-".join([digest[:8], digest[8:12], digest[12:16], digest[16:20], digest[20:]])


def star_table(tpm, genes=GENES):
    lines = ["# gene-model: GENCODE v36", STAR_HEADER]
    lines += [f"{name}\t\t\t{i}\t{i}\t{i}\t\t\t" for i, name in enumerate(
        ["N_unmapped", "N_multimapping", "N_noFeature", "N_ambiguous"])]
    lines += [f"{gene.gene_id}\t{gene.gene_name}\t{gene.gene_type}\t10\t5\t5\t{value:.4f}\t1.0\t1.0"
              for gene, value in zip(genes.itertuples(), tpm)]
    return "\n".join(lines) + "\n"


class Download:
    """Folders as gdc-client leaves them, and the portal's sheets and manifest."""

    def __init__(self, folder):
        self.folder, self.rows = folder, []

    def add(self, kind, name, case, sample, content):
        data_type = {"slides": "Slide Image", "rna": "Gene Expression Quantification"}[kind]
        file_id = uuid(name + sample)
        path = self.folder / kind / file_id / name
        (path.parent / "logs").mkdir(parents=True)
        (path.parent / "logs" / f"{name}.parcel").write_text("")
        (path.parent / "annotations.txt").write_text("id\n")
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        self.rows.append([file_id, name, "Biospecimen", data_type, "TCGA-BRCA", case, sample, "Tumor", "Primary",
                          "Solid Tissue", "Unknown", path])
        return path

    def write(self, columns=NEW_SHEET):
        table = pd.DataFrame(self.rows, columns=[*NEW_SHEET, "path"])
        table["Sample Type"] = "Primary Tumor"
        table[columns].to_csv(self.folder / "sheet.tsv", sep="\t", index=False)
        manifest = pd.DataFrame({"id": table["File ID"], "filename": table["File Name"], "state": "released",
                                 "md5": [hashlib.md5(path.read_bytes()).hexdigest() for path in table["path"]],
                                 "size": [path.stat().st_size for path in table["path"]]})
        manifest[["id", "filename", "md5", "size", "state"]].to_csv(self.folder / "manifest.txt", sep="\t", index=False)

    def arguments(self, *more):
        return ["--slides", self.folder / "slides", "--slide-sheet", self.folder / "sheet.tsv", "--expression",
                self.folder / "rna", "--expression-sheet", self.folder / "sheet.tsv", *more]


@pytest.fixture
def download(tmp_path):
    """Four patients: the first with two slides, the third with normal tissue and two vials, the last without RNA."""
    download = Download(tmp_path / "gdc")
    for i, patient in enumerate(PATIENTS):
        for n in range(1, 3 if i == 0 else 2):
            name = f"{patient}-01Z-00-DX{n}.{uuid(patient + str(n)).upper()}.svs"
            download.add("slides", name, patient, f"{patient}-01Z", f"slide {i} {n}")
        if i < 3:
            name = f"{uuid(patient)}.rna_seq.augmented_star_gene_counts.tsv"
            download.add("rna", name, patient, f"{patient}-01A", star_table([100 * i + g for g in range(len(GENES))]))
    for sample in ("01A", "11A"):
        download.add("slides", f"{PATIENTS[0]}-{sample}-01-TS1.{uuid(sample).upper()}.svs", PATIENTS[0],
                     f"{PATIENTS[0]}-{sample}", "frozen")
    for sample in ("11A", "01B"):
        name = f"{uuid(sample)}.rna_seq.augmented_star_gene_counts.tsv"
        download.add("rna", name, PATIENTS[2], f"{PATIENTS[2]}-{sample}", star_table([9999] * len(GENES)))
    download.write()
    return download


@pytest.mark.parametrize("columns", [OLD_SHEET, NEW_SHEET], ids=["old sheet", "new sheet"])
def test_gdc_download_becomes_a_project(download, run_script, tmp_path, columns):
    download.write(columns)
    done = run_script("data/prepare_tcga.py", tmp_path / "brca", *download.arguments())
    assert done.returncode == 0, done.stderr
    metadata = pd.read_csv(tmp_path / "brca" / "metadata.csv")
    assert list(metadata["Slide.ID"]) == [f"{PATIENTS[0]}-01Z-00-DX1", f"{PATIENTS[0]}-01Z-00-DX2",
                                          f"{PATIENTS[1]}-01Z-00-DX1", f"{PATIENTS[2]}-01Z-00-DX1"]
    assert list(metadata["Patient.ID"]) == [slide_id[:12] for slide_id in metadata["Slide.ID"]]
    for name in metadata["Filename"]:
        link = tmp_path / "brca" / "slides" / name
        assert link.is_symlink() and link.read_text().startswith("slide")
    bulk = pd.read_csv(tmp_path / "brca" / "bulk_expression.tsv.gz", sep="\t", index_col=0)
    assert list(bulk.index) == ["TSPAN6", "SCYL3", "CD99"] and list(bulk.columns) == PATIENTS[:3]
    np.testing.assert_allclose(bulk.to_numpy(), [[0, 100, 200], [1, 101, 201], [2, 102, 202]])
    report = pd.read_csv(tmp_path / "brca" / "preparation.csv", keep_default_na=False)
    reasons = report.groupby("reason").size()
    assert reasons["no expression of the patient"] == 1 and reasons["section TS, wanted DX"] == 1
    assert reasons[f"another sample or file of the patient is used: {PATIENTS[2]}-01A"] == 1
    assert reasons.filter(like="sample type 11").sum() == 2 and reasons.sum() == len(download.rows)
    for line in ("1 copies on chromosome Y", "1 genes that are not protein-coding", "2 rows of 1 symbols that occur"):
        assert line in done.stdout


def test_second_run_skips_and_other_options_are_refused(download, run_script, tmp_path):
    project = tmp_path / "brca"
    assert run_script("data/prepare_tcga.py", project, *download.arguments()).returncode == 0
    before = (project / "bulk_expression.tsv.gz").read_bytes()
    assert "skipped" in run_script("data/prepare_tcga.py", project, *download.arguments()).stdout
    done = run_script("data/prepare_tcga.py", project, *download.arguments("--frozen"))
    assert done.returncode == 1 and "sections was diagnostic, now frozen" in done.stderr
    done = run_script("data/prepare_tcga.py", project, *download.arguments("--frozen", "--overwrite"))
    assert done.returncode == 0, done.stderr
    assert list(pd.read_csv(project / "metadata.csv")["Slide.ID"]) == [f"{PATIENTS[0]}-01A-01-TS1"]
    assert run_script("data/prepare_tcga.py", project, *download.arguments("--overwrite")).returncode == 0
    assert (project / "bulk_expression.tsv.gz").read_bytes() == before


def spoil(download, how):
    """Spoil one file of the download; how the error names it."""
    path = download.rows[0][-1]
    if how == "absent":
        path.unlink()
        return "not downloaded"
    if how == "partial":
        path.rename(path.with_name(f"{path.name}.partial"))
        return "not finished (.partial)"
    if how == "truncated":
        path.write_text("sl")
        return "truncated: 2 of 9 bytes"
    if how == "damaged":
        path.write_text("Slide 0 1")
        return "its MD5 is not the manifest's"
    rna = next(row[-1] for row in download.rows if "star_gene_counts" in row[1])
    rna.write_text("".join(rna.read_text().splitlines(keepends=True)[:-2]))
    return "most files have 7" if how == "short table" else None


@pytest.mark.parametrize("how", ["absent", "partial", "truncated", "damaged", "short table"])
def test_unfinished_downloads_are_found_and_listed_for_a_new_one(download, run_script, tmp_path, how):
    message = spoil(download, how)
    more = [] if how == "short table" else ["--manifest", download.folder / "manifest.txt", "--md5"]
    done = run_script("data/prepare_tcga.py", tmp_path / "brca", *download.arguments(*more))
    assert done.returncode == 1 and message in done.stdout and "1 files are missing" in done.stderr
    assert not (tmp_path / "brca" / "metadata.csv").exists()
    again = pd.read_csv(tmp_path / "brca" / "download_again.txt", sep="\t")
    assert len(again) == 1 and again["id"][0] in {row[0] for row in download.rows}
    done = run_script("data/prepare_tcga.py", tmp_path / "brca", *download.arguments(*more, "--allow-missing"))
    assert done.returncode == 0, done.stderr
    assert len(pd.read_csv(tmp_path / "brca" / "metadata.csv")) == (2 if how == "short table" else 3)


def matrix(samples, log2, path):
    """A matrix as Xena offers it: Ensembl ids, log2(TPM + 1)."""
    values = pd.DataFrame(np.arange(len(GENES) * len(samples)).reshape(len(GENES), -1) * 50., GENES["gene_id"], samples)
    (np.log2(values + 1) if log2 else values).rename_axis("Ensembl_ID").to_csv(path, sep="\t")
    return values


def test_xena_matrix_is_delogged_and_mapped(download, run_script, tmp_path):
    samples = [f"{PATIENTS[0]}-01A", f"{PATIENTS[1]}-01B", f"{PATIENTS[1]}-01A", f"{PATIENTS[1]}-11A"]
    values = matrix(samples, True, tmp_path / "star_tpm.tsv.gz")
    (tmp_path / "probemap.tsv").write_text(GENES.rename(columns={"gene_id": "id", "gene_name": "gene"}).drop(
        columns="gene_type").assign(chrom="chr1").to_csv(sep="\t", index=False))
    arguments = [tmp_path / "p", *download.arguments()[:4], "--expression", tmp_path / "star_tpm.tsv.gz"]
    gene_map = ["--gene-map", tmp_path / "probemap.tsv"]
    done = run_script("data/prepare_tcga.py", *arguments, *gene_map)
    assert done.returncode == 1 and "look like logarithms: give --log2" in done.stderr
    done = run_script("data/prepare_tcga.py", *arguments, "--log2")
    assert done.returncode == 1 and "Ensembl ids" in done.stderr and "--gene-map" in done.stderr
    done = run_script("data/prepare_tcga.py", *arguments, "--log2", *gene_map)
    assert done.returncode == 0, done.stderr
    assert "no gene_type" in done.stdout
    bulk = pd.read_csv(tmp_path / "p" / "bulk_expression.tsv.gz", sep="\t", index_col=0)
    assert list(bulk.columns) == PATIENTS[:2] and list(bulk.index) == ["TSPAN6", "SCYL3", "CD99", "AL954722.1"]
    np.testing.assert_allclose(bulk[PATIENTS[1]], values[f"{PATIENTS[1]}-01A"].iloc[[0, 1, 2, 4]], rtol=1e-5)
    assert bulk.loc["TSPAN6", PATIENTS[0]] == 0


def test_cbioportal_matrix_is_read(download, run_script, tmp_path):
    table = pd.DataFrame({"Hugo_Symbol": ["ESR1", "GATA3"], "Entrez_Gene_Id": [2099, 2625],
                          f"{PATIENTS[0]}-01": [90., 70], f"{PATIENTS[1]}-01": [1., 2]})
    table.to_csv(tmp_path / "data_mrna.txt", sep="\t", index=False)
    done = run_script("data/prepare_tcga.py", tmp_path / "p", *download.arguments()[:4], "--expression",
                      tmp_path / "data_mrna.txt")
    assert done.returncode == 0, done.stderr
    with gzip.open(tmp_path / "p" / "bulk_expression.tsv.gz", "rt") as file:
        assert file.read() == f"gene\t{PATIENTS[0]}\t{PATIENTS[1]}\nESR1\t90\t1\nGATA3\t70\t2\n"


def test_a_transposed_matrix_shows_what_its_columns_are(download, run_script, tmp_path):
    table = pd.DataFrame([[90., 1], [70, 2]], [f"{patient}-01" for patient in PATIENTS[:2]], ["ESR1", "GATA3"])
    table.to_csv(tmp_path / "data_mrna.txt", sep="\t")
    done = run_script("data/prepare_tcga.py", tmp_path / "p", *download.arguments()[:4], "--expression",
                      tmp_path / "data_mrna.txt")
    assert done.returncode == 1 and "no sample of expression can be used, such as ESR1, GATA3:" in done.stderr


@pytest.mark.parametrize("case_column", ["cases.submitter_id", "case_submitter_id"])
def test_clinical_rows_become_one_a_patient(download, run_script, tmp_path, case_column):
    rows = [(PATIENTS[0], "57", "'--", "Yes"), (PATIENTS[0], "57", "'--", "No"), (PATIENTS[1], "61", "Stage II", "No"),
            ("TCGA-XX-0000", "1", "1", "1")]
    pd.DataFrame(rows, columns=[case_column, "age", "stage", "treatment"]).to_csv(
        tmp_path / "clinical.tsv", sep="\t", index=False)
    arguments = download.arguments("--clinical", tmp_path / "clinical.tsv")
    done = run_script("data/prepare_tcga.py", tmp_path / "p", *arguments)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "p" / "clinical.csv").read_text() == (
        f"Patient.ID,Response,age,stage\n{PATIENTS[0]},,57,\n{PATIENTS[1]},,61,Stage II\n")
    assert f"clinical.tsv: no row for 1 ({PATIENTS[2]})" in done.stdout
    assert "several values for a patient left out: 1 (treatment)" in done.stdout
    pd.DataFrame(rows[3:], columns=[case_column, "age", "stage", "treatment"]).to_csv(
        tmp_path / "clinical.tsv", sep="\t", index=False)
    done = run_script("data/prepare_tcga.py", tmp_path / "q", *arguments)
    assert done.returncode == 1 and "no row for any of 3" in done.stderr


def test_slides_that_share_a_barcode_keep_their_file_names():
    names = [f"{patient}-01Z-00-DX1.{end}.svs" for patient, end in zip(PATIENTS[:1] + PATIENTS[:2], ["A1", "B2", "C3"])]
    table = tcga_selection.choose_slides(pd.DataFrame({"file_name": names, "reason": ""}), tcga_selection.DIAGNOSTIC)
    assert list(table["slide_id"]) == [names[0][:-4], names[1][:-4], f"{PATIENTS[1]}-01Z-00-DX1"]


@pytest.mark.parametrize("fault, message", [
    ("no column", "has no column Sample ID"), ("other sheet", "lists no file of Data Type 'Slide Image'"),
    ("other project", "see data/prepare_cohort.py"), ("no sheet", "--expression-sheet"),
    ("no folder", "is not a folder"), ("foreign file", "already holds metadata.csv")])
def test_bad_input_is_named(download, run_script, tmp_path, fault, message):
    sheet, arguments = download.folder / "sheet.tsv", download.arguments()
    text = sheet.read_text()
    if fault == "no column":
        sheet.write_text(text.replace("Sample ID", "Sample"))
    elif fault == "other sheet":
        sheet.write_text(text.replace("Slide Image", "Slide"))
    elif fault == "other project":
        sheet.write_text(text.replace("TCGA-", "C3L-"))
    elif fault == "no sheet":
        arguments = arguments[:6]
    elif fault == "no folder":
        arguments[1] = download.folder / "elsewhere"
    else:
        (tmp_path / "p").mkdir()
        (tmp_path / "p" / "metadata.csv").write_text("Slide.ID,Filename\n")
    done = run_script("data/prepare_tcga.py", tmp_path / "p", *arguments)
    assert done.returncode == 1 and message in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert not (tmp_path / "p" / "bulk_expression.tsv.gz").exists()


@pytest.fixture(scope="module")
def demo(run_script, tmp_path_factory):
    """A small demo cohort, which tests only read."""
    folder = tmp_path_factory.mktemp("cohort") / "demo"
    sizes = ["--patients", 20, "--genes", 300, "--width-px", 1536, "--height-px", 1024]
    assert run_script("data/make_demo_cohort.py", folder, *sizes).returncode == 0
    return folder


def download_of_demo(demo, folder):
    """A demo cohort as if it had been downloaded: barcodes for its patients, STAR counts for its bulk."""
    download = Download(folder)
    bulk = pd.read_csv(demo / "bulk_expression.tsv.gz", sep="\t", index_col=0)
    genes = pd.DataFrame({"gene_id": [f"ENSG{i:011d}.1" for i in range(len(bulk))], "gene_name": bulk.index,
                          "gene_type": "protein_coding"})
    barcodes = {patient: f"TCGA-A1-{i:04d}" for i, patient in enumerate(bulk.columns)}
    for slide in pd.read_csv(demo / "metadata.csv").itertuples():
        patient = barcodes[slide._3]
        name = f"{patient}-01Z-00-DX{slide._1[-1]}.{uuid(slide._1).upper()}.svs"
        download.add("slides", name, patient, f"{patient}-01Z", (demo / "slides" / slide.Filename).read_bytes())
    for patient, barcode in barcodes.items():
        download.add("rna", f"{uuid(patient)}.rna_seq.augmented_star_gene_counts.tsv", barcode, f"{barcode}-01A",
                     star_table(bulk[patient], genes))
    download.write()
    return download


@pytest.mark.slow
def test_gdc_download_to_trained_models(run_script, demo, tmp_path):
    """The commands of the README for one's own cohort, on a download that is a demo cohort in disguise."""
    project = tmp_path / "brca"
    download = download_of_demo(demo, tmp_path / "gdc")
    arguments = download.arguments("--manifest", tmp_path / "gdc" / "manifest.txt")
    done = run_script("data/prepare_tcga.py", project, *arguments)
    assert done.returncode == 0 and "22 slides of 20 patients; expression of 300 genes in 20 patients" in done.stdout
    check = run_script("data/check_project.py", project)
    assert check.returncode == 1 and "signature.tsv[.gz] is missing" in check.stdout
    for name in ("signature.tsv.gz", "reference.tsv.gz"):
        shutil.copy(demo / name, project / name)
    check = run_script("data/check_project.py", project)
    assert "1 slides do not tell their magnification" in check.stdout
    metadata = pd.read_csv(project / "metadata.csv")
    metadata.assign(Magnification=20.0 * (metadata.index == 2)).replace({"Magnification": {0: None}}).to_csv(
        project / "metadata.csv", index=False)
    _, last = follow(run_script, project)
    assert last.startswith("everything is done; the figures are in")
    with h5py.File(project / "results" / "predictions.h5") as file:
        assert sorted(file["abundance/patient_ids"].asstr()[:]) == sorted(metadata["Patient.ID"].unique())


LUNG = ["CD8+ T-NK", "Cancer", "T cells, regulatory", "\u03b2-cell"]


@pytest.mark.slow
def test_another_tissue_from_download_to_report(run_script, demo, tmp_path):
    """Nothing is specific to breast: four types with names of their own, labels to base 10, a word for the tissue."""
    project = tmp_path / "luad"
    download = download_of_demo(demo, tmp_path / "gdc")
    done = run_script("data/prepare_tcga.py", project, *download.arguments(), "--tissue", "lung")
    assert done.returncode == 0, done.stderr
    missing = run_script("data/check_project.py", project).stdout
    assert "annotated single cells of lung" in missing and "breast" not in missing.lower()
    for name in ("signature", "reference"):
        table = pd.read_csv(demo / f"{name}.tsv.gz", sep="\t", index_col=0)
        table.iloc[:, :4].set_axis(LUNG, axis=1).to_csv(project / f"{name}.tsv", sep="\t")
    metadata = pd.read_csv(project / "metadata.csv")
    metadata.assign(Magnification=20.0).to_csv(project / "metadata.csv", index=False)
    for script, *more in (
            ["deconvolution/1main_deconvolution.py"],
            ["deconvolution/prepare_targets.py", "--confidence", 0, "--log-base", 10],
            ["slide_processing/1main_processing.py", "all", "--weights", "random"],
            ["slide_processing/collect_features.py"], ["prediction/make_splits.py", "--outer", 2, "--inner", 2],
            ["prediction/1main_cs_exp_regression.py", "all", "all", "all", "--max-epochs", 2],
            ["prediction/1main_abundance_regression.py", "all", "all", "--max-epochs", 2],
            ["prediction/collect_results.py"], ["prediction/figures.py"],
            ["prediction/map_slide.py", 0, "--abundance", LUNG[3], "--cell-type", "Cancer", "--gene", "MS4A1"],
            ["prediction/export_model.py", tmp_path / "model"], ["prediction/report.py"]):
        done = run_script(script, project, *more)
        assert done.returncode == 0, f"{script}: {done.stderr}"
    card, page = ((path).read_text() for path in (tmp_path / "model" / "README.md", project / "report.html"))
    assert "tissue: lung" in card and "lung" in page
    assert "breast" not in card.lower() and "breast" not in page.lower()
    maps = "".join(path.read_text() for path in (project / "maps").rglob("*.json"))
    assert "log10(TPM + 1)" in maps and "log2" not in maps
    with h5py.File(project / "results" / "predictions.h5") as file:
        assert set(file["expression"]) == set(LUNG) and set(file["abundance/cell_types"].asstr()[:]) == set(LUNG)
