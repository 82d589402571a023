"""Bundles: the same predictions as the models they were made from, and what is wrong with them is said."""
import argparse
import json
import shutil

import export_model
import h5py
import numpy as np
import predict_cohort
import pytest
import safetensors.numpy

import trained_project
from slide_ex import record
from transfer import model_bundle, model_card, trained_models


@pytest.fixture(scope="module")
def exported(tmp_path_factory, run_script):
    """A trained project, another cohort, and the bundles of the means and of all models."""
    folder = tmp_path_factory.mktemp("exported")
    home, away = trained_project.write(folder)
    for name, *options in (("means", "--licence", "CC-BY-4.0"), ("all", "--all-models", "--name", "all models")):
        done = run_script("prediction/export_model.py", home, folder / name, *options)
        assert done.returncode == 0, done.stderr
    return home, away, folder / "means", folder / "all"


def predicted(away, models, name):
    """The open predictions.h5 of a cohort predicted by a project or a bundle."""
    predict_cohort.main(argparse.Namespace(project_path=away, models=models, cell_types=[], outer_only=False, seed=0,
                                           partial=False, csv=False, bootstrap=5, overwrite=True, use=None))
    return h5py.File(away / "predictions" / name / "predictions.h5")


def export(project, out_folder, **options):
    """export_model.py in this process."""
    defaults = {"use": None, "name": None, "cell_types": [], "all_models": False, "licence": "not stated",
                "partial": False}
    export_model.main(argparse.Namespace(project_path=project, out_folder=out_folder, overwrite=False,
                                         **defaults | options))


def test_one_matrix_predicts_the_mean_of_all_models(exported):
    home, away, means, all_models = exported
    of_models = {}
    with predicted(away, home, "home") as file:
        overlap = (away / "predictions" / "home" / "overlap.csv").read_text()
        slides = (away / "predictions" / "home" / "slides.csv").read_text()
        for group in ("expression/CAFs", "expression/Cancer Epithelial", "abundance", "direct"):
            of_models[group] = file[group]["predictions"][:], file[group]["spread"][:]
    with predicted(away, means, "home") as file:
        for group, (mean, _) in of_models.items():
            assert np.abs(file[group]["predictions"][:] - mean).max() < 1e-5
        assert "spread" not in file["expression/CAFs"] and "spread" in file["direct"]
        assert file.attrs["n_models"] == 6 == file["expression/CAFs"].attrs["n_models"]
    assert (away / "predictions" / "home" / "overlap.csv").read_text() == overlap
    assert (away / "predictions" / "home" / "slides.csv").read_text() == slides
    with predicted(away, all_models, "all models") as file:
        for group, (mean, spread) in of_models.items():
            assert np.array_equal(file[group]["predictions"][:], mean)
            assert np.array_equal(file[group]["spread"][:], spread)


def test_a_matrix_is_enough_without_this_repository(exported):
    _, away, means, _ = exported
    weights = safetensors.numpy.load_file(means / "CAFs.safetensors")
    assert {name: (values.shape, values.dtype) for name, values in weights.items()} == {
        "weight": ((15, 24), np.float32), "bias": ((15,), np.float32)}
    with h5py.File(away / "features.h5") as file:
        predictions = file["mean_features"][:] @ weights["weight"].T + weights["bias"]
    assert np.isfinite(predictions).all()
    described = json.loads((means / "bundle.json").read_text())["targets"]["CAFs"]
    assert described["outputs"] == [f"GENE{i}" for i in range(15)] and described["n_models"] == 6


def test_bundle_tells_what_it_is_and_gives_no_patient_away(exported):
    home, _, means, _ = exported
    content = json.loads((means / "bundle.json").read_text())
    card = (means / "README.md").read_text()
    assert content["features"]["encoder"] == "resnet50" and content["training"]["n_patients"] == 60
    assert content["training"]["out_of_fold"]["CAFs"] == {"n_patients": 60, "n_genes": 15, "median_r": 0.55,
                                                          "n_r_above_0.40": 10}
    for text in ("Licence of the weights: CC-BY-4.0", "tile_px: 512", "60 patients", "For research",
                 "| CAFs | 6 | 15 | 60 | 0.55 | 10 |", "| abundance | 6 | 2 | not known |"):
        assert text in card
    everything = b"".join(path.read_bytes() for path in means.iterdir())
    patients = json.loads((home / "splits.json").read_text())["patients"]
    assert not any(patient.encode() in everything for patient in patients)


