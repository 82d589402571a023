"""Tables of collect_results.py against plain computations, and what it refuses."""
import argparse
import json
import logging
import shutil

import collect_results
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn import metrics

import simulated_cohort
from evaluation import association, out_of_fold, resampling, result_tables
from slide_ex import record
from slide_ex.project import targets_file

SMALL = ("--hidden", "256", "--max-epochs", "200", "--patience", "20")


@pytest.fixture(scope="module")
def collected(tmp_path_factory, run_script):
    """A cohort with 3 x 2 folds, in which Cancer Epithelial has the labels of CAFs shuffled between patients."""
    project = simulated_cohort.write(tmp_path_factory.mktemp("collected"), n_patients=60, noise=0.5)
    with h5py.File(project / "targets.h5", "r+") as file:
        order = np.random.default_rng(0).permutation(60)
        file["expression/Cancer Epithelial/labels"][:] = file["expression/CAFs/labels"][:][order]
    for script, *arguments in (("make_splits", "--outer", 3, "--inner", 2, "--stratify", "response"),
                               ("1main_cs_exp_regression", "all", "all", "all", *SMALL),
                               ("1main_abundance_regression", "all", "all", *SMALL),
                               ("1main_direct", "all", "all", *SMALL), ("collect_results",)):
        done = run_script(f"prediction/{script}.py", project, *arguments)
        assert done.returncode == 0, done.stderr
    return project


def plain_out_of_fold(project, folder):
    """Labels and predictions by patient, with loops and dicts."""
    sums = {}
    for outer in range(3):
        inner_models = []
        for inner in range(2):
            with h5py.File(project / "results" / folder / f"result_{outer}_{inner}" / "predictions.h5") as file:
                inner_models.append(file["test/predictions"][:])
                patients, labels = file["test/patient_ids"].asstr()[:], file["test/labels"][:]
        for i, patient in enumerate(patients):
            sums.setdefault(patient, []).append((labels[i], (inner_models[0][i] + inner_models[1][i]) / 2))
    patients = sorted(sums)
    return patients, *(np.array([np.mean([pair[k] for pair in sums[p]], axis=0) for p in patients]) for k in (0, 1))


def test_gene_table_is_the_plain_computation(collected):
    patients, labels, predictions = plain_out_of_fold(collected, "CAFs_preds")
    table = pd.read_csv(collected / "results" / "CAFs_genes.csv")
    oracle = [stats.linregress(x, y, alternative="greater") for x, y in zip(labels.T, predictions.T)]
    assert len(patients) == 60 and (table["n_patients"] == 60).all()
    assert np.allclose(table["pearson_r"], [o.rvalue for o in oracle], atol=1e-4)
    assert np.allclose(table["slope"], [o.slope for o in oracle], atol=1e-4)
    assert np.allclose(table["p_one_sided"], [o.pvalue for o in oracle], rtol=1e-2)
    splits = json.loads((collected / "splits.json").read_text())
    fold_of = {patient: k for k, fold in enumerate(splits["outer"]) for patient in fold["test"]}
    in_folds = drawn_r(predictions, labels, np.arange(60), np.array([fold_of[patient] for patient in patients]))
    assert np.allclose(table["pearson_r_in_folds"], in_folds, atol=1e-4)
    confidence = targets_file.read_confidence(collected / "targets.h5", "CAFs")
    assert np.allclose(table["confidence"], confidence[table["gene"]], rtol=1e-5)
    with h5py.File(collected / "results" / "predictions.h5") as file:
        group = file["expression/CAFs"]
        assert list(group["patient_ids"].asstr()[:]) == patients
        assert np.allclose(group["predictions"][:], predictions, atol=1e-5)
        assert np.allclose(group["labels"][:], labels, atol=1e-5) and file.attrs["encoder"] == "resnet50"


