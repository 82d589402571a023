"""The three trainings as a user runs them: alone or together, killed, repeated, doubled, with bad input."""
import contextlib
import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import weakref
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pandas as pd
import pytest
import torch

import simulated_cohort
from evaluation import association, baselines, out_of_fold
from slide_ex import claim, record
from slide_ex.project import features_file, model_folder, splits_file, targets_file
from training import cross_validation, duration, mlp, model_config, patient_splits, pooling, train_model

ROOT = Path(__file__).resolve().parents[1]
EXPRESSION, ABUNDANCE, DIRECT = (f"prediction/1main_{name}.py" for name in (
    "cs_exp_regression", "abundance_regression", "direct"))
SMALL = ("--hidden", "8", "--max-epochs", "30", "--patience", "10")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory, run_script):
    """A cohort with 3 x 2 folds and no model."""
    project = simulated_cohort.write(tmp_path_factory.mktemp("drawn"))
    done = run_script("prediction/make_splits.py", project, "--outer", 3, "--inner", 2, "--stratify", "response")
    assert done.returncode == 0, done.stderr
    return project


@pytest.fixture(scope="module")
def trained(drawn, tmp_path_factory, run_script):
    """All models of all targets, two at a time."""
    project = copy_of(drawn, tmp_path_factory.mktemp("trained"))
    for script, *cell_type in ((EXPRESSION, "all"), (ABUNDANCE,), (DIRECT,)):
        done = run_script(script, project, "all", "all", *cell_type, *SMALL, "--processes", 2)
        assert done.returncode == 0, done.stderr
    return project


@pytest.fixture
def project(drawn, tmp_path):
    return copy_of(drawn, tmp_path / "project")


def copy_of(project, folder):
    shutil.copytree(project, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("logs"))
    return folder


def contents(folder):
    """Bytes of every file but those that a killed process left."""
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*"))
            if path.is_file() and ".part-" not in str(path)}


def fails(done, *complaints):
    assert done.returncode != 0 and "Traceback" not in done.stderr
    assert all(complaint in done.stderr for complaint in complaints), done.stderr


def test_all_folds_together_are_single_runs(trained, project, run_script):
    assert run_script(EXPRESSION, project, 1, 0, "CAFs", *SMALL).returncode == 0
    assert run_script(DIRECT, project, 2, 1, *SMALL).returncode == 0
    for fold in ("CAFs_preds/result_1_0", "direct_preds/result_2_1"):
        assert contents(project / "results" / fold) == contents(trained / "results" / fold)
        assert len(list((trained / "results" / fold).iterdir())) == 7


def test_files_of_a_fold_agree_with_each_other(trained):
    fold = trained / "results" / "Cancer Epithelial_preds" / "result_0_1"
    state = torch.load(fold / "model_trained.pth", weights_only=True)
    slide_ids, patient_ids, genes, labels, predictions = model_folder.read_predictions(fold, "test")
    splits = splits_file.read(trained / "splits.json")
    assert set(patient_ids) == set(splits["outer"][0]["test"])
    with h5py.File(trained / "features.h5") as file:
        row = {slide: i for i, slide in enumerate(file["slide_ids"].asstr()[:])}
        means = file["mean_features"][:][[row[slide] for slide in slide_ids]]
    first, last = ([state[f"{layer}.{name}"].numpy() for name in ("weight", "bias")] for layer in ("first", "last"))
    assert np.allclose((means @ first[0].T + first[1]) @ last[0].T + last[1], predictions, atol=1e-4)
    table = pd.read_csv(fold / "correlation.csv")
    expected = [np.corrcoef(labels[:, i], predictions[:, i])[0, 1] for i in range(len(genes))]
    assert list(table["gene"]) == list(genes) and np.allclose(table["test_r"], expected, atol=1e-5)
    metrics = pd.read_csv(trained / "results" / "direct_preds" / "result_0_0" / "metrics.csv")
    assert list(metrics["part"]) == ["valid", "test"] and metrics["auc"].between(0, 1).all()


