"""The check names the right next command at every stage, and what disagrees."""
import argparse
import hashlib
import json
import logging
import os
import shlex

import check_project
import h5py
import numpy as np
import pandas as pd
import pytest

from demo_cohort import write_svs
from slide_ex.project import cohort_files
from slide_ex.stages import project_stages, training_checksums, training_stages

PATIENTS = [f"P{i}" for i in range(8)]
SLIDES = pd.DataFrame({"Slide.ID": [f"{patient}-S1" for patient in PATIENTS], "Patient.ID": PATIENTS,
                       "Filename": [f"{patient}.svs" for patient in PATIENTS]})
SETTINGS = {"encoder": "resnet50", "weights": "random", "weights_sha256": "w", "weights_seed": 0, "precision": "fp32",
            "normalisation": "macenko", "tile_px": 512, "magnification": 20}


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def strings(file, name, values):
    file.create_dataset(name, data=list(values), dtype=h5py.string_dtype())


def make_inputs(project):
    random = np.random.default_rng(0)
    SLIDES.to_csv(project / "metadata.csv", index=False)
    (project / "slides").mkdir()
    picture = random.integers(0, 255, (300, 300, 3), dtype=np.uint8)
    for i, name in enumerate(SLIDES["Filename"]):
        write_svs.write(project / "slides" / name, picture, magnification=20 if i else None)
    genes = pd.Index(["A", "B"], name="gene")
    pd.DataFrame(random.random((2, 8)) * 99, genes, PATIENTS).to_csv(project / "bulk_expression.tsv.gz", sep="\t")
    pd.DataFrame([[90., 1], [1, 90]], genes, ["T-cells", "CAFs"]).to_csv(project / "signature.tsv", sep="\t")
    responses = ["pCR", "RD"] * 4
    pd.DataFrame({"Patient.ID": PATIENTS, "Response": responses}).to_csv(project / "clinical.csv", index=False)


def mend_magnification(project):
    SLIDES.assign(Magnification=["20"] + [""] * 7).to_csv(project / "metadata.csv", index=False)


def make_deconvolution(project):
    (project / "deconvolution").mkdir(exist_ok=True)
    with h5py.File(project / "deconvolution" / "expression.h5", "w") as file:
        for name, values in (("cell_types", ["T-cells", "CAFs"]), ("genes", ["A", "B"]), ("patient_ids", PATIENTS)):
            strings(file, name, values)
        inputs = {name: sha256(project / path) for name, path in (("bulk_expression", "bulk_expression.tsv.gz"),
                                                                  ("signature", "signature.tsv"))}
        file.attrs.update(method="native", inputs=json.dumps(inputs))


def make_targets(project):
    random = np.random.default_rng(1)
    with h5py.File(project / "targets.h5", "w") as file:
        strings(file, "patient_ids", PATIENTS)
        for cell_type in ("CAFs", "T-cells"):
            file[f"expression/{cell_type}/labels"] = random.random((8, 3)).astype(np.float32) * [1, 0, 1]
            strings(file, f"expression/{cell_type}/genes", ["A", "B", "C"])
        file["abundance/labels"] = random.dirichlet([1, 1], 8).astype(np.float32)
        strings(file, "abundance/cell_types", ["CAFs", "T-cells"])
        inputs = {"expression.h5": sha256(project / "deconvolution" / "expression.h5")}
        file.attrs.update(deconvolution_method="native", inputs=json.dumps(inputs), 
                          parameters='{"bulk": true, "min_confidence": 0.9}')


def make_slide(project, row, **changed):
    slide = SLIDES.iloc[row]
    for folder in ("features", "mask"):
        (project / folder).mkdir(exist_ok=True)
    (project / "mask" / f"{slide['Slide.ID']}.pdf").touch()
    with h5py.File(project / "features" / f"{slide['Slide.ID']}.h5", "w") as file:
        file["features"] = np.full((2, 4), row, np.float32)
        file.attrs.update(SETTINGS | {
            "slide_id": slide["Slide.ID"], "patient_id": slide["Patient.ID"], "filename": slide["Filename"],
            "slide_bytes": (project / "slides" / slide["Filename"]).stat().st_size, "slide_magnification": 20.,
            "content_sha256": f"content {row}"} | changed)


def make_slides(project):
    for row in range(8):
        make_slide(project, row)


def make_features(project):
    digest = hashlib.sha256()
    for row, slide in SLIDES.iterrows():
        digest.update(f"{slide['Slide.ID']}\t{slide['Patient.ID']}\tcontent {row}\n".encode())
    with h5py.File(project / "features.h5", "w") as file:
        file["first_tile"], file["mean_features"] = np.arange(9) * 2, np.random.default_rng(2).random((8, 4))
        file["mean_rgb"] = np.ones((8, 3))
        strings(file, "slide_ids", SLIDES["Slide.ID"])
        strings(file, "patient_ids", PATIENTS)
        file.attrs.update(SETTINGS | {"content_sha256": digest.hexdigest()})


