"""From a folder of slides, a table of ids and a table of expression to the inputs of a project."""
import numpy as np
import pandas as pd
import pytest

from inputs import bulk_sources
from slide_ex import expression_scale, ids, record

PATIENTS = ["P-01", "P-02", "P-03"]


@pytest.fixture
def cohort(tmp_path):
    """Three patients, the first with two slides; paths of the folder, the table and the expression."""
    folder = tmp_path / "mine"
    (folder / "scans" / "batch2").mkdir(parents=True)
    names = ["a.svs", "a2.ome.tif", "b.svs", "batch2/c.ndpi"]
    for name in names:
        (folder / "scans" / name).write_text(name)
    pd.DataFrame({"Filename": names, "Patient.ID": ["P-01", *PATIENTS], "Magnification": ["20", "", "", "40"],
                  "Response": ["", "pCR", "RD", ""]}).to_csv(folder / "cohort.csv", index=False)
    pd.DataFrame(np.arange(6).reshape(2, 3) * 50., ["ESR1", "GATA3"], PATIENTS).to_csv(folder / "tpm.tsv", sep="\t")
    return folder


def prepare(run_script, cohort, *more):
    return run_script("data/prepare_cohort.py", cohort.parent / "p", "--table", cohort / "cohort.csv", "--slides",
                      cohort / "scans", "--expression", cohort / "tpm.tsv", *more)


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_cohort_becomes_a_project(cohort, run_script):
    done = prepare(run_script, cohort)
    assert done.returncode == 0, done.stderr
    project = cohort.parent / "p"
    assert (project / "metadata.csv").read_text() == (
        "Slide.ID,Filename,Patient.ID,Magnification\na,a.svs,P-01,20\na2,a2.ome.tif,P-01,\nb,b.svs,P-02,\n"
        "c,batch2/c.ndpi,P-03,40\n")
    assert (project / "slides" / "batch2" / "c.ndpi").read_text() == "batch2/c.ndpi"
    assert (project / "clinical.csv").read_text() == "Patient.ID,Response\nP-01,pCR\nP-02,RD\nP-03,\n"
    bulk = pd.read_csv(project / "bulk_expression.tsv.gz", sep="\t", index_col=0)
    assert list(bulk.columns) == PATIENTS and list(bulk.loc["GATA3"]) == [150, 200, 250]
    assert "skipped" in prepare(run_script, cohort).stdout


def test_other_column_names_and_expression_ids_are_declared(cohort, run_script):
    edit(cohort / "cohort.csv", "Filename,Patient.ID", "image,case")
    edit(cohort / "cohort.csv", "Response\n", "Response,Expression.ID\n")
    edit(cohort / "cohort.csv", "P-01,20,\n", "P-01,20,,RNA1\n")
    for row in ("P-01,,pCR", "P-02,,RD", "P-03,40,"):
        edit(cohort / "cohort.csv", f"{row}\n", f"{row},RNA{row[3]}\n")
    edit(cohort / "tpm.tsv", "P-01\tP-02\tP-03", "RNA3\tRNA2\tRNA1")
    done = prepare(run_script, cohort)
    assert done.returncode == 1 and "has no column Filename" in done.stderr and "image, case" in done.stderr
    done = prepare(run_script, cohort, "--columns", "Filename=image", "Patient.ID=case")
    assert done.returncode == 0, done.stderr
    bulk = pd.read_csv(cohort.parent / "p" / "bulk_expression.tsv.gz", sep="\t", index_col=0)
    assert list(bulk.columns) == PATIENTS and list(bulk.loc["GATA3"]) == [250, 200, 150]


def test_patient_with_expression_alone_and_cohort_without_expression(cohort, run_script):
    edit(cohort / "cohort.csv", "batch2/c.ndpi,P-03,40,", ",P-03,,")
    assert prepare(run_script, cohort).returncode == 0
    assert "P-03" not in (cohort.parent / "p" / "metadata.csv").read_text()
    assert "P-03" in pd.read_csv(cohort.parent / "p" / "bulk_expression.tsv.gz", sep="\t")
    done = run_script("data/prepare_cohort.py", cohort.parent / "slides_only", "--table", cohort / "cohort.csv",
                      "--slides", cohort / "scans")
    assert done.returncode == 0, done.stderr
    assert not (cohort.parent / "slides_only" / "bulk_expression.tsv.gz").exists()


@pytest.mark.parametrize("file, old, new, message", [
    ("cohort.csv", "b.svs", "B.SVS", "no such slide file: B.SVS (b.svs?)"),
    ("cohort.csv", "P-02", "P_2", "no such column of expression: P_2 (P-02?)"),
    ("tpm.tsv", "P-01\tP-02\tP-03", "x1\tx2\tx3", "add a column Expression.ID"),
    ("cohort.csv", "Patient.ID", "patient_id", "--columns Patient.ID=patient_id"),
    ("cohort.csv", "b.svs,P-02", "b.svs,", "no patient in 1 rows: b"),
    ("cohort.csv", "b.svs", "a.svs", "occurs more than once: a"),
    ("cohort.csv", "RD", "rd", "Response rd (RD?) is not pCR, RD or empty"),
    ("cohort.csv", "P-01,20,", "P-01,20,RD", "more than one response: P-01"),
    ("tpm.tsv", "150.0", "x", "no number ('x' of GATA3): P-01"),
    ("tpm.tsv", "50.0", "5", "look like logarithms")])