def test_the_card_says_which_tiles_were_left_out(exported):
    content = model_bundle.read_content(exported[2])
    assert "- drop" not in model_card.text(content) and "- mask_class" not in model_card.text(content)
    content["features"] |= {"drop": "", "mask_class": "Tumor"}
    assert "- mask_class: Tumor" in model_card.text(content) and "- drop" not in model_card.text(content)


def test_shared_patients_are_refused_by_their_hashes(exported, run_script):
    home, _, means, _ = exported
    done = run_script("prediction/predict_cohort.py", home, "--models", means)
    assert done.returncode != 0
    assert "was trained on patients of this cohort: 60 (P000, P001, P002 and 57 more)" in done.stderr


def test_second_export_is_finished_and_other_options_are_refused(exported, caplog):
    caplog.set_level("INFO")
    home, _, means, _ = exported
    export(home, means, licence="CC-BY-4.0")
    assert "bundle: finished" in caplog.text
    with pytest.raises(ValueError, match=r"was made in another way \(licence was CC-BY-4.0, now not stated\)"):
        export(home, means)
    with pytest.raises(ValueError, match="is no bundle"):
        export(home, home / "results")
    assert (home / "results" / "summary.csv").is_file()
    with pytest.raises(ValueError, match="'../elsewhere' cannot be the name of a file"):
        export(home, means, name="../elsewhere")


def damage(bundle, kind):
    """Damage a bundle; the text by which it must be refused."""
    if kind == "missing":
        (bundle / "CAFs.safetensors").unlink()
        return "CAFs.safetensors is missing"
    if kind == "altered":
        content = bytearray((bundle / "abundance.safetensors").read_bytes())
        content[-1] ^= 1
        (bundle / "abundance.safetensors").write_bytes(content)
        return "abundance.safetensors is not as it was exported"
    if kind == "cut":
        (bundle / "bundle.json").write_text((bundle / "bundle.json").read_text()[:1000])
        return "bundle.json is damaged"
    content = record.read(bundle / "bundle.json", "export_model.py")
    if kind == "entry":
        record.write(bundle / "bundle.json", {name: content[name] for name in content if name != "patients_sha256"})
        return "bundle.json is damaged, or was edited"
    if kind == "version":
        record.write(bundle / "bundle.json", content | {"version": 2})
        return "is not of version 1"
    record.write(bundle / "bundle.json", content | {"name": "../../home"})
    return "'../../home' cannot be the name of a file"


@pytest.mark.parametrize("kind", ["missing", "altered", "cut", "entry", "version", "path"])
def test_damaged_bundles_are_refused(exported, tmp_path, kind):
    shutil.copytree(exported[2], tmp_path / "bundle")
    text = damage(tmp_path / "bundle", kind)
    with pytest.raises(ValueError, match=text.replace(".", r"\.")):
        model_bundle.read(tmp_path / "bundle")


def test_damaged_bundle_is_one_line_and_a_mean_has_no_outer_folds(exported, run_script, tmp_path):
    _, away, means, _ = exported
    with pytest.raises(ValueError, match="export again with --all-models"):
        trained_models.first_inner(model_bundle.read(means).targets["CAFs"])
    shutil.copytree(means, tmp_path / "bundle")
    text = damage(tmp_path / "bundle", "missing")
    done = run_script("prediction/predict_cohort.py", away, "--models", tmp_path / "bundle")
    assert done.returncode != 0 and text in done.stderr and len(done.stderr.splitlines()) == 1


def test_models_missing_at_export_are_told_later(exported, tmp_path):
    home, bundle = tmp_path / "home", tmp_path / "bundle"
    shutil.copytree(exported[0], home)
    shutil.rmtree(home / "results" / "CAFs_preds" / "result_2_1")
    export(home, bundle, cell_types=["CAFs"], partial=True)
    assert "| CAFs | 5 (some missing) |" in (bundle / "README.md").read_text()
    with pytest.raises(ValueError, match="exported without 1 .CAFs result_2_1.: give --partial"):
        model_bundle.read(bundle)
    assert model_bundle.read(bundle, partial=True).targets["CAFs"].n_models == 5