def test_a_second_run_skips_and_another_config_is_refused_with_the_difference(trained, run_script):
    path = trained / "results" / "cell_fraction_preds" / "result_0_1" / "config.json"
    config = record.read(path, ABUNDANCE)
    assert config["made_with"] == {"device": "cuda" if torch.cuda.is_available() else "cpu", "torch": torch.__version__}
    record.write(path, {**config, "made_with": {"device": "another"}})  # to be known, not compared
    splits = splits_file.read(trained / "splits.json")
    assert len(model_folder.read_configs(trained / "results", "abundance", splits)[0]) == 6
    before = contents(trained / "results")
    again = run_script(ABUNDANCE, trained, "all", "all", *SMALL)
    assert "6 models, 6 finished before" in again.stdout
    fails(run_script(ABUNDANCE, trained, 0, 0, "--hidden", 8, "--max-epochs", 31), "max_epochs was 30, now 31",
          "patience was 10, now 50", "--overwrite")
    assert contents(trained / "results") == before


def test_whatever_a_model_is_made_from_is_in_its_record(drawn):
    """Each field of the configuration, and checksums of all data."""
    slides, splits = features_file.read_slides(drawn / "features.h5"), splits_file.read(drawn / "splits.json")
    target, config = targets_file.read_abundance(drawn / "targets.h5"), model_config.Config("regression", "mean", 10, 5)

    def record_of(slides=slides, target=target, splits=splits, **changed):
        options = dataclasses.replace(config, **changed).record()
        return cross_validation.record_and_path(drawn, "network", target, 1, 0, slides, splits, options)[0]
    made = [record_of(**{name: "other" if isinstance(value, str) else value + 1})
            for name, value in dataclasses.asdict(config).items()]
    made += [record_of(slides=dataclasses.replace(slides, sha256="1")), record_of(splits=splits | {"seed": 1}),
             record_of(target=dataclasses.replace(target, sha256="1")), record_of()]
    assert len(set(map(repr, made))) == len(dataclasses.fields(config)) + 4


@pytest.mark.parametrize("kill, survivors", [
    (signal.SIGKILL, True), pytest.param(signal.SIGTERM, False, marks=pytest.mark.slow)])
def test_a_killed_training_leaves_whole_folds_and_is_taken_up_again(trained, project, run_script, kill, survivors):
    command = [sys.executable, ROOT / EXPRESSION, project, "all", "all", "all", *SMALL, "--processes", "2"]
    results = project / "results"
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while not list(results.glob("*/result_*")) and time.monotonic() < deadline:
            time.sleep(0.005)
        process.send_signal(kill)
    assert process.returncode != 0
    wait_until_nobody_is_at_work(results)
    targets = sorted(path.name for path in results.iterdir())
    assert len(targets) > 1 and 1 <= len(list(results.glob("*/result_*"))) < 6 * len(targets)
    assert survivors or not list(results.glob("*/.part-*"))
    assert run_script(EXPRESSION, project, "all", "all", "all", *SMALL).returncode == 0
    for target in targets:
        assert contents(results / target) == contents(trained / "results" / target)


def wait_until_nobody_is_at_work(results):
    """Until no process has a claim in a target's folder: workers end with the process that started them."""
    for _ in range(200):
        locks = [*results.glob("*/.part-*.lock"), *results.glob("*/.part-*/.part.lock")]
        if not any(map(is_claimed, locks)):
            return
        time.sleep(0.05)
    pytest.fail("workers live on")


def is_claimed(lock):
    with contextlib.suppress(FileNotFoundError), claim.held(lock) as is_free:
        return not is_free


