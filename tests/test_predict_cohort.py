"""Models of one cohort on another: the mean and spread of all models, plain statistics, what is refused."""
import argparse
import shutil

import h5py
import numpy as np
import pandas as pd
import predict_cohort
import pytest
import torch
from scipy import stats
from sklearn import metrics

import trained_project
from slide_ex.project import features_file, targets_file
from transfer import cohort_prediction, trained_models, transfer_tables

N_MODELS = trained_project.N_OUTER * trained_project.N_INNER


@pytest.fixture(scope="module")
def cohorts(tmp_path_factory, run_script):
    """A trained project and another cohort, which is predicted with tables; the labels of the latter lack GENE3."""
    home, away = trained_project.write(tmp_path_factory.mktemp("cohorts"))
    with h5py.File(away / "targets.h5", "r+") as file:
        genes = file["expression/CAFs/genes"]
        genes[3] = "ELSEWHERE"
    done = run_script("prediction/predict_cohort.py", away, "--models", home, "--csv", "--bootstrap", 20)
    assert done.returncode == 0, done.stderr
    assert "CAFs: outputs predicted without labels: 1 (GENE3)" in done.stdout
    assert "CAFs: outputs labelled without predictions: 1 (ELSEWHERE)" in done.stdout
    return home, away


def predict(away, home, *cell_types, **options):
    """predict_cohort.py in this process, which has loaded torch already; the folder of predictions."""
    defaults = {"use": None, "outer_only": False, "partial": False, "csv": False, "bootstrap": 5,
                "seed": 0, "overwrite": False}
    predict_cohort.main(argparse.Namespace(project_path=away, models=home, cell_types=cell_types, **defaults | options))
    return away / "predictions" / home.name


@pytest.fixture
def away(cohorts, tmp_path):
    """A copy of the other cohort without predictions, to be changed."""
    shutil.copytree(cohorts[1], tmp_path / "away", ignore=shutil.ignore_patterns("predictions"))
    return tmp_path / "away"


def by_each_model(home, away, folder, relu):
    """Predictions of the patients by each model, tile by tile, (n_models, n_patients, n_outputs); patients, sorted."""
    with h5py.File(away / "features.h5") as file:
        first, tiles = file["first_tile"][:], file["features"][:].astype(float)
        slide_patients = file["patient_ids"].asstr()[:]
    patients, models = sorted(set(slide_patients)), []
    for path in sorted((home / "results" / folder).glob("result_*/model_trained.pth")):
        state = {key: value.double().numpy() for key, value in torch.load(path, weights_only=True).items()}
        of_slides = []
        for start, stop in zip(first, first[1:]):
            hidden = tiles[start:stop] @ state["first.weight"].T + state["first.bias"]
            hidden = np.maximum(hidden, 0) if relu else hidden
            out = (hidden @ state["last.weight"].T + state["last.bias"]).mean(0)
            of_slides.append(1 / (1 + np.exp(-out)) if relu else out)
        models.append([np.mean([row for row, owner in zip(of_slides, slide_patients) if owner == patient], axis=0)
                       for patient in patients])
    return np.array(models), patients


@pytest.mark.parametrize("group, folder", [("expression/CAFs", "CAFs_preds"), ("abundance", "cell_fraction_preds"),
                                           ("direct", "direct_preds")])
def test_predictions_are_mean_and_spread_of_all_models(cohorts, group, folder):
    home, away = cohorts
    models, patients = by_each_model(home, away, folder, relu=group == "direct")
    models = models[..., 0] if group == "direct" else models
    with h5py.File(away / "predictions" / "home" / "predictions.h5") as file:
        assert list(file[group]["patient_ids"].asstr()[:]) == patients and len(models) == N_MODELS
        assert np.allclose(file[group]["predictions"][:], models.mean(0), atol=1e-5)
        assert np.allclose(file[group]["spread"][:], models.std(0, ddof=1), atol=1e-5)
        assert file.attrs["n_models"] == N_MODELS and file.attrs["trained"] == "home"
        of_slides = pd.DataFrame(file[f"slides/{group}/predictions"][:]).groupby(file["slides/patient_ids"].asstr()[:])
        assert len(of_slides.obj) == len(file["slides/slide_ids"]) > len(patients)
        assert np.allclose(of_slides.mean().loc[patients], models.mean(0).reshape(len(patients), -1), atol=1e-5)


