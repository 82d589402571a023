"""The comparison of response models, driven as a user does, and what it refuses."""
import argparse
import json
import shutil

import h5py
import numpy as np
import pandas as pd
import predict_response
import pytest
from scipy import stats
from sklearn import metrics

import simulated_response
from response import classifiers, cohorts, comparison_table

SCRIPT = "prediction/predict_response.py"
QUICK = ("--search", 1, "--repeats", 1, "--bootstrap", 50, "--processes", 1)
OPTIONS = {"overwrite": False, "features": None, "source": None, "train_on": None, "clinical_columns": [], "min_r": 0.4,
           "confidence": None, "genes_from": None, "scale_in_cohort": False, "search": 1, "repeats": 1, "bootstrap": 50,
           "seed": 42, "processes": 1, "endpoint": ()}  # the same, to call main
FEW_SETS = ("CAFs", "CAFs + Bulk", "Bulk", "direct", "clinical")


@pytest.fixture(scope="module")
def within(tmp_path_factory, run_script):
    """A cohort in which some feature sets are compared, and what the script printed."""
    project = simulated_response.write(tmp_path_factory.mktemp("within"), n_patients=40)
    done = run_script(SCRIPT, project, *QUICK, "--features", *FEW_SETS, "--clinical-columns", "Age", "Grade")
    assert done.returncode == 0, done.stderr
    return project, done.stdout


@pytest.fixture(scope="module")
def between(tmp_path_factory, run_script):
    """A cohort that is scored by classifiers of another; the responses of its last two patients are not known."""
    folder = tmp_path_factory.mktemp("between")
    trained = simulated_response.write(folder / "trained")
    project = simulated_response.write(folder / "hospital2", "H", n_patients=40, trained="trained", seed=1)
    with_responses(project, lambda table: table["Response"].where(table.index < 38, ""))
    done = run_script(SCRIPT, project, "--train-on", trained, *QUICK)
    assert done.returncode == 0, done.stderr
    return project, done.stdout


@pytest.fixture
def pair(between, tmp_path):
    """A copy of the two projects of `between`, without results, to be spoilt."""
    shutil.copytree(between[0].parent, tmp_path / "pair")
    shutil.rmtree(tmp_path / "pair" / "hospital2" / "response")
    return tmp_path / "pair" / "hospital2", tmp_path / "pair" / "trained"


@pytest.fixture
def one_classifier(monkeypatch):
    """Logistic regression alone, for tests that are not about the others."""
    all_of_them = classifiers.classifiers
    monkeypatch.setattr(classifiers, "classifiers", lambda seed: {"logistic": all_of_them(seed)["logistic"]})


def compare(project, **options):
    predict_response.main(argparse.Namespace(project_path=project, **OPTIONS | options))


def with_responses(project, response_of):
    table = pd.read_csv(project / "clinical.csv", dtype=str, keep_default_na=False)
    table.assign(Response=response_of(table)).to_csv(project / "clinical.csv", index=False)


def read(project, setting):
    folder = project / "response" / setting
    return (pd.read_csv(folder / "comparison.csv", index_col="features"),
            pd.read_csv(folder / "scores.csv", index_col="patient_id"))


def test_the_table_follows_from_the_scores(within):
    table, scores = read(within[0], "out_of_fold")
    assert list(table.index) == list(FEW_SETS) and list(scores.columns) == ["response", *FEW_SETS]
    assert list(table["kind"]) == ["cell type", "ensemble", "bulk", "direct", "clinical"]
    assert list(table["n_genes"].fillna(0)) == [25, 50, 25, 0, 0]
    clinical = pd.read_csv(within[0] / "clinical.csv", index_col="Patient.ID")
    response = (clinical.loc[scores.index, "Response"] == "pCR").astype(int)
    assert (response == scores["response"]).all() and (table["n_pcr"] == response.sum()).all()
    for name, row in table.iterrows():
        assert np.isclose(row["auc"], metrics.roc_auc_score(response, scores[name]), atol=1e-4)
        assert np.isclose(row["average_precision"], metrics.average_precision_score(response, scores[name]), atol=1e-4)
        assert row["auc_low"] <= row["auc"] <= row["auc_high"] and row["dor_low"] < row["dor"] < row["dor_high"]
    assert np.isnan(table.loc["direct", "p_delong_direct"]) and table.loc["direct", "p_delong_bulk"] <= 1
    assert not (within[0] / "response" / "out_of_fold" / "new_patients.csv").exists()