def make_splits(project):
    halves = [PATIENTS[:4], PATIENTS[4:]]
    outer = [{"test": halves[k], "inner": [{"train": halves[1 - k][:2], "valid": halves[1 - k][2:]},
                                           {"train": halves[1 - k][2:], "valid": halves[1 - k][:2]}]} for k in (0, 1)]
    (project / "splits.json").write_text(json.dumps({"seed": 1, "n_outer": 2, "n_inner": 2, "patients": PATIENTS,
                                                     "outer": outer}))


def make_models(project, folder, target, n_models=4):
    slides = cohort_files.read_slides(project / "features.h5")
    splits = json.loads((project / "splits.json").read_text())
    config = {"features_sha256": slides.sha256, "targets_sha256": target.sha256,
              "splits_sha256": cohort_files.checksum(splits)}
    for k, i in [(0, 0), (0, 1), (1, 0), (1, 1)][:n_models]:
        path = project / "results" / folder / f"result_{k}_{i}"
        path.mkdir(parents=True, exist_ok=True)
        (path / "config.json").write_text(json.dumps(config))


def make_expression(project):
    for cell_type in ("CAFs", "T-cells"):
        make_models(project, f"{cell_type}_preds", cohort_files.read_expression(project / "targets.h5", cell_type))


def make_abundance(project):
    make_models(project, "cell_fraction_preds", cohort_files.read_abundance(project / "targets.h5"))


def make_direct(project):
    make_models(project, "direct_preds", cohort_files.read_response(project / "clinical.csv"))


def make_tables(project):
    for name in ("summary.csv", "predictions.h5"):
        (project / "results" / name).write_text(name)


def make_figures(project):
    (project / "figures").mkdir(exist_ok=True)
    tables = {f"results/{name}": sha256(project / "results" / name) for name in ("summary.csv", "predictions.h5")}
    (project / "figures" / "figures.json").write_text(json.dumps({"fig1": tables | {"features.h5": "of its tiles"}}))


STAGES = [(make_inputs, "deconvolution/1main_deconvolution.py"),
          (make_deconvolution, "deconvolution/prepare_targets.py"),
          (make_targets, None), (mend_magnification, "slide_processing/1main_processing.py PROJECT all"),
          (make_slides, "slide_processing/collect_features.py"), (make_features, "prediction/make_splits.py"),
          (make_splits, "prediction/1main_cs_exp_regression.py PROJECT all all all"),
          (make_expression, "prediction/1main_abundance_regression.py PROJECT all all"),
          (make_abundance, "prediction/1main_direct.py PROJECT all all"),
          (make_direct, "prediction/collect_results.py"), (make_tables, "prediction/figures.py"),
          (make_figures, "everything is done")]


@pytest.fixture
def finished(tmp_path):
    """A project in which every stage is over."""
    for make, _ in STAGES:
        make(tmp_path)
    return tmp_path


@pytest.fixture
def check(caplog):
    """Run the check in this process: exit code and printed lines."""
    def run(project):
        caplog.clear()
        with caplog.at_level(logging.INFO):
            code = check_project.main(argparse.Namespace(project_path=project))
        return code, caplog.messages
    return run


def following(project):
    """The first stage that is not over."""
    return next(stage for stage in project_stages.of_project(project) if not stage.is_over())


def test_next_command_at_every_stage(tmp_path, run_script, check):
    done = run_script("data/check_project.py", tmp_path)
    assert done.returncode == 1 and "metadata.csv is missing: see data/prepare_tcga.py" in done.stdout
    for make, command in STAGES:
        make(tmp_path)
        code, lines = check(tmp_path)
        if command is None:
            assert code == 1 and any("1 slides do not tell their magnification: P0-S1" in line for line in lines)
            continue
        assert code == 0 and command.replace("PROJECT", shlex.quote(str(tmp_path))) in lines[-1]
        assert len(lines) < 30
    done = run_script("data/check_project.py", tmp_path)
    assert done.returncode == 0 and "everything is done" in done.stdout


