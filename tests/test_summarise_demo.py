"""The demo's table against numbers computed by hand."""
import shutil

import h5py
import numpy as np
import pandas as pd
import pytest

SCRIPT = "data/summarise_demo.py"
N_PATIENTS, GENES, CELL_TYPES = 30, ["A", "B", "C"], ["CAFs", "T-cells"]


@pytest.fixture
def project(tmp_path):
    """Results whose order of patients and genes differs from that of the truth."""
    rng = np.random.default_rng(0)
    patients = [f"P{i}" for i in range(N_PATIENTS)]
    truth = rng.lognormal(3, 1, (2, 3, N_PATIENTS)).astype(np.float32)
    fractions = pd.DataFrame(rng.dirichlet([2, 3], N_PATIENTS), patients, CELL_TYPES)
    (tmp_path / "truth").mkdir()
    (tmp_path / "results").mkdir()
    fractions.rename_axis("Patient.ID").to_csv(tmp_path / "truth" / "fractions.tsv", sep="\t")
    with h5py.File(tmp_path / "truth" / "expression.h5", "w") as file:
        file["expression"], file["cell_types"], file["genes"], file["patient_ids"] = truth, CELL_TYPES, GENES, patients
    order, genes = rng.permutation(N_PATIENTS)[:25], ["C", "A"]
    labels = np.log2(truth[0][[2, 0]][:, order].T + 1) + rng.normal(0, .5, (25, 2))
    predictions = labels + rng.normal(0, 1, (25, 2))
    with h5py.File(tmp_path / "results" / "predictions.h5", "w") as file:
        file.attrs.update(encoder="resnet50", weights="random")
        group = file.create_group("expression/CAFs")
        group["patient_ids"], group["genes"] = [patients[i] for i in order], genes
        group["labels"], group["predictions"] = labels, predictions
        group = file.create_group("abundance")
        group["patient_ids"], group["cell_types"] = [patients[i] for i in order], CELL_TYPES[::-1]
        group["labels"] = fractions.iloc[order, ::-1].to_numpy() ** 2
        group["predictions"] = np.column_stack([fractions.iloc[order, 1], -fractions.iloc[order, 0]])
    pd.DataFrame([{"n_patients": 25, "n_pcr": 9, "auc": .734, "auc_low": .61, "auc_high": .85}]).to_csv(
        tmp_path / "results" / "direct.csv", index=False)
    return tmp_path


def test_table_by_hand(run_script, project):
    result = run_script(SCRIPT, project)
    assert result.returncode == 0, result.stderr
    table = pd.read_csv(project / "results" / "demo_summary.csv", index_col=0)
    assert list(table.index) == CELL_TYPES
    with h5py.File(project / "results" / "predictions.h5") as predictions, \
            h5py.File(project / "truth" / "expression.h5") as truth:
        group = predictions["expression/CAFs"]
        patients = group["patient_ids"].asstr()[:]
        column = {name: i for i, name in enumerate(truth["patient_ids"].asstr()[:])}
        known = [[np.log2(truth["expression"][0, g, column[p]] + 1) for p in patients] for g in (2, 0)]
        r_truth = [np.corrcoef(known[j], group["predictions"][:, j])[0, 1] for j in range(2)]
        r_labels = [np.corrcoef(group["labels"][:, j], group["predictions"][:, j])[0, 1] for j in range(2)]
    row = table.loc["CAFs"]
    assert row["genes"] == 2 and row["genes R > 0.4"] == sum(r > .4 for r in r_labels)
    assert row["median R truth"] == pytest.approx(np.mean(r_truth), abs=1e-4)
    assert row["median R labels"] == pytest.approx(np.mean(r_labels), abs=1e-4)
    assert row["abundance R truth"] == pytest.approx(-1, abs=1e-4)
    assert table.loc["T-cells", "abundance R truth"] == pytest.approx(1, abs=1e-4)
    assert np.isnan(table.loc["T-cells", "genes"])
    for words in ("random convolution features", "AUC 0.73 [0.61, 0.85]", "9 pCR of 25", "demo_summary.csv"):
        assert words in result.stdout