def test_statistics_are_the_plain_ones(cohorts):
    folder = cohorts[1] / "predictions" / "home"
    table = pd.read_csv(folder / "CAFs_genes.csv").set_index("gene")
    assert len(table) == 14 and "GENE3" not in table.index
    with h5py.File(folder / "predictions.h5") as file:
        group = file["expression/CAFs"]
        for i, gene in enumerate(group["genes"].asstr()[:]):
            labels, predictions = group["labels"][:, i], group["predictions"][:, i]
            if gene == "GENE3":
                assert np.isnan(labels).all() and np.isfinite(predictions).all()
            else:
                assert table.loc[gene, "pearson_r"] == pytest.approx(stats.pearsonr(labels, predictions)[0], abs=1e-4)
        auc = metrics.roc_auc_score(file["direct/labels"][:], file["direct/predictions"][:])
        csv_table = pd.read_csv(folder / "CAFs.csv", index_col="patient_id")
        assert np.allclose(csv_table, group["predictions"][:], rtol=1e-5)
        assert list(csv_table.columns) == list(group["genes"].asstr()[:])
    summary = pd.read_csv(folder / "summary.csv").set_index("target")
    assert summary.loc["direct", "auc"] == pytest.approx(auc, abs=1e-5)
    assert summary.loc["CAFs", "median_r"] > 0.6 and set(summary["model"]) == {"slide-ex"}
    overlap = pd.read_csv(folder / "overlap.csv").set_index("cell_type").loc["CAFs"]
    assert overlap["n_genes"] == 14 and overlap["n_robust_training"] == 10  # GENE3 was one of 11
    assert overlap["n_robust_here"] == (table["pearson_r"] > 0.4).sum()


def test_overlap_is_the_hypergeometric_tail():
    here = pd.DataFrame({"gene": list("ABCDEFG"), "pearson_r": [0.9, 0.9, 0.5, 0.1, 0.1, 0.1, 0.9]})
    row = transfer_tables.overlap("CAFs", pd.Series([0.8, 0.7, 0.1, 0.5, 0.2, 0.3, 0.9], list("ABCDEFH")), here)
    assert [row[key] for key in ("n_genes", "n_robust_training", "n_robust_here", "n_both")] == [6, 3, 3, 2]
    assert row["p_hypergeometric"] == pytest.approx(stats.fisher_exact([[2, 1], [1, 2]], "greater")[1])
    nothing = transfer_tables.overlap("CAFs", pd.Series([0.1] * 7, list("ABCDEFG")), here)
    assert nothing["n_robust_here"] == 4 and np.isnan(nothing["p_hypergeometric"])  # nothing to test


def test_intervals_are_those_of_the_genes_that_have_labels(cohorts):
    """Labels of another order than predictions, and of fewer genes."""
    random = np.random.default_rng(0)
    patients, genes = np.array(["P0", "P1", "P2", "P3"]), np.array(["GENE1", "GENE2", "GENE3"])
    predicted = cohort_prediction.CohortPrediction(genes, None, patients, random.normal(size=(4, 3)), None, 1)
    target = targets_file.Target("CAFs", patients[::-1], np.array(["GENE3", "other", "GENE1"]),
                                 random.normal(size=(4, 3)).astype(np.float32), "")
    tables = transfer_tables.Tables(cohorts[1] / "targets.h5", 5, 0)
    tables.add("CAFs", predicted, target, [], np.array([0.5, 9, 1]))
    table = tables.finished()["CAFs_genes"].set_index("gene")
    for gene, column, width in (("GENE1", 2, 0.5), ("GENE3", 0, 1)):
        off = abs(predicted.predictions[:, list(genes).index(gene)] - target.labels[::-1, column])
        assert table.loc[gene, "half_width_90"] == width and table.loc[gene, "coverage_90"] == (off <= width).mean()