def test_two_processes_on_one_fold(trained, project, run_script):
    """Who comes second leaves a fold to the first, says so, and does the others."""
    folds = project / "results" / "CAFs_preds"
    folds.mkdir(parents=True)
    with claim.held(folds / ".part-result_0_1.lock"):
        done = run_script(EXPRESSION, project, 0, "all", "CAFs", *SMALL)
    assert done.returncode == 0, done.stderr
    owner = f"process {os.getpid()} on {os.uname().nodename}"
    assert f"CAFs result_0_1: {owner} is at work on it; left to that" in done.stdout
    assert [path.name for path in sorted(folds.iterdir())] == ["result_0_0"]
    assert run_script(EXPRESSION, project, 0, "all", "CAFs", *SMALL).returncode == 0
    assert contents(folds / "result_0_1") == contents(trained / "results" / "CAFs_preds" / "result_0_1")


def test_slides_of_a_patient_are_never_on_two_sides(trained):
    slides = features_file.read_slides(trained / "features.h5")
    target = targets_file.read_abundance(trained / "targets.h5")
    splits = splits_file.read(trained / "splits.json")
    for outer in range(3):
        for inner in range(2):
            rows = splits_file.rows_of_parts(target, target.of_slides(slides), outer, inner, slides, splits)
            sides = [set(slides.patient_ids[of_part]) for of_part in rows.values()]
            assert sum(map(len, sides)) == len(set.union(*sides)) == 40 and sum(map(len, rows.values())) == 44


@pytest.fixture(scope="module")
def eighty(tmp_path_factory):
    """Slides of 80 patients without noise of tiles, labels of 200 genes with some signal, 5 x 5 folds."""
    project = simulated_cohort.write(tmp_path_factory.mktemp("eighty"), n_patients=80, n_genes=200, noise=3.0)
    slides = features_file.read_slides(project / "features.h5")
    slides = dataclasses.replace(slides, n_tiles=np.full(len(slides.n_tiles), 2400))
    target = targets_file.read_expression(project / "targets.h5", "CAFs")
    return slides, target, patient_splits.draw(sorted(set(slides.patient_ids)), 5, 5, 42)


def train_in(results, slides, target, splits, folds, keep="last"):
    """Train the models of some folds in this process, to the last epoch: what can be learnt, is."""
    config = model_config.Config("regression", "mean", 100, 100, hidden=32, learning_rate=1e-3, keep=keep)
    pool = pooling.MeanPooling(slides, torch.device("cpu"))
    for outer, inner in folds:
        path = model_folder.folder(results, target.name, outer, inner)
        task = cross_validation.Task(target, outer, inner, config, {"target": target.name}, path)
        train_model.train_one(task, slides, splits, pool)


def test_shuffled_labels_are_not_predicted(eighty, tmp_path):
    slides, target, splits = eighty
    folds = [(outer, 0) for outer in range(5)]
    train_in(tmp_path, slides, baselines.shuffled(target, 42), splits, folds)
    found = out_of_fold.collect(tmp_path, "CAFs", folds)
    assert len(found.patient_ids) == 80
    assert abs(association.pearson(found.predictions, found.labels).mean()) < 0.15


def test_the_epoch_is_not_chosen_by_labels_of_the_test_fold(eighty, tmp_path):
    """They may be anything; those of the validation fold may not."""
    slides, target, splits = eighty
    found = {}
    for part, patients in (("none", []), ("test", splits["outer"][0]["test"]),
                           ("valid", splits["outer"][0]["inner"][0]["valid"])):
        labels, rows = target.labels.copy(), np.isin(target.patient_ids, patients)
        labels[rows] = 3 - 2 * labels[rows]
        train_in(tmp_path / part, slides, dataclasses.replace(target, labels=labels), splits, [(0, 0)], keep="best")
        path = model_folder.folder(tmp_path / part, "CAFs", 0, 0)
        found[part] = model_folder.read_predictions(path, "test").predictions
    assert np.array_equal(found["none"], found["test"]) and not np.array_equal(found["none"], found["valid"])