def test_odds_are_of_scores_above_the_share_of_responders_who_train():
    """And the test of ranks is one-sided: scores the wrong way round have a p above one half."""
    random, ids = np.random.default_rng(0), [f"P{i}" for i in range(30)]
    patients = cohorts.Patients(ids, np.arange(30) % 5 == 0, ids, (random.random(30) < 0.5) * 1.0)
    right = 0.3 * patients.new_y + 0.3 * random.random(30)
    scores = pd.DataFrame({"CAFs": right, "Bulk": 1 - right}, ids)
    table = comparison_table.comparison(scores, patients, {name: (name,) for name in scores}, {
        name: (scores[[name]],) * 2 for name in scores}, 5, 0).set_index("features")
    called = right > 0.2
    (a, b), (c, d) = ([(called[patients.new_y == of] == is_called).sum() + 0.5 for is_called in (True, False)]
                      for of in (1, 0))
    assert table.loc["CAFs", "dor"] == pytest.approx(a * d / (b * c)) and 0.2 < right.max() < 1
    expected = [stats.mannwhitneyu(scores.loc[patients.new_y == 1, name], scores.loc[patients.new_y == 0, name],
                                   alternative="greater").pvalue for name in scores]
    assert list(table["p_mann_whitney"]) == pytest.approx(expected) and expected[1] > 0.5


def test_the_direct_model_is_scored_by_its_own_probability(within):
    _, scores = read(within[0], "out_of_fold")
    with h5py.File(within[0] / "results" / "predictions.h5") as file:
        direct = pd.Series(file["direct/predictions"][:], file["direct/patient_ids"].asstr()[:])
    assert np.allclose(scores["direct"], direct[scores.index], atol=1e-5)


def test_a_second_run_is_finished_and_other_settings_are_refused(within, run_script, caplog):
    options = {"clinical_columns": ["Age", "Grade"]}
    with caplog.at_level("INFO"):
        compare(within[0], features=list(FEW_SETS), **options)
    assert "finished" in caplog.text
    done = run_script(SCRIPT, within[0], *QUICK, "--features", "CAFs")
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert all(word in done.stderr for word in ("features was ", "clinical_columns was ", "--overwrite"))


def test_another_cohort_is_scored_with_all_kinds_and_new_patients_apart(between):
    table, scores = read(between[0], "trained")
    assert list(table["kind"].unique()) == ["cell type", "ensemble", "bulk", "abundance", "direct", "mean colour"]
    assert "top triple" in table.index and (table["n_patients"] == 38).all() and len(scores) == 38
    assert table.loc["CAFs", "auc"] > 0.85 > table.loc["T-cells", "auc"]
    new = pd.read_csv(between[0] / "response" / "trained" / "new_patients.csv")
    assert list(new["patient_id"]) == ["H038", "H039"] and list(new.columns) == ["patient_id", *table.index]
    assert "no response known: 2 (H038, H039)" in between[1]


def test_a_patient_alone_has_the_score_of_the_batch(between, pair):
    project, trained = pair
    with h5py.File(project / "predictions" / "trained" / "predictions.h5", "r+") as file:
        for group in (*file["expression"].values(), file["abundance"], file["direct"]):
            for key in ("patient_ids", "predictions"):
                values = group[key][7:8]
                del group[key]
                group[key] = values
    (project / "clinical.csv").unlink()
    compare(project, train_on=trained, features=["CAFs", "direct"])
    folder = project / "response" / "trained"
    assert sorted(path.name for path in folder.iterdir()) == ["new_patients.csv", "settings.json"]
    alone = pd.read_csv(folder / "new_patients.csv", index_col="patient_id")
    batch = read(between[0], "trained")[1]
    assert list(alone.index) == ["H007"] and np.allclose(alone, batch.loc[["H007"], alone.columns], atol=2e-6)