def test_second_cohort_and_response_by_hand(run_script, project):
    """Patients without labels count for the truth; AUCs are joined by the names of the predictors."""
    other = project / "other"
    shutil.copytree(project / "truth", other / "truth")
    folder = other / "predictions" / project.name
    folder.mkdir(parents=True)
    shutil.copy(project / "results" / "predictions.h5", folder / "predictions.h5")
    with h5py.File(folder / "predictions.h5", "r+") as file:
        file["abundance/labels"][:10] = np.nan
        r_labels = np.corrcoef(file["abundance/labels"][10:, 0], file["abundance/predictions"][10:, 0])[0, 1]
        with h5py.File(other / "truth" / "expression.h5", "r+") as truth:
            truth["bulk"] = np.random.default_rng(1).lognormal(3, 1, (3, N_PATIENTS))
            row = {patient: i for i, patient in enumerate(truth["patient_ids"].asstr()[:])}
            patients = file["expression/CAFs/patient_ids"].asstr()[:]
            known = np.log2(truth["bulk"][1][[row[patient] for patient in patients]] + 1)
        bulk = file.create_group("expression/Bulk")
        bulk["patient_ids"], bulk["genes"] = list(patients), ["B"]
        bulk["predictions"] = -known[:, None]
    for setting, names, aucs in ((project / "response" / "out_of_fold", ["CAFs", "direct"], [.7, .6]),
                                 (other / "response" / project.name, ["direct", "CAFs"], [.55, .8])):
        setting.mkdir(parents=True)
        pd.DataFrame({"features": names, "kind": "any", "auc": aucs}).to_csv(setting / "comparison.csv", index=False)
    result = run_script(SCRIPT, project, "--external", other)
    assert result.returncode == 0, result.stderr
    table = pd.read_csv(folder / "demo_summary.csv", index_col=0)
    assert table.loc["CAFs", "abundance R truth"] == pytest.approx(-1, abs=1e-4)
    assert table.loc["T-cells", "abundance R labels"] == pytest.approx(r_labels, abs=1e-4)
    assert table.loc["Bulk", "median R truth"] == pytest.approx(-1, abs=1e-4)
    assert np.isnan(table.loc["Bulk", "median R labels"])
    response = pd.read_csv(project / "results" / "demo_response.csv", index_col=0)
    assert response.loc["CAFs", ["within", "transfer"]].tolist() == [.7, .8]
    assert response.loc["direct", ["within", "transfer"]].tolist() == [.6, .55]


def test_other_cohort_that_was_not_predicted_is_named(run_script, project):
    shutil.copytree(project / "truth", project / "other" / "truth")
    result = run_script(SCRIPT, project, "--external", project / "other")
    assert result.returncode == 1 and "predict_cohort.py" in result.stderr and len(result.stderr.splitlines()) == 1


def test_kinds_of_models_stand_beside_one_another(run_script, project):
    """A row of the summary is named by what its model is; a baseline has no head, a target without networks a gap."""
    rows = [("CAFs", "slide-ex", "blend", .5), ("CAFs", "network", "network", .4),
            ("CAFs", "low-rank", "low-rank", .45),
            ("CAFs", "ridge", "", .3), ("CAFs", "mean colour", "", .2), ("T-cells", "slide-ex", "low-rank", .1)]
    table = pd.DataFrame(rows, columns=["target", "model", "head", "median_r_in_folds"])
    table.loc[len(table)] = ["direct", "slide-ex", "network", np.nan]
    table["auc"] = [np.nan] * 6 + [.75]
    table.to_csv(project / "results" / "summary.csv", index=False)
    result = run_script(SCRIPT, project)
    assert result.returncode == 0 and "kinds of models" in result.stdout, result.stderr
    table = pd.read_csv(project / "results" / "demo_models.csv", index_col="target")
    assert table.loc["CAFs"].to_dict() == {"network": .4, "low-rank": .45, "blend": .5, "ridge": .3, "mean colour": .2}
    assert table.loc["T-cells"].dropna().to_dict() == {"low-rank": .1}
    assert table.loc["direct"].dropna().to_dict() == {"network": .75}


@pytest.mark.parametrize("missing", ["truth/expression.h5", "results/predictions.h5"])
def test_missing_file_is_named(run_script, project, missing):
    (project / missing).unlink()
    result = run_script(SCRIPT, project)
    assert result.returncode == 1 and missing in result.stderr and len(result.stderr.splitlines()) == 1
    assert not (project / "results" / "demo_summary.csv").exists()


def test_patients_of_another_cohort_are_refused(run_script, project):
    with h5py.File(project / "truth" / "expression.h5", "r+") as file:
        del file["patient_ids"]
        file["patient_ids"] = [f"Q{i}" for i in range(N_PATIENTS)]
    result = run_script(SCRIPT, project)
    assert result.returncode == 1 and "P" in result.stderr and "another cohort" in result.stderr