@pytest.mark.parametrize("leaking, low, high", [(["test"], -0.2, 0.2), (["train", "valid", "test"], 0.5, 1)])
def test_what_only_test_slides_know_is_not_learnt(eighty, tmp_path, leaking, low, high):
    """Labels are noise, which features show on the slides of `leaking`: shown on test slides only, it gains nothing."""
    slides, target, splits = eighty
    n_shown = slides.mean_features.shape[1]
    target = dataclasses.replace(target, outputs=target.outputs[:n_shown], labels=np.random.default_rng(1).normal(
        size=(80, n_shown)).astype(np.float32))
    patients = {**splits["outer"][0]["inner"][0], "test": splits["outer"][0]["test"]}
    means = slides.mean_features.copy()
    for part in leaking:
        rows = slides.rows_of(patients[part])
        means[rows] += 10 * target.of_slides(slides)[rows]
    train_in(tmp_path, dataclasses.replace(slides, mean_features=means), target, splits, [(0, 0)])
    *_, labels, predictions = model_folder.read_predictions(model_folder.folder(tmp_path, "CAFs", 0, 0), "test")
    assert low < association.pearson(predictions, labels).mean() < high


def test_a_gpu_without_memory_streams_the_tiles(trained, tmp_path, monkeypatch, caplog):
    """The fallback without a GPU at hand: the first fit fails as a GPU's would, the second gets no resident tiles."""
    slides = features_file.read_slides(trained / "features.h5")
    target = targets_file.read_abundance(trained / "targets.h5")
    splits = splits_file.read(trained / "splits.json")
    config = model_config.Config("regression", "tiles", max_epochs=2, patience=2, hidden=4)
    pool, fit = train_model.pooling_of(slides, config), mlp.fit

    held = []

    def short_of_memory(pool, *arguments):
        if pool.tiles is not None:
            bag = next(pool.bags(torch.tensor([0])))
            held.extend([weakref.ref(bag), weakref.ref(pool.tiles)])
            raise torch.cuda.OutOfMemoryError
        assert [reference() for reference in held] == [None, None]  # given back before the second try
        return fit(pool, *arguments)
    monkeypatch.setattr(mlp, "fit", short_of_memory)
    record = {"target": "abundance", **dataclasses.asdict(config)}
    task = cross_validation.Task(target, 0, 0, config, record, tmp_path / "result_0_0")
    train_model.train_one(task, slides, splits, pool)
    assert (tmp_path / "result_0_0" / "predictions.h5").is_file() and "GPU out of memory" in caplog.text


def test_long_training_is_told_before_it_starts(trained, tmp_path, monkeypatch, caplog):
    """Known answers: seconds of a tile times the tiles of train and valid, from the earliest to the last epoch."""
    slides = features_file.read_slides(trained / "features.h5")
    target, splits = targets_file.read_abundance(trained / "targets.h5"), splits_file.read(trained / "splits.json")
    config = model_config.Config("regression", "tiles", max_epochs=9, patience=4, hidden=4)
    pool = train_model.pooling_of(slides, config)
    tasks = [cross_validation.Task(target, outer, 0, config, {}, tmp_path / f"result_{outer}_0") for outer in range(2)]
    expected = 0
    for outer in range(2):
        parts = splits["outer"][outer]["inner"][0]
        expected += 3 * slides.n_tiles[np.isin(slides.patient_ids, parts["train"])].sum()
        expected += 2 * slides.n_tiles[np.isin(slides.patient_ids, parts["valid"])].sum()
    assert np.allclose(duration.hours(tasks, slides, splits, [3, 2]), np.array([5, 9]) * expected / 3600)

    train_s, valid_s = duration.seconds_a_tile(pool, config)    # validation of a regression needs no tile
    assert 0 < valid_s < train_s < 0.01
    assert duration.warning(pool, tasks, slides, splits) == ""
    monkeypatch.setattr(duration, "seconds_a_tile", lambda pool, config: [3600 / expected * 3, 3600 / expected * 2])
    for task, remedy in ((tasks[0], "--pooling mean"), (direct_of(tasks[0]), "--model low-rank")):
        told = duration.warning(pool, [task, task], slides, splits)
        assert remedy in told and "5 to 9 epochs" in told
    assert "take about 5 to 9 core hours" in duration.warning(pool, tasks, slides, splits)
    started = []
    model_folder.of_target(tmp_path / "results", model_folder.NETWORK, target.name).mkdir(parents=True)
    monkeypatch.setattr(train_model, "train_one", lambda task, *_: started.append(caplog.text))
    args = SimpleNamespace(project_path=tmp_path, overwrite=False, processes=1)
    cross_validation.train_networks(args, [target], slides, splits, [(0, 0)], config)
    assert "core hours" in started[0]   # said before the first model