def test_predictions_are_made_again_for_other_labels_and_intervals(cohorts, away, caplog, monkeypatch):
    caplog.set_level("INFO")

    def is_made_again():
        caplog.clear()
        predict(away, cohorts[0], "CAFs")
        return "predictions: finished" not in caplog.text
    assert is_made_again() and not is_made_again()
    with h5py.File(away / "targets.h5", "r+") as file:
        file["expression/CAFs/labels"][0] += 1
    assert is_made_again() and not is_made_again()
    monkeypatch.setattr(trained_models.known_residuals, "half_widths", lambda *told: np.ones(15))
    assert is_made_again() and not is_made_again()


def test_p_of_overlaps_are_corrected_over_the_cell_types_that_were_tested():
    tables = transfer_tables.Tables(None, 1, 0)
    tables.overlaps = [{"p_hypergeometric": p} for p in (0.01, np.nan, 0.04, 0.03)]
    corrected = tables.finished()["overlap"]["p_benjamini_hochberg"]
    assert np.allclose(corrected, [0.03, np.nan, 0.04, 0.04], equal_nan=True)


def test_running_moments_are_mean_and_sd():
    values = 1000 + np.random.default_rng(0).normal(size=(7, 3, 2))
    moments = cohort_prediction.RunningMoments()
    for of_model in values:
        moments.add(of_model)
    assert np.allclose(moments.mean, values.mean(0)) and np.allclose(moments.sd(), values.std(0, ddof=1))


def test_features_alone_are_enough_and_outer_only_takes_one_model_a_fold(cohorts, away, caplog):
    caplog.set_level("INFO")
    home, _ = cohorts
    for name in ("targets.h5", "clinical.csv"):
        (away / name).unlink()
    folder = predict(away, home, "CAFs", outer_only=True)
    assert "predicted without statistics" in caplog.text
    assert sorted(path.name for path in folder.iterdir()) == ["predictions.h5", "slides.csv"]
    models, _ = by_each_model(home, away, "CAFs_preds", relu=False)
    with h5py.File(folder / "predictions.h5") as file:
        assert np.allclose(file["expression/CAFs/predictions"][:], models[::trained_project.N_INNER].mean(0), atol=1e-5)
        assert "labels" not in file["expression/CAFs"] and list(file["expression"]) == ["CAFs"]
    predict(away, home, "CAFs", outer_only=True)
    assert "predictions: finished" in caplog.text
    with pytest.raises(ValueError, match=r"made in another way \(outer_only was True, now False\)"):
        predict(away, home, "CAFs")


def test_slides_outside_the_training_range_are_named(cohorts, away, caplog):
    caplog.set_level("INFO")
    with h5py.File(away / "features.h5", "r+") as file:
        file["mean_features"][0] = file["mean_features"][0] + 30
        strange = file["slide_ids"].asstr()[0]
    table = pd.read_csv(predict(away, cohorts[0], "abundance") / "slides.csv").set_index("slide_id")
    assert table.loc[strange, "outside"] and strange in caplog.text
    assert table["outside"].mean() < 0.2 and (table["n_tiles"] > 0).all()


@pytest.mark.parametrize("name, value", [("encoder", "uni"), ("weights_sha256", "1" * 64), ("tile_px", 256),
                                         ("magnification", 40), ("normalisation", "none")])
def test_other_features_are_refused_by_name(cohorts, away, name, value):
    with h5py.File(away / "features.h5", "r+") as file:
        file.attrs[name] = value
    with pytest.raises(ValueError, match=f"not made as the features of home .{name}: .* there, {value} here"):
        predict(away, cohorts[0])
    assert not (away / "predictions").exists()