def test_abundance_and_direct_tables(collected):
    _, labels, predictions = plain_out_of_fold(collected, "cell_fraction_preds")
    table = pd.read_csv(collected / "results" / "abundance.csv")
    assert np.allclose(table["spearman_rho"], [stats.spearmanr(*pair)[0] for pair in zip(labels.T, predictions.T)],
                       atol=1e-4)
    assert np.allclose(table["rmse"], np.sqrt(((labels - predictions) ** 2).mean(0)), atol=1e-4)
    _, labels, probabilities = plain_out_of_fold(collected, "direct_preds")
    row = pd.read_csv(collected / "results" / "direct.csv").iloc[0]
    assert np.isclose(row["auc"], metrics.roc_auc_score(labels, probabilities), atol=1e-5)
    assert np.isclose(row["average_precision"], metrics.average_precision_score(labels, probabilities), atol=1e-5)
    assert row["auc_low"] < row["auc"] <= row["auc_high"] and row["n_pcr"] == labels.sum()


def test_summary_counts_signal_and_not_chance(collected):
    summary = pd.read_csv(collected / "results" / "summary.csv").set_index(["target", "model"])
    genes = pd.read_csv(collected / "results" / "CAFs_genes.csv")
    row = summary.loc["CAFs", "slide-ex"]
    assert row["median_r"] == pytest.approx(genes["pearson_r"].median(), abs=1e-5) and row["median_r"] > 0.6
    for threshold in ("0.40", "0.45", "0.50", "0.55", "0.60"):
        assert row[f"n_r_above_{threshold}"] == (genes["pearson_r"] > float(threshold)).sum()
        assert row[f"n_r_{threshold}_low"] <= row[f"n_r_{threshold}_high"]
    assert row["median_r_low"] < row["median_r"] < row["median_r_high"]
    assert abs(summary.loc[("Cancer Epithelial", "slide-ex"), "median_r"]) < 0.2  # shuffled labels, the same code
    assert summary.loc[("CAFs", "ridge"), "median_r"] > 0.6
    assert abs(summary.loc[("CAFs", "shuffled labels"), "median_r"]) < 0.25
    assert summary.loc[("direct", "ridge"), "auc"] > 0.7


def drawn_r(predictions, labels, rows, folds=None):
    """R of each gene in one draw of patients, both centred on the mean of each fold in the draw; with pandas."""
    x, y = pd.DataFrame(predictions[rows]), pd.DataFrame(labels[rows])
    if folds is not None:
        x, y = (table - table.groupby(folds[rows]).transform("mean") for table in (x, y))
    return x.corrwith(y).to_numpy()


def test_rows_of_the_summary_and_their_differences_are_those_of_the_same_resampled_patients():
    """Medians and counts of R, over all and in folds, with their intervals, and paired differences; by hand."""
    random, n = np.random.default_rng(0), 40
    labels, folds = random.normal(size=(n, 7)).astype(np.float32), np.arange(n) % 4
    labels += 2 * folds[:, None]
    noise = {"slide-ex": 0.5, "network": 1.5, "mean colour": 3, "shuffled labels": 1}
    models = {name: out_of_fold.OutOfFold(np.arange(n).astype(str), np.arange(7).astype(str), labels[::-1] if
                                          name == "shuffled labels" else labels, (labels + scale * random.normal(
                                              size=(n, 7)) - 3 * folds[:, None]).astype(np.float32), {"folds": folds})
              for name, scale in noise.items()}
    rows = result_tables.summary_rows("CAFs", [*models.items(), ("ridge", None)], 30, 5, {
        "slide-ex": "low-rank", "network": "network"})
    rows = {row["model"]: row for row in rows}
    draws, medians = resampling.resampled(n, 30, 5), {}
    for name, one in models.items():
        for suffix, groups in (("", None), ("_in_folds", folds)):
            known = drawn_r(one.predictions, one.labels, np.arange(n), groups)
            drawn = np.array([drawn_r(one.predictions, one.labels, chosen, groups) for chosen in draws])
            medians[name] = np.median(drawn, axis=1)
            count, counts = (known > 0.4).sum(), (drawn > 0.4).sum(1)
            assert rows[name][f"median_r{suffix}"] == pytest.approx(np.median(known), abs=1e-5)
            assert rows[name][f"n_r{suffix}_above_0.40"] == count
            for statistic, values in ((f"median_r{suffix}", medians[name]), (f"n_r{suffix}_0.40", counts)):
                limits = [rows[name][f"{statistic}_{end}"] for end in ("low", "high")]
                assert limits == pytest.approx(np.percentile(values, [2.5, 97.5]), abs=1e-4)
    for reference, column in result_tables.REFERENCES.items():
        for name in {"slide-ex", "network", "mean colour"} - {reference}:
            found = [rows[name][f"minus_{column}{end}"] for end in ("", "_low", "_high")]
            difference = rows[name]["median_r_in_folds"] - rows[reference]["median_r_in_folds"]
            limits = np.percentile(medians[name] - medians[reference], [2.5, 97.5])
            assert found == pytest.approx([difference, *limits], abs=1e-4)
        assert not {f"minus_{column}"} & {*rows[reference], *rows["shuffled labels"]}