def direct_of(task):
    return dataclasses.replace(task, config=dataclasses.replace(task.config, head="classification"))


def test_folds_of_one_class_fail_and_the_others_are_trained(project, run_script):
    splits = splits_file.read(project / "splits.json")
    table = pd.read_csv(project / "clinical.csv").set_index("Patient.ID")
    table.loc[splits["outer"][0]["inner"][0]["valid"], "Response"] = "RD"
    table.to_csv(project / "clinical.csv")
    done = run_script(DIRECT, project, 0, "all", *SMALL, "--overwrite")
    assert "one class only in the valid part of fold 0 0" in done.stdout
    assert (project / "results" / "direct_preds" / "result_0_1").is_dir() == (done.stderr.count("result_0_1") == 0)
    fails(done, "models failed", "result_0_0", "one class only in the valid part of fold 0 0",
          "run the same command again without --overwrite, which trains only what is left")


def test_a_cell_type_without_genes_fails_and_the_others_are_trained(project, run_script):
    with h5py.File(project / "targets.h5", "r+") as file:
        file["expression/CAFs/labels"][:] = 1
    done = run_script(EXPRESSION, project, 0, 0, "all", *SMALL)
    assert "CAFs: no genes left" in done.stdout
    assert [path.name for path in (project / "results").iterdir()] == ["Cancer Epithelial_preds"]
    fails(done, "1 of 2 cell types have no model")


@pytest.mark.parametrize("name, remedy", [
    ("features.h5", "make it again with slide_processing/collect_features.py --overwrite"),
    ("targets.h5", "make it again with deconvolution/prepare_targets.py --overwrite"),
    ("splits.json", "make it again with prediction/make_splits.py --overwrite"),
    ("results/cell_fraction_preds/result_0_0/config.json",
     "make it again with prediction/1main_abundance_regression.py --overwrite")])
def test_damaged_files_are_named(project, run_script, name, remedy):
    path = project / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(path.read_bytes()[:2000] if path.is_file() else b"{")
    fails(run_script(ABUNDANCE, project, 0, 0, *SMALL), str(path), "damaged", remedy)


def test_folds_drawn_for_other_patients_and_unknown_folds(project, run_script):
    fails(run_script(ABUNDANCE, project, 3, 0), "there is no fold '3': give 0 to 2, or all")
    fails(run_script(EXPRESSION, project, 0, 0, "Tcells"), "no cell type 'Tcells'", "CAFs")
    fails(run_script(ABUNDANCE, project, 0, 0, "--patience", 0), "--patience 0")
    splits = splits_file.read(project / "splits.json")
    splits_file.write(project / "splits.json", json.loads(json.dumps(splits).replace("P007", "P999")))
    fails(run_script(ABUNDANCE, project, 0, 0), "drawn for other patients", "P999", "make_splits.py --overwrite")
    (project / "splits.json").unlink()
    fails(run_script(ABUNDANCE, project, 0, 0), "run prediction/make_splits.py first")
    assert not list((project / "results").glob("*")) if (project / "results").is_dir() else True