@pytest.mark.usefixtures("one_classifier")
def test_the_order_of_patients_does_not_matter(pair):
    project = pair[1]
    compare(project, features=["CAFs", "Bulk", "direct"])
    before = read(project, "out_of_fold")[1]
    with h5py.File(project / "results" / "predictions.h5", "r+") as file:
        for i, group in enumerate((*file["expression"].values(), file["abundance"], file["direct"])):
            order = np.random.default_rng(i).permutation(80)
            for key in ("patient_ids", "predictions"):
                group[key][:] = group[key][:][order]
    compare(project, features=["CAFs", "Bulk", "direct"])  # finished: the inputs are the same when joined by id
    compare(project, features=["CAFs", "Bulk", "direct"], overwrite=True)
    assert read(project, "out_of_fold")[1].equals(before)


@pytest.mark.usefixtures("one_classifier")
def test_rna_is_the_upper_reference_and_genes_must_be_confident_in_both(pair, caplog):
    project, trained = pair
    with h5py.File(project / "targets.h5", "r+") as file:
        file["expression/CAFs/confidence"][:2] = 0
        genes = file["expression/CAFs/genes"].asstr()[:].tolist()
        del file["expression/CAFs/genes"]
        file["expression/CAFs/genes"] = [*genes[:5], "OTHER", *genes[6:]]
    with caplog.at_level("INFO"):
        compare(project, source="targets", train_on=trained, confidence=0.8, features=["CAFs"])
    table, _ = read(project, "rna_from_trained")
    n_confident = int((np.linspace(1, 0.5, 30) >= 0.8).sum())
    assert table.loc["CAFs", "n_genes"] == n_confident - 3 and table.loc["CAFs", "auc"] > 0.8
    assert "hospital2: 1 (GENE5)" in caplog.text


@pytest.mark.usefixtures("one_classifier")
@pytest.mark.parametrize("option, n_more_genes", [
    ({"min_r": 0.05}, 4), ({"confidence": 0.9}, -19), ({"seed": 1}, 0), ({"search": 3}, 0), ({"repeats": 2}, 0),
    ({"scale_in_cohort": True}, 0)])
def test_options_change_the_result(pair, option, n_more_genes):
    project, trained = pair
    results = []
    for options in ({}, option):
        compare(project, train_on=trained, features=["CAFs"], overwrite=True, **options)
        results.append(read(project, "trained"))
    (before, scores), (after, other_scores) = results
    assert after.loc["CAFs", "n_genes"] - before.loc["CAFs", "n_genes"] == n_more_genes
    assert not np.allclose(scores["CAFs"], other_scores["CAFs"], atol=1e-5)


@pytest.mark.usefixtures("one_classifier")
def test_models_of_a_third_project_serve_both_cohorts(pair, caplog):
    project, trained = pair
    shutil.copytree(trained / "results", trained / "predictions" / "tcga")
    shutil.copytree(project / "predictions" / "trained", project / "predictions" / "tcga")
    for folder in (trained, project):
        (folder / "predictions" / "tcga" / "CAFs_genes.csv").unlink()
    with caplog.at_level("INFO"):
        compare(project, source="tcga", train_on=trained, features=["CAFs"])
        compare(project, source="tcga", features=["CAFs"], genes_from=trained)
    assert read(project, "tcga_from_trained")[0].loc["CAFs", "n_genes"] == 30 and "see --genes-from" in caplog.text
    assert read(project, "within_tcga")[0].loc["CAFs", "n_genes"] == 25


@pytest.mark.usefixtures("one_classifier")
def test_sets_without_a_usable_gene_are_left_out_with_a_note(pair, caplog):
    table = pd.read_csv(pair[1] / "results" / "CAFs_genes.csv")
    table.assign(pearson_r=0.4).to_csv(pair[1] / "results" / "CAFs_genes.csv", index=False)
    with caplog.at_level("INFO"):
        compare(pair[1], features=["Bulk", "CAFs", "CAFs + Bulk", "top triple"])
    assert list(read(pair[1], "out_of_fold")[0].index) == ["Bulk"]
    for line in ("CAFs: 0 of 30 genes (R > 0.4); left out", "CAFs + Bulk: left out", "top triple: left out"):
        assert line in caplog.text