def test_bad_input_is_named(cohort, run_script, file, old, new, message):
    edit(cohort / file, old, new)
    if message == "look like logarithms":
        (cohort / file).write_text("\tP-01\tP-02\tP-03\nESR1\t1\t2\t3\n")
    done = prepare(run_script, cohort)
    assert done.returncode == 1 and message in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert not (cohort.parent / "p" / "metadata.csv").exists()


@pytest.mark.parametrize("old, new, message", [
    (",20,", ",20x,", "Magnification of a is '20x', not a positive number"),
    (",20,", ",500,", "Magnification of a is 500, outside 2 to 200"),
    ("\na.svs,", "\n../scans/a.svs,", "'../scans/a.svs' leaves the folder slides/")])
def test_what_slide_processing_would_refuse_is_refused_here(cohort, run_script, old, new, message):
    edit(cohort / "cohort.csv", old, new)
    done = prepare(run_script, cohort)
    assert done.returncode == 1 and message in done.stderr and "cohort.csv" in done.stderr
    assert not (cohort.parent / "p" / "metadata.csv").exists()


def test_a_patient_without_a_slide_may_be_na(cohort, run_script):
    edit(cohort / "cohort.csv", "b.svs,P-02,,RD", "NA,P-02,NA,RD")
    done = prepare(run_script, cohort)
    assert done.returncode == 0 and "3 slides of 2 patients; expression of 2 genes in 3" in done.stdout, done.stderr


def test_one_sample_is_not_that_of_two_patients(cohort, run_script):
    table = pd.read_csv(cohort / "cohort.csv").assign(**{"Expression.ID": ["", "", "P-01", ""]})
    table.to_csv(cohort / "cohort.csv", index=False)
    done = prepare(run_script, cohort)
    assert done.returncode == 1 and "the same expression under more than one patient: P-01" in done.stderr


def test_unmatched_rows_are_left_out_when_allowed(cohort, run_script):
    edit(cohort / "cohort.csv", "b.svs", "B.SVS")
    done = prepare(run_script, cohort, "--allow-unmatched")
    assert done.returncode == 0 and "row: 3 of 4 used; 1 left out: no such slide file: B.SVS (b.svs?)" in done.stdout
    assert "P-02" not in pd.read_csv(cohort.parent / "p" / "bulk_expression.tsv.gz", sep="\t")


def test_killed_run_is_taken_up_again(cohort, run_script):
    assert prepare(run_script, cohort).returncode == 0
    project = cohort.parent / "p"
    before = {path.name: path.read_bytes() for path in project.iterdir() if path.is_file()}
    made = record.read(project / "preparation.json", "prepare_cohort.py")
    record.write(project / "preparation.json", made | {"finished": False})  # as between its first output and its last
    (project / "bulk_expression.tsv.gz").unlink()
    done = prepare(run_script, cohort)
    assert done.returncode == 0 and "skipped" not in done.stdout, done.stderr
    assert {path.name: path.read_bytes() for path in project.iterdir() if path.is_file()} == before


def test_near_ids():
    assert ids.with_near_matches(["tcga_a1", "Q"], ["TCGA-A1", "TCGA-A2"]) == "tcga_a1 (TCGA-A1?), Q"
    assert ids.with_near_matches(list("abcdefg"), [], 2) == "a, b and 5 more"


def test_slides_and_samples_that_the_table_does_not_name_are_listed(cohort, run_script):
    edit(cohort / "cohort.csv", "b.svs,P-02,,RD\n", "")
    done = prepare(run_script, cohort)
    assert done.returncode == 0, done.stderr
    assert "slide files that the table does not name: 1 (b.svs)" in done.stdout
    assert "samples of expression that the table does not name: 1 (P-02)" in done.stdout


def test_what_a_gene_map_does_to_symbols_and_counts_is_said(tmp_path):
    values = pd.DataFrame({"P1": [300., 200, 500], "P2": [100., 800, 100]}, ["CD3E", "MALAT1", "SEPT6"])
    (values * 1000).to_csv(tmp_path / "t.tsv", sep="\t")
    gene_map = pd.DataFrame({"gene_id": ["A", "A", "B", "C"], "gene_name": ["CD3E", "CD3E", "MALAT1", "SEPT6"],
                             "gene_type": [*["protein_coding"] * 2, "lncRNA", "protein_coding"],
                             "length": ["1000", "3000", "4000", "500"]})
    scale = expression_scale.Declared(is_bulk=True)
    genes = bulk_sources.read_matrix(tmp_path / "t.tsv", scale, True, gene_map)
    rate = values.div([1000, 4000, 500], axis=0)
    np.testing.assert_allclose(genes.values, rate / rate.sum() * 1e6)
    assert "several lengths (of transcripts?) of 1 genes, the first counts: A" in genes.notes[1]
    assert "leave out --counts" in genes.notes[0]
    table, notes = bulk_sources.under_symbols(genes, tmp_path / "t.tsv", gene_map.iloc[:3])
    assert list(table.index) == ["CD3E"]
    assert notes[-2:] == ["1 genes that are not protein-coding left out",
                          "1 genes that are not in the gene map left out: SEPT6"]