@pytest.mark.parametrize("change, name, about, options", [
    (lambda p: (p / "signature.tsv").write_text("gene\tT\tC\nA\t5\t1\n"), "deconvolution", "signature", "--overwrite"),
    (lambda p: (p / "reference.tsv").write_text("gene\tT\tC\nA\t5\t1\n"), "deconvolution", "reference", "--overwrite"),
    (lambda p: h5py.File(p / "deconvolution" / "expression.h5", "r+").attrs.update(method="other"), "targets",
     "expression.h5", "--confidence 0.9 --bulk --overwrite"),
    (lambda p: make_slide(p, 3, slide_bytes=1), "slides", "P3-S1", "3 --weights random --overwrite"),
    (lambda p: make_slide(p, 2, patient_id="P9"), "slides", "P2-S1", "2 --weights random --overwrite"),
    (lambda p: [(p / "features" / f"P{i}-S1.h5").unlink() for i in (1, 2, 5)], "slides", "5 of 8",
     "1-2,5 --weights random"),
    (lambda p: make_slide(p, 2, content_sha256="new"), "features.h5", "have changed", "--overwrite"),
    (lambda p: (p / "results" / "T-cells_preds" / "result_1_1" / "config.json").unlink(), "expression",
     "7 of 8 models, missing some of T-cells", 'all all "T-cells"'),
    (lambda p: h5py.File(p / "targets.h5", "r+")["expression/CAFs/labels"].__setitem__((0, 0), 9.), "expression",
     "since CAFs were trained", 'all all "CAFs" --overwrite'),
    (lambda p: os.utime(p / "results" / "predictions.h5", (0, 0)), "tables", "16 models are younger", "--overwrite"),
    (lambda p: (p / "results" / "summary.csv").write_text("new"), "figures", "summary.csv", "")])
def test_stale_and_partial_stages(finished, change, name, about, options):
    change(finished)
    stage = following(finished)
    assert (stage.name, stage.options) == (name, options) and about in stage.about
    assert stage.state in ("stale", "partial")


def test_what_comes_after_a_stale_stage_is_stale(finished, check):
    with h5py.File(finished / "targets.h5", "r+") as file:
        file["expression/CAFs/labels"][0, 0] = 9.
    states = {stage.name: stage.state for stage in project_stages.of_project(finished)}
    assert states == dict.fromkeys(states, "done") | dict.fromkeys(("expression", "tables", "figures"), "stale")
    (finished / "signature.tsv").write_text("gene\tT\tC\nA\t5\t1\n")
    states = {stage.name: stage.state for stage in project_stages.of_project(finished)}
    assert [name for name in states if states[name] == "done"] == ["inputs", "slides", "features.h5", "folds", "direct"]


def test_slides_that_may_be_missing_are_not_asked_for(finished):
    (finished / "features" / "P5-S1.h5").unlink()
    assert following(finished).name == "slides"
    with h5py.File(finished / "features.h5", "r+") as file:
        file.attrs["missing_slide_ids"] = json.dumps(["P5-S1"])
    slides = next(stage for stage in project_stages.of_project(finished) if stage.name == "slides")
    assert slides.state == "done" and "1 slides were allowed to be missing from features.h5: P5-S1" in slides.notes


def test_responses_that_mean_nothing_are_not_counted(finished, check):
    responses = ["pCR", "RD", " pCR", "complete", "", "pCR", "RD", "RD"]
    pd.DataFrame({"Patient.ID": PATIENTS, "Response": responses}).to_csv(finished / "clinical.csv", index=False)
    (finished / "results" / "direct_preds" / "result_0_0" / "config.json").unlink()
    code, lines = check(finished)
    assert code == 1 and "response of 6" in lines[0]
    assert any("complete is not pCR, RD or empty" in line for line in lines)


@pytest.mark.parametrize("folder, on_path, printed", [
    (".", "", ".venv/bin/python"), ("elsewhere", "", "{root}/.venv/bin/python"),
    ("elsewhere", "{root}/.venv/bin", "python")])
def test_next_command_names_the_python_that_ran_the_check(monkeypatch, tmp_path, folder, on_path, printed):
    own = tmp_path / ".venv" / "bin" / "python"
    own.parent.mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    own.touch(mode=0o755)
    monkeypatch.setattr("sys.executable", str(own))
    monkeypatch.setenv("PATH", on_path.format(root=tmp_path))
    monkeypatch.chdir(tmp_path / folder)
    assert check_project.interpreter() == printed.format(root=tmp_path)


def test_disagreements_are_listed(finished):
    make_slide(finished, 4, encoder="uni_v2")
    SLIDES.assign(**{"Patient.ID": ["p0", *PATIENTS[1:]]}).to_csv(finished / "metadata.csv", index=False)
    (finished / "slides" / "P6.svs").unlink()
    (finished / "mask" / "P6-S1.pdf").unlink()
    (finished / "slides" / "P5.svs").write_text("no slide")
    (finished / "mask" / "P5-S1.pdf").unlink()
    stages = {stage.name: stage for stage in project_stages.of_project(finished)}
    assert "1 patients have slides but no bulk: p0 (P0?)" in stages["inputs"].notes
    assert "1 patients have bulk but no slide: P0 (p0?)" in stages["inputs"].notes
    problems = "\n".join(stages["slides"].problems)
    assert "slides differ in encoder (7 x resnet50, 1 x uni_v2): process P4-S1 again" in problems
    assert "slide files are not in slides/: P6.svs" in problems and "cannot be opened by OpenSlide: P5.svs" in problems