def test_genes_that_are_not_predicted_leave_the_confidence_of_the_others(tmp_path):
    project = simulated_cohort.write(tmp_path / "project", n_patients=10)
    genes, random = np.array(["GENE9", "GENE2", "GENE5"]), np.random.default_rng(0)
    predicted = out_of_fold.OutOfFold(np.arange(10).astype(str), genes, *random.normal(size=(2, 10, 3)))
    table = result_tables.of_target("CAFs", predicted, project / "targets.h5", 5, 0)
    known = targets_file.read_confidence(project / "targets.h5", "CAFs")
    assert list(table["gene"]) == list(genes) and list(table["confidence"]) == list(known[genes])


def test_bootstrap_by_weights_is_bootstrap_by_rows():
    random = np.random.default_rng(0)
    labels = random.normal(size=(25, 4))
    predictions = labels + random.normal(size=(25, 4))
    r = resampling.pearson(predictions, labels, 20, 3)[0]
    for replicate, rows in zip(r, resampling.resampled(25, 20, seed=3)):
        assert np.allclose(replicate, association.pearson(predictions[rows], labels[rows]), atol=1e-5)


def test_best_genes_and_nan_in_the_summary():
    r = np.r_[np.linspace(-1, 1, 2000), np.nan][None]
    values = result_tables.summarise(r)
    assert values["median_r"][0] == pytest.approx(0) and values["n_r_above_0.40"][0] == 600
    assert values["median_r_top1000"][0] == pytest.approx(0.5, abs=1e-3)


def test_slides_are_averaged_per_patient():
    patients, _, labels, predictions = out_of_fold.per_patient(
        np.array(["b", "a", "b"]), np.array([[1.0], [5.0], [1.0]]), np.array([[2.0], [7.0], [4.0]]), ["G"])
    assert list(patients) == ["a", "b"] and labels.tolist() == [[5], [1]] and predictions.tolist() == [[7], [3]]


def test_patients_of_any_number_of_slides_have_the_mean_of_theirs():
    random = np.random.default_rng(0)
    ids, values = random.integers(0, 15, 60).astype(str), random.normal(size=(60, 3)).astype(np.float32)
    patients, (means,) = out_of_fold.mean_by_patient(ids, values)
    assert list(patients) == sorted(set(ids)) and np.allclose(means, [values[ids == p].mean(0) for p in patients])


def contents(project):
    """Bytes of all files of results/ that are of no model."""
    return {path.name: path.read_bytes() for path in (project / "results").iterdir() if path.is_file()}


def test_targets_that_are_collected_at_a_time_give_the_same_bytes_as_one_after_the_other(collected, run_script,
                                                                                         tmp_path):
    project, found = tmp_path / "project", {}
    shutil.copytree(collected, project)
    for n_processes in (1, 3):
        done = run_script("prediction/collect_results.py", project, "--overwrite", "--processes", n_processes,
                          "--bootstrap", 20)
        assert done.returncode == 0, done.stderr
        found[n_processes] = contents(project)
    assert found[1] == found[3] and {"CAFs_genes.csv", "direct.csv", "summary.csv"} < set(found[1])