@pytest.mark.usefixtures("one_classifier")
@pytest.mark.parametrize("driver, best", [("states", "CAFs"), ("composition", "Bulk")])
def test_a_cell_type_wins_where_its_state_drives_response_and_loses_where_composition_does(tmp_path, driver, best):
    project = simulated_response.write(tmp_path, n_patients=100, driver=driver)
    compare(project, features=["cell types", "Bulk", "abundance"], search=2)
    table, _ = read(project, "out_of_fold")
    other = {"CAFs": "Bulk", "Bulk": "CAFs"}[best]
    assert table.loc[best, "auc"] > 0.75 > 0.65 > table.loc[other, "auc"]
    assert table.loc["CAFs", "p_delong_bulk"] < 0.01
    assert (table.loc["abundance", "auc"] > 0.75) == (driver == "composition")


def refused(project, **options):
    """What a run that is refused says; nothing is written."""
    with pytest.raises((ValueError, FileNotFoundError)) as error:
        compare(project, **options)
    assert not (project / "response").exists()
    return str(error.value)


def test_shared_patients_are_refused(pair):
    project, trained = pair
    with h5py.File(project / "predictions" / "trained" / "predictions.h5", "r+") as file:
        file["abundance/patient_ids"][3] = "P005"
    assert "share 1 (P005)" in refused(project, train_on=trained)


def test_predictions_from_another_encoder_are_refused(pair):
    project, trained = pair
    with h5py.File(project / "predictions" / "trained" / "predictions.h5", "r+") as file:
        file.attrs["encoder"] = "uni"
    assert "encoder is resnet50" in refused(project, train_on=trained)


@pytest.mark.parametrize("response_of, counts", [
    (lambda table: "RD", "0 pCR and 80 RD"),
    (lambda table: ["pCR"] * 4 + ["RD"] * 30 + [""] * 46, "4 pCR and 30 RD"),
    (lambda table: "", "0 pCR and 0 RD")])
def test_too_few_of_a_response_are_refused(pair, response_of, counts):
    with_responses(pair[1], response_of)
    line = refused(pair[1])
    assert counts in line and "clinical.csv" in line


def test_scored_patients_of_one_class_are_refused(pair):
    with_responses(pair[0], lambda table: "RD")
    message = refused(pair[0], train_on=pair[1])
    assert "0 pCR and 40 RD" in message and "(or empty it, to score patients without statistics" in message


@pytest.mark.parametrize("options, words", [
    ({"features": ["CAFs", "Neurons"]}, ("no feature set 'Neurons'", "Bulk, CAFs, Cancer Epithelial, T-cells, ")),
    ({"features": ["clinical"]}, ("no feature set 'clinical'", "clinical needs --clinical-columns")),
    ({"min_r": 0.9, "features": ["cell types"]}, ("no feature set is left", "--min-r")),
    ({"source": "tcga"}, ("predictions/tcga/predictions.h5 is missing", "predict_cohort.py")),
    ({"source": "../tcga"}, ("give the name of a folder",)),
    ({"clinical_columns": ["Stage"]}, ("no column Stage", "Grade")),
    ({"clinical_columns": ["Age", "Response"]}, ("the response is what is predicted",)),
    ({"scale_in_cohort": True}, ("--train-on",)),
    ({"repeats": 0}, ("--repeats 0",))])
def test_what_is_not_there_is_named(pair, options, words):
    line = refused(pair[1], **options)
    assert all(word in line for word in words), line


def test_folders_that_are_not_there_are_named(pair, tmp_path):
    assert "nowhere is not a folder" in refused(pair[0], train_on=tmp_path / "nowhere")
    assert "is not a folder" in refused(pair[0], genes_from=tmp_path / "nowhere")
    assert "--from results" in refused(pair[0], source="results", train_on=pair[1])


def test_missing_out_of_fold_predictions_name_the_script(pair, run_script):
    shutil.rmtree(pair[1] / "results")
    done = run_script(SCRIPT, pair[1])
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "collect_results.py" in done.stderr


def test_settings_tell_what_changes_the_result(between):
    settings = json.loads((between[0] / "response" / "trained" / "settings.json").read_text())
    assert settings["train_on"] == "trained" and settings["seed"] == 42 and len(settings["inputs_sha256"]) == 64
    assert settings["classifiers"][:3] == ["logistic", "forest", "svm"] and "CAFs" in settings["features"]
