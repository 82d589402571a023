"""Reading and joining the files of other stages: what is left out is said, what is wrong is refused."""
import logging

import h5py
import numpy as np
import pytest

import simulated_cohort
from slide_ex.project import features_file, targets_file


@pytest.fixture
def project(tmp_path):
    return simulated_cohort.write(tmp_path / "cohort")


def change(path, name, function):
    with h5py.File(path, "r+") as file:
        values = function(file[name][:])
        del file[name]
        file[name] = values


def test_slides_without_tiles_are_left_out_with_a_note(project, caplog):
    caplog.set_level(logging.INFO)
    before = features_file.read_slides(project / "features.h5")
    change(project / "features.h5", "first_tile", lambda first: np.r_[first[:1], first[:1], first[2:]])
    change(project / "features.h5", "mean_features", lambda means: np.r_[np.full_like(means[:1], np.nan), means[1:]])
    slides = features_file.read_slides(project / "features.h5")
    assert "P000-slide0" in caplog.text and list(slides.slide_ids) == list(before.slide_ids[1:])
    assert slides.slide_indexes[0] == 1 and slides.sha256 != before.sha256


def test_features_that_are_not_finite_are_refused(project):
    change(project / "features.h5", "mean_features", lambda means: np.r_[means[:1] * np.nan, means[1:]])
    with pytest.raises(ValueError, match="not finite in 1 .P000-slide0."):
        features_file.read_slides(project / "features.h5")


def test_mixed_encoders_are_refused(project):
    with h5py.File(project / "features.h5", "r+") as file:
        del file.attrs["weights_sha256"]
    with pytest.raises(ValueError, match="different encoders"):
        features_file.read_slides(project / "features.h5")


def test_constant_and_missing_genes_are_dropped_with_a_note(project, caplog):
    caplog.set_level(logging.INFO)

    def spoil(labels):
        labels[:, 0], labels[3, 1] = 2.5, np.nan
        return labels
    change(project / "targets.h5", "expression/CAFs/labels", spoil)
    target = targets_file.read_expression(project / "targets.h5", "CAFs")
    assert list(target.outputs) == [f"GENE{i}" for i in range(2, 15)]
    assert "constant: 1 (GENE0)" in caplog.text and "missing labels: 1 (GENE1)" in caplog.text
    change(project / "targets.h5", "expression/CAFs/labels", np.zeros_like)
    with pytest.raises(ValueError, match="CAFs: no genes left"):
        targets_file.read_expression(project / "targets.h5", "CAFs")


def test_labels_are_joined_by_patient_not_by_row(project):
    slides = features_file.read_slides(project / "features.h5")
    before = targets_file.read_abundance(project / "targets.h5").of_slides(slides)
    for name in ("patient_ids", "abundance/labels"):
        change(project / "targets.h5", name, lambda values: values[::-1])
    assert np.array_equal(targets_file.read_abundance(project / "targets.h5").of_slides(slides), before)
    change(project / "targets.h5", "patient_ids", lambda ids: [*ids[:-1], b"other"])
    labels = targets_file.read_abundance(project / "targets.h5").of_slides(slides)
    assert np.isnan(labels[slides.patient_ids == "P000"]).all() and np.isfinite(labels[slides.patient_ids != "P000"]).all()


def test_cell_types_by_name_short_form_and_all(project):
    path = project / "targets.h5"
    assert targets_file.choose_cell_types(path, "Cancer") == ["Cancer Epithelial"]
    assert targets_file.choose_cell_types(path, "all") == ["CAFs", "Cancer Epithelial"]
    with pytest.raises(ValueError, match="no cell type 'Caf'.*CAFs, Cancer Epithelial"):
        targets_file.choose_cell_types(path, "Caf")


@pytest.mark.parametrize("table, complaint", [
    ("Patient.ID,Respons\nP000,pCR\n", "no column Response"),
    ("Patient.ID,Response\nP000,pcr\nP001,RD\n", "pcr. is not pCR, RD or empty"),
    ("Patient.ID,Response\nP000,pCR\nP000,RD\n", "more than one row for 1 .P000."),
    ("Patient.ID,Response\nP000,pCR\nP001,\n", "no response left")])
def test_bad_clinical_tables_are_refused(tmp_path, table, complaint):
    (tmp_path / "clinical.csv").write_text(table)
    with pytest.raises(ValueError, match=complaint):
        targets_file.read_response(tmp_path / "clinical.csv")