def test_a_target_that_cannot_be_collected_is_named_and_nothing_is_left_half_made(collected, run_script, tmp_path):
    project = tmp_path / "project"
    shutil.copytree(collected, project)
    damaged = project / "results" / "CAFs_preds" / "result_1_1" / "predictions.h5"
    damaged.write_bytes(damaged.read_bytes()[:900])
    done = run_script("prediction/collect_results.py", project, "--overwrite", "--processes", 2, "--bootstrap", 20)
    reason = f"CAFs: ValueError: {damaged} is damaged"
    assert done.returncode == 1 and done.stderr.startswith(f"error: 1 of 4 targets could not be collected: {reason}")
    assert done.stderr.count("\n") == 1 and f"failed: {reason}" in done.stdout
    assert not (project / "results" / "predictions.h5").exists()
    assert not list((project / "results").glob(".part-*"))
    done = run_script("prediction/collect_results.py", project, "--processes", 0)
    assert done.returncode == 1 and done.stderr == "error: --processes 0: give at least 1\n"


def test_tables_are_made_again_for_whatever_changes_them(collected, tmp_path, caplog):
    project = shutil.copytree(collected, tmp_path / "project", ignore=shutil.ignore_patterns("logs"))
    caplog.set_level(logging.INFO)

    def is_made_again(**options):
        caplog.clear()
        defaults = {"use": None, "partial": False, "baselines": False, "bootstrap": 3, "seed": 0, "processes": 1,
                    "overwrite": False}
        collect_results.main(argparse.Namespace(project_path=project, **defaults | options))
        return "results: finished" not in caplog.text
    assert is_made_again() and not is_made_again()
    assert is_made_again(bootstrap=4) and is_made_again(seed=1) and is_made_again(use="network")
    assert is_made_again(baselines=True) and is_made_again()
    clinical = pd.read_csv(project / "clinical.csv")
    clinical.assign(Site=["a", "b"] * 30).to_csv(project / "clinical.csv", index=False)
    assert is_made_again() and not is_made_again()
    (project / "bulk_expression.tsv").write_text("gene\tP000\tP001\nGENE1\t1\t2\n")
    assert is_made_again() and not is_made_again()
    for path in project.glob("results/CAFs_preds/result_*/config.json"):
        record.write(path, record.read(path, "a test") | {"seed": 7})
    assert is_made_again() and not is_made_again()


def test_second_run_skips_missing_folds_are_listed_and_other_data_refused(collected, run_script, tmp_path):
    project = tmp_path / "project"
    shutil.copytree(collected, project)
    assert "results: finished" in run_script("prediction/collect_results.py", project).stdout
    folds = project / "results" / "CAFs_preds"
    shutil.rmtree(folds / "result_1_0")
    done = run_script("prediction/collect_results.py", project)
    assert done.returncode != 0 and "CAFs: missing result_1_0" in done.stdout and "1 models are missing" in done.stderr
    shutil.rmtree(folds / "result_1_1")
    done = run_script("prediction/collect_results.py", project, "--partial", "--no-baselines", "--bootstrap", 10)
    assert done.returncode == 0, done.stderr
    tested = json.loads((project / "splits.json").read_text())["outer"][1]["test"]
    assert (pd.read_csv(project / "results" / "CAFs_genes.csv")["n_patients"] == 60 - len(tested)).all()
    assert set(pd.read_csv(project / "results" / "summary.csv")["model"]) == {"slide-ex"}
    with h5py.File(project / "targets.h5", "r+") as file:
        labels = file["expression/CAFs/labels"]
        labels[0] = labels[0] + 1
    done = run_script("prediction/collect_results.py", project, "--partial", "--overwrite")
    assert done.returncode != 0 and "models of CAFs were trained with other targets" in done.stderr
    with h5py.File(project / "features.h5", "r+") as file:
        file.attrs["weights_sha256"] = "1" * 64
    done = run_script("prediction/collect_results.py", project, "--partial")
    assert done.returncode != 0 and "trained with other features" in done.stderr
    assert "Traceback" not in done.stderr
