"""clinical.csv: responses are the words that are known, one row a patient."""

import pytest

import simulated_cohort
from slide_ex.project import targets_file


@pytest.mark.parametrize("table, complaint", [
    ("Patient.ID,Respons\nP000,pCR\n", r"no column Response \(Respons\?\), its columns are Patient.ID, Respons"),
    ("Patient.ID,Response\nP000,pcr\nP001,RD\n",
     r"column Response: pcr \(pCR\?\) is not pCR, RD or empty: write one of these"),
    ("Patient.ID,Response\nP000,pCR\nP000,RD\n", "more than one row for 1 .P000."),
    ("Patient.ID,Response\nP000,pCR\nP001,\n", "no response left")])
def test_bad_clinical_tables_are_refused(tmp_path, table, complaint):
    (tmp_path / "clinical.csv").write_text(table)
    with pytest.raises(ValueError, match=complaint):
        targets_file.read_response(tmp_path / "clinical.csv")


@pytest.fixture(scope="module")
def with_folds(tmp_path_factory, run_script):
    project = simulated_cohort.write(tmp_path_factory.mktemp("cohort"))
    done = run_script("prediction/make_splits.py", project, "--outer", 2, "--inner", 2, "--stratify", "response")
    assert done.returncode == 0, done.stderr
    return project


@pytest.mark.parametrize("command", [
    ("make_splits.py", "--stratify", "response", "--overwrite"), ("make_splits.py", "--overwrite"),
    ("1main_direct.py", 0, 0, "--model", "low-rank", "--overwrite"),
    ("predict_response.py", "--from", "targets", "--features", "abundance", "--repeats", 1, "--search", 1,
     "--bootstrap", 20, "--overwrite")])
def test_patients_without_a_row_are_said_and_ids_written_otherwise_refused(with_folds, run_script, command):
    script, *options = command
    if script.startswith("1main"):
        pytest.importorskip("torch", reason="the lowest versions are tried without torch")
    clinical = with_folds / "clinical.csv"
    all_rows = clinical.read_text()
    clinical.write_text(all_rows.replace("P003,", "Q003,").replace("P007,", "Q007,"))
    done = run_script(f"prediction/{script}", with_folds, *options)
    assert done.returncode == 0 and "no row in clinical.csv: 2 (P003, P007)" in done.stdout, done.stderr
    clinical.write_text(all_rows.replace(",", "-01A,").replace("Patient.ID-01A", "Patient.ID"))
    refused = run_script(f"prediction/{script}", with_folds, *options)
    clinical.write_text(all_rows)
    assert refused.returncode == 1 and "no row for any of 40 patients: P000 (P000-01A?)" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
