"""clinical.csv: responses are the words that are known, one row a patient."""

import pytest

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