@pytest.mark.parametrize("change, message", [
    (lambda p: SLIDES.rename(columns={"Slide.ID": "slide_id"}).to_csv(p / "metadata.csv", index=False),
     "metadata.csv has no column Slide.ID (slide_id?)"),
    (lambda p: SLIDES.drop(columns="Patient.ID").to_csv(p / "metadata.csv", index=False),
     "no patient, fill Patient.ID"),
    (lambda p: pd.concat([SLIDES, SLIDES]).to_csv(p / "metadata.csv", index=False), "Slide.ID is repeated"),
    (lambda p: (p / "bulk_expression.tsv.gz").unlink(), "bulk_expression.tsv[.gz] is missing"),
    (lambda p: SLIDES.assign(**{"Patient.ID": "Q" + SLIDES["Patient.ID"]}).to_csv(p / "metadata.csv", index=False),
     "no patient has both slides and bulk: QP0 (P0?)"),
    (lambda p: (p / "targets.h5").write_bytes(b"no"), "targets.h5 cannot be read"),
    (lambda p: (p / "splits.json").write_text("{"), "splits.json cannot be read")])
def test_inputs_that_stop_everything(finished, check, change, message):
    change(finished)
    code, lines = check(finished)
    assert code == 1 and "inputs cannot start" in lines[-1] and message in "\n".join(lines)


def test_missing_signature_stops_deconvolution_and_says_where_to_get_one(tmp_path, check):
    make_inputs(tmp_path)
    (tmp_path / "signature.tsv").unlink()
    code, lines = check(tmp_path)
    assert code == 1 and "make_signature.py" in "\n".join(lines)


def test_folds_of_other_patients_are_stale(finished):
    splits = json.loads((finished / "splits.json").read_text())
    (finished / "splits.json").write_text(json.dumps(splits | {"patients": [*PATIENTS, "P99"]}))
    stage = following(finished)
    assert stage.name == "folds" and "P99" in stage.about and stage.options == "--overwrite"


def test_direct_models_are_not_asked_for_without_responses(finished):
    (finished / "clinical.csv").unlink()
    assert next(stage for stage in project_stages.of_project(finished) if stage.name == "direct").state == "not needed"


def test_checksums_are_those_of_the_training_scripts(finished):
    with h5py.File(finished / "targets.h5") as file:
        assert (file["expression/CAFs/labels"][:, 1] == 0).all()  # a constant gene, which training leaves out
    target = cohort_files.read_expression(finished / "targets.h5", "CAFs")
    assert training_checksums.of_target(finished / "targets.h5", "CAFs") == target.sha256


@pytest.mark.slow
def test_following_the_check_leads_through_a_real_project(run_script, tmp_path):
    """What it proposes is run until everything is done, on a small demo cohort."""
    sizes = ["--patients", 20, "--genes", 300, "--width-px", 1536, "--height-px", 1024]
    assert run_script("data/make_demo_cohort.py", tmp_path, *sizes).returncode == 0
    options = {"1main_processing.py": ["--weights", "random"], "prepare_targets.py": ["--confidence", "0"],
               "make_splits.py": ["--outer", "2", "--inner", "2"]}
    commands = []
    while True:
        check = run_script("data/check_project.py", tmp_path)
        assert check.returncode == 0, check.stdout
        last = check.stdout.splitlines()[-1]
        if last.startswith("everything is done"):
            break
        script, *arguments = shlex.split(last.removeprefix("next: "))[1:]
        assert script not in commands, f"{script} is proposed twice:\n{check.stdout}"
        commands.append(script)
        more = ["--max-epochs", "2"] if "regression" in script or "direct" in script else []
        done = run_script(script, *arguments, *options.get(script.split("/")[1], more))
        assert done.returncode == 0, done.stderr
    assert len(commands) >= 9


def test_further_models_are_trained_with_the_options_of_those_that_are_there(tmp_path):
    for folder in ("CAFs_preds", "direct_preds"):
        model = tmp_path / "results" / folder / "result_0_1"
        model.mkdir(parents=True)
        (model / "config.json").write_text(json.dumps({"pooling": "mean", "hidden": 256, "max_epochs": 150}))
    assert training_stages.options_like(tmp_path, ["PVL", "CAFs"]) == " --pooling mean --hidden 256 --max-epochs 150"
    assert training_stages.options_like(tmp_path, ["direct"]) == " --hidden 256 --max-epochs 150"
    assert training_stages.options_like(tmp_path, ["PVL"]) == ""
