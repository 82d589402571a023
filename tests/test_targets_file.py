"""targets.h5: labels are joined by patient, what cannot be learnt is dropped with a note, what is no label refused."""
import logging

import h5py
import numpy as np
import pytest

import simulated_cohort
from simulated_cohort import change
from slide_ex.project import features_file, targets_file


@pytest.fixture
def project(tmp_path):
    return simulated_cohort.write(tmp_path / "cohort")


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
    unknown = slides.patient_ids == "P000"
    assert np.isnan(labels[unknown]).all() and np.isfinite(labels[~unknown]).all()


def test_cell_types_by_name_short_form_and_all(project):
    path = project / "targets.h5"
    assert targets_file.choose_cell_types(path, ["Cancer"]) == ["Cancer Epithelial"]
    assert targets_file.choose_cell_types(path, ["CAFs", "all"]) == ["CAFs", "Cancer Epithelial"]
    with pytest.raises(ValueError, match="no cell type 'Caf'.*CAFs, Cancer Epithelial"):
        targets_file.choose_cell_types(path, ["CAFs", "Caf"])


def as_text(path, name):
    with h5py.File(path, "r+") as file:
        shape = file[name].shape
        del file[name]
        file.create_dataset(name, data=np.full(shape, "0.5", object), dtype=h5py.string_dtype())


def test_labels_that_are_text_are_refused(project):
    path = project / "targets.h5"
    as_text(path, "expression/CAFs/labels")
    with pytest.raises(ValueError, match=f"{path}: expression/CAFs/labels are object .*prepare_targets.py --overwrite"):
        targets_file.read_labels(path, "CAFs")
    assert len(targets_file.read_labels(path, "abundance")[0]) == 40    # of the others nothing is wrong


@pytest.mark.parametrize("target, name, spoil, message", [
    ("CAFs", "expression/CAFs/genes", lambda genes: [*genes[:-1], genes[0]], "expression/CAFs has GENE0 twice"),
    ("CAFs", "expression/CAFs/labels", lambda labels: labels[:, :-1],
     "needed: floating numbers of 40 patients x 15 genes"),
    ("CAFs", "expression/CAFs/labels", lambda labels: labels.T, "needed: floating numbers of 40 patients x 15 genes"),
    ("abundance", "abundance/cell_types", lambda names: [names[0]] * 2, "abundance has CAFs twice"),
    ("abundance", "abundance/labels", lambda labels: labels - 0.5, "abundance/labels outside 0 to 1"),
    ("abundance", "abundance/labels", lambda labels: labels * 100, "abundance/labels outside 0 to 1"),
    ("abundance", "patient_ids", lambda ids: [*ids[:-1], ids[0]], "has the patient P000 twice"),
    ("abundance", "patient_ids", lambda ids: ids[:-1], "needed: floating numbers of 39 patients x 2 cell_types")])
def test_labels_that_are_none_are_refused_by_name(project, target, name, spoil, message):
    path = project / "targets.h5"
    change(path, name, spoil)
    with pytest.raises(ValueError, match=f"^{path}.*{message}.*deconvolution/prepare_targets.py --overwrite"):
        targets_file.read_labels(path, target)