def test_other_choices_of_tiles_are_told(cohorts, away, caplog):
    with h5py.File(away / "features.h5", "r+") as file:
        file.attrs.update(drop="blurred,pen", mask_class="", precision="fp32")     # "" is the same as not recorded
    predict(away, cohorts[0], "abundance")
    told = [record.message for record in caplog.records if record.message.startswith("features: ")]
    assert "features: drop none in training, blurred,pen here" in told
    assert not any("mask_class" in line or "precision" in line for line in told)


def test_features_of_another_length_are_refused(cohorts, away):
    with h5py.File(away / "features.h5", "r+") as file:
        for name in ("features", "mean_features"):
            values = file[name][:, :20]
            del file[name]
            file[name] = values
    with pytest.raises(ValueError, match="numbers a tile: 24 there, 20 here.: run slide_processing"):
        predict(away, cohorts[0])
    with h5py.File(away / "features.h5", "r+") as file:
        file.attrs.update(features_file.WEIGHTS_OF_IMPORTS)
    with pytest.raises(ValueError, match="numbers a tile: 24 there, 20 here.: import features"):
        predict(away, cohorts[0])


def test_patients_that_the_models_know_are_refused(cohorts, away, run_script):
    with h5py.File(away / "features.h5", "r+") as file:
        file["patient_ids"][0] = "P000"
    done = run_script("prediction/predict_cohort.py", away, "--models", cohorts[0])
    assert done.returncode != 0 and "home was trained on patients of this cohort: 1 (P000)" in done.stderr
    assert len(done.stderr.splitlines()) == 1 and not (away / "predictions").exists()


def test_missing_folds_are_listed_and_partial_does_without_them(cohorts, away, tmp_path, caplog):
    caplog.set_level("INFO")
    home = tmp_path / "home"
    shutil.copytree(cohorts[0], home)
    shutil.rmtree(home / "results" / "CAFs_preds" / "result_1_0")
    with pytest.raises(ValueError, match="1 models are missing"):
        predict(away, home)
    assert "CAFs: missing result_1_0" in caplog.text
    with h5py.File(predict(away, home, "CAFs", partial=True) / "predictions.h5") as file:
        assert file.attrs["n_models"] == N_MODELS - 1 == file["expression/CAFs"].attrs["n_models"]


@pytest.mark.parametrize("spoil, text", [
    (lambda home: shutil.rmtree(home / "results"), "neither results/ nor bundle.json"),
    (lambda home: shutil.rmtree(home / "results" / "direct_preds"), "has no trained model of direct"),
    (lambda home: (home / "targets.h5").unlink(), "targets.h5 is missing"),
    (lambda home: (home / "features.h5").write_bytes((home / "../both/features.h5").read_bytes()),
     "trained with other features")], ids=["no project", "not trained", "no targets", "other features"])
def test_what_is_no_trained_project_is_refused(cohorts, away, tmp_path, spoil, text):
    shutil.copytree(cohorts[0].parent, tmp_path / "copy")
    spoil(tmp_path / "copy" / "home")
    with pytest.raises((ValueError, FileNotFoundError), match=text):
        predict(away, tmp_path / "copy" / "home", "CAFs", "direct")
    with pytest.raises(ValueError, match="no target 'Fibroblasts' in .*CAFs"):
        predict(away, cohorts[0], "Fibroblasts")


def test_one_class_and_too_few_labels_are_no_obstacle(cohorts, away, caplog):
    caplog.set_level("INFO")
    clinical = pd.read_csv(away / "clinical.csv").assign(Response="RD")
    clinical.to_csv(away / "clinical.csv", index=False)
    with h5py.File(away / "targets.h5", "r+") as file:
        file["patient_ids"][2:] = [f"unknown{i}" for i in range(len(clinical) - 2)]
    folder = predict(away, cohorts[0], "CAFs", "direct")
    assert "predicted without statistics, no labels here (direct: no pCR, or no RD): direct" in caplog.text
    assert "CAFs: no statistics of 2 patients" in caplog.text and not (folder / "summary.csv").exists()
