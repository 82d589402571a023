"""End to end: every command of the pipeline on a small cohort, and the demo as the README shows it."""
import runpy
import shutil
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from test_script import is_alive

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The demo, run once with its default sizes: project folder and what it printed."""
    project = tmp_path_factory.mktemp("demo") / "demo"
    done = run_demo(project)
    assert done.returncode == 0, done.stderr
    return project, done.stdout


def run_demo(project):
    """What `make demo` runs once the virtual environment is there."""
    return subprocess.run([sys.executable, ROOT / "data" / "run_demo.py", project],
                          capture_output=True, text=True)


@pytest.mark.slow
def test_demo_recovers_the_truth(demo):
    project, _ = demo
    table = pd.read_csv(project / "results" / "demo_summary.csv", index_col="cell type")
    assert (table["abundance R truth"] > 0.6).sum() >= 4
    assert (table.loc[["Cancer Epithelial", "CAFs"], "R truth top 100"] > 0.5).all()
    kinds = pd.read_csv(project / "results" / "demo_models.csv", index_col="target")
    blend = kinds.dropna(subset="blend")
    assert list(blend.index) == ["Bulk", "CAFs", "Cancer Epithelial", "direct"] and kinds["low-rank"].notna().all()
    assert (blend["blend"] > blend["network"]).all() and (kinds.loc["abundance", "low-rank"] > 0.6)


@pytest.mark.slow
def test_another_hospital_is_recovered(demo):
    """Another stain and scanner, patients that no model saw; its folder is all that the prediction had."""
    project, _ = demo
    predicted = project.with_name("demo_hospital2") / "predictions" / "demo"
    table = pd.read_csv(predicted / "demo_summary.csv", index_col="cell type")
    assert (table["abundance R truth"] > 0.5).sum() >= 3
    assert table.loc["CAFs", "R truth top 100"] > 0.4 and table.loc["Bulk", "R truth top 100"] > 0.4
    slides = pd.read_csv(predicted / "slides.csv")
    assert len(slides) == 54 and slides["slide_id"].str.startswith("DEMO2-").all()


@pytest.mark.slow
def test_response_is_compared_inside_and_across_hospitals(demo):
    """Response follows states of CAFs and tumour cells: what is predicted within them tells more than chance."""
    project, _ = demo
    table = pd.read_csv(project / "results" / "demo_response.csv", index_col=0)
    assert {"CAFs", "Bulk", "abundance", "direct", "mean colour"} <= set(table.index)
    assert table.loc["CAFs", "within"] > 0.6 and table["transfer"].between(0, 1).all()


@pytest.mark.slow
def test_second_demo_skips_what_is_finished(demo):
    project, printed = demo
    before = contents(project.parent)
    again = run_demo(project)
    assert again.returncode == 0, again.stderr
    assert contents(project.parent) == before
    heading = "== Predictions against the known truth"
    assert again.stdout.split(heading)[1].split("features:")[0] == printed.split(heading)[1].split("features:")[0]


@pytest.mark.slow
def test_shuffled_labels_are_not_predicted(demo, run_script, tmp_path):
    """The same code on labels moved to other patients: R about 0, so nothing leaks between the folds."""
    project, _ = demo
    for name in ("features.h5", "splits.json"):
        shutil.copy(project / name, tmp_path / name)
    shutil.copytree(project / "features", tmp_path / "features")
    shutil.copy(project / "targets.h5", tmp_path / "targets.h5")
    with h5py.File(tmp_path / "targets.h5", "r+") as file:
        order = np.random.default_rng(0).permutation(len(file["patient_ids"]))
        for labels in (file["expression/Cancer Epithelial/labels"], file["abundance/labels"]):
            labels[:] = labels[:][order]
    for script in ("1main_cs_exp_regression.py", "1main_abundance_regression.py"):
        cell_type = ["Cancer"] if "exp" in script else []
        done = run_script(f"prediction/{script}", tmp_path, "all", "all", *cell_type)
        assert done.returncode == 0, done.stderr
    done = run_script("prediction/collect_results.py", tmp_path, "--partial")
    assert done.returncode == 0, done.stderr
    genes = pd.read_csv(tmp_path / "results" / "Cancer Epithelial_genes.csv")
    abundance = pd.read_csv(tmp_path / "results" / "abundance.csv")
    assert abs(genes["pearson_r"].median()) < 0.2  # 60 patients: sd of one R is 0.13, genes move together
    assert abs(abundance["pearson_r"].median()) < 0.2


@pytest.fixture(scope="module")
def beside():
    return runpy.run_path(str(ROOT / "data" / "run_demo.py"))["beside"]


def test_what_runs_beside_a_stage_is_printed_after_it(beside, capfd):
    with beside("The other", subprocess.run, ["echo", "of the other"]):
        subprocess.run(["sh", "-c", "sleep 1; echo of the stage"])
    assert capfd.readouterr().out == "of the stage\n\n=== The other\nof the other\n"


def test_what_runs_beside_a_stage_that_fails_is_stopped(beside, tmp_path):
    started = tmp_path / "started"
    with pytest.raises(ValueError, match="of the stage"):
        with beside("The other", subprocess.run, ["sh", "-c", f"echo $$ > {started}; exec sleep 600"]):
            while not (started.is_file() and started.read_text().endswith("\n")):
                time.sleep(0.05)
            raise ValueError("of the stage")
    assert not is_alive(int(started.read_text()))


def test_what_fails_beside_a_stage_fails_the_demo(beside):
    with pytest.raises(SystemExit) as ended:
        with beside("The other", sys.exit, 3):
            pass
    assert ended.value.code == 3


def contents(project):
    """Every output and its bytes; logs grow by the lines of a second run."""
    return {path.relative_to(project): path.read_bytes() for path in sorted(project.rglob("*"))
            if path.is_file() and "logs" not in path.parts}
