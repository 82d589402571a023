"""The comparison of response models, driven as a user does, and what it refuses."""
import json
import shutil

import h5py
import numpy as np
import pandas as pd
import pytest
import simulated_response
from sklearn import metrics

SCRIPT = "prediction/predict_response.py"
QUICK = ("--search", 1, "--repeats", 1, "--bootstrap", 50, "--processes", 1)


@pytest.fixture(scope="module")
def within(tmp_path_factory, run_script):
    """A cohort of which all feature sets are compared, and what the script printed."""
    project = simulated_response.write(tmp_path_factory.mktemp("within"), n_patients=60)
    done = run_script(SCRIPT, project, *QUICK, "--clinical-columns", "Age", "Grade")
    assert done.returncode == 0, done.stderr
    return project, done.stdout


@pytest.fixture(scope="module")
def between(tmp_path_factory, run_script):
    """A cohort that is scored by classifiers of another; the responses of its last two patients are not known."""
    folder = tmp_path_factory.mktemp("between")
    trained = simulated_response.write(folder / "trained")
    project = simulated_response.write(folder / "hospital2", "H", n_patients=40, trained="trained", seed=1)
    edit_clinical(project, lambda table: table["Response"].where(table.index < 38, ""))
    done = run_script(SCRIPT, project, "--train-on", trained, *QUICK)
    assert done.returncode == 0, done.stderr
    return project, done.stdout


def edit_clinical(project, response_of):
    table = pd.read_csv(project / "clinical.csv", dtype=str, keep_default_na=False)
    table.assign(Response=response_of(table)).to_csv(project / "clinical.csv", index=False)


def test_all_kinds_are_compared_and_the_table_follows_from_the_scores(within):
    folder = within[0] / "response" / "out_of_fold"
    table, scores = pd.read_csv(folder / "comparison.csv"), pd.read_csv(folder / "scores.csv")
    assert list(table["kind"].unique()) == ["cell type", "ensemble", "bulk", "abundance", "direct", "mean colour",
                                            "clinical"]
    assert list(scores.columns) == ["patient_id", "response", *table["features"]]
    assert not (folder / "new_patients.csv").exists()
    clinical = pd.read_csv(within[0] / "clinical.csv", index_col="Patient.ID")
    assert ((clinical.loc[scores["patient_id"], "Response"] == "pCR") == (scores["response"] == 1).to_numpy()).all()
    for _, row in table.iterrows():
        values = scores[row["features"]]
        assert np.isclose(row["auc"], metrics.roc_auc_score(scores["response"], values), atol=1e-4)
        assert np.isclose(row["average_precision"], metrics.average_precision_score(scores["response"], values),
                          atol=1e-4)
        assert row["auc_low"] <= row["auc"] <= row["auc_high"] and row["n_pcr"] == scores["response"].sum()
    assert np.allclose(scores["CAFs + T-cells"], (scores["CAFs"] + scores["T-cells"]) / 2, atol=1e-5)
    assert table.set_index("features").loc["CAFs + T-cells", "n_genes"] == 50


def test_the_direct_model_is_scored_by_its_own_probability(within):
    project = within[0]
    scores = pd.read_csv(project / "response" / "out_of_fold" / "scores.csv", index_col="patient_id")
    with h5py.File(project / "results" / "predictions.h5") as file:
        direct = pd.Series(file["direct/predictions"][:], file["direct/patient_ids"].asstr()[:])
    assert np.allclose(scores["direct"], direct[scores.index], atol=1e-5)


def test_another_cohort_is_scored_and_new_patients_apart(between):
    folder = between[0] / "response" / "trained"
    table = pd.read_csv(folder / "comparison.csv", index_col="features")
    assert (table["n_patients"] == 38).all()
    assert table.loc["CAFs", "auc"] > 0.85 > table.loc["T-cells", "auc"]
    new = pd.read_csv(folder / "new_patients.csv")
    assert list(new["patient_id"]) == ["H038", "H039"] and list(new.columns) == ["patient_id", *table.index]
