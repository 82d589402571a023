"""Finished means that everything is there: every stage killed at its file events, and every output deleted in turn.

After either, the same command leaves the same bytes as an undisturbed run. What is finished is then spoiled: a bit is
flipped in every kind of file, and every kind is cut; no script makes anything else of it without a word.
"""
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import simulated_response
import simulated_results

ROOT = Path(__file__).resolve().parents[1]
HARNESS, SPOILER = ROOT / "tests" / "killed_runs.py", ROOT / "tests" / "spoiled_files.py"
THINNED = int(os.environ.get("KILLED_THINNED", 2))    # 1: twice as many kills, in twice the time
STAGES = [    # script and arguments; every how many events and outputs are tried, times THINNED
    ("deconvolution/1main_deconvolution.py", "home", 3),
    ("deconvolution/prepare_targets.py", "home --confidence 0 --bulk", 1),
    ("slide_processing/1main_processing.py", "home 0 --weights random", 2),
    ("slide_processing/collect_mask.py", "home", 1),
    ("slide_processing/collect_features.py", "home", 1),
    ("prediction/make_splits.py", "home --outer 2 --inner 2", 1),
    ("prediction/1main_abundance_regression.py", "home 0 0 --hidden 8 --max-epochs 2 --processes 1", 1),
    ("prediction/collect_results.py", "home --bootstrap 10 --partial --no-baselines", 2),
    ("prediction/enrich_genes.py", "home --gmt home/gene_sets.gmt --top 20", 1),
    ("prediction/map_slide.py", "home 0 --abundance CAFs", 3),
    ("prediction/export_model.py", "home bundle --cell-types abundance --partial", 1),
    ("prediction/predict_cohort.py", "away --models home --bootstrap 10 --partial", 2)]
BETWEEN = {   # what else the next stages need: run once, undisturbed
    "slide_processing/1main_processing.py": ["slide_processing/1main_processing.py home all --weights random",
                                             "slide_processing/1main_processing.py away all --weights random",
                                             "slide_processing/collect_features.py away"],
    "prediction/1main_abundance_regression.py": [
        "prediction/1main_abundance_regression.py home all all --hidden 8 --max-epochs 2 --processes 1",
        "prediction/1main_cs_exp_regression.py home all all CAFs --hidden 8 --max-epochs 2 --processes 1"]}


def run(command, folder):
    script, *words = command.split()
    done = subprocess.run([sys.executable, ROOT / script, *words], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}: {done.stderr}"


def disturbed(every, script, words, before, work):
    """What the harness found for one script; afterwards `work` is the state after it."""
    done = subprocess.run([sys.executable, HARNESS, str(every), script, before, work, *words], capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def disturbed_stages(tmp_path_factory):
    """What was found in every stage, and the folder with all of them finished."""
    folder = tmp_path_factory.mktemp("stages")
    before, work, found = folder / "before", folder / "work", {}
    before.mkdir()
    for cohort in ("home --patients 14", "away --patients 3 --hospital 2"):
        run(f"data/make_demo_cohort.py {cohort} --genes 250 --width-px 1024 --height-px 1024", before)
    for script, words, every in STAGES:
        found[script] = disturbed(every * THINNED, script, words.split(), before, work)
        shutil.rmtree(before)
        work.rename(before)
        for command in BETWEEN.get(script, []):
            run(command, before)
    return found, before


@pytest.mark.slow
def test_every_stage_killed_at_its_file_events_and_with_each_output_deleted(disturbed_stages):
    found, _ = disturbed_stages
    print(json.dumps(found, indent=1))
    faults = {script: {kind: result["faults"] for kind, result in of_script.items() if result["faults"]}
              for script, of_script in found.items()}
    assert {script: of_script for script, of_script in faults.items() if of_script} == {}
    assert sum(result["kills"]["events"] for result in found.values()) > 50
    assert sum(result["deletions"]["outputs"] for result in found.values()) > 30


@pytest.mark.slow
def test_no_spoiled_file_gives_other_results_without_a_word(disturbed_stages, tmp_path):
    """One case of each kind; SPOILED_CASES=10 in the environment for more."""
    done = subprocess.run([sys.executable, SPOILER, disturbed_stages[1], tmp_path / "work",
                           os.environ.get("SPOILED_CASES", "1")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    print(json.dumps(found["counts"], indent=1))
    assert found["faults"] == []
    assert all(sum(of_kind.values()) for of_fault in found["counts"].values() for of_kind in of_fault.values())


def cohort_of_tables(folder):
    """Slides, a table of ids and one of expression, as somebody has them."""
    (folder / "scans").mkdir(parents=True)
    patients = [f"P{i}" for i in range(3)]
    for patient in patients:
        (folder / "scans" / f"{patient}.svs").write_text("slide")
    pd.DataFrame({"Filename": [f"{patient}.svs" for patient in patients], "Patient.ID": patients,
                  "Response": ["pCR", "RD", ""]}).to_csv(folder / "cohort.csv", index=False)
    pd.DataFrame(100., ["A", "B"], patients).rename_axis("gene").to_csv(folder / "tpm.tsv", sep="\t")
    return "data/prepare_cohort.py", "trial --table cohort.csv --slides scans --expression tpm.tsv", 1


def response_of_predictions(folder):
    simulated_response.write(folder / "cohort", n_patients=60)
    return "prediction/predict_response.py", ("cohort --features CAFs abundance --search 1 --repeats 1 --bootstrap 10 "
                                              "--processes 1"), 1


def figures_of_results(folder):
    simulated_results.write(folder / "cohort", n_patients=30)
    return "prediction/figures.py", "cohort", 11


@pytest.mark.slow
@pytest.mark.parametrize("make", [cohort_of_tables, response_of_predictions, figures_of_results])
def test_scripts_of_other_inputs_too(make, tmp_path):
    before = tmp_path / "before"
    before.mkdir()
    script, words, every = make(before)
    found = disturbed(every, script, words.split(), before, tmp_path / "work")
    assert not found["kills"]["faults"], found
    refused = {name: said for name, said in found["deletions"]["faults"].items()
               if "made by something else" not in said}
    assert not refused, found    # tables without their record may be somebody's own


def test_demo_slides_are_made_again_where_one_is_gone(run_script, tmp_path):
    sizes = ("--patients", 1, "--genes", 250, "--width-px", 1024, "--height-px", 1024)
    assert run_script("data/make_demo_cohort.py", tmp_path, *sizes).returncode == 0
    slide = next((tmp_path / "slides").iterdir())
    content = slide.read_bytes()
    slide.unlink()
    assert run_script("data/make_demo_cohort.py", tmp_path, *sizes).returncode == 0 and slide.read_bytes() == content
