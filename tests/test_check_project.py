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
import tifffile
from pypdf import PdfWriter

import painted_slides
from demo_cohort import write_svs
from slide_ex import checksums, hdf5, record
from slide_ex.project import (
    expression_file,
    feature_file,
    features_file,
    features_writing,
    mask_file,
    metadata_file,
    model_folder,
    predictions_file,
    splits_file,
    targets_file,
)
from slide_ex.stages import label_states, model_states, plan, project_states

PATIENTS = [f"P{i}" for i in range(8)]
SLIDES = pd.DataFrame({"Slide.ID": [f"{patient}-S1" for patient in PATIENTS], "Patient.ID": PATIENTS,
                       "Filename": [f"{patient}.svs" for patient in PATIENTS]})
SETTINGS = {"encoder": "resnet50", "weights": "random", "weights_sha256": "w", "weights_seed": 0, "precision": "fp32",
            "normalisation": "macenko", "tile_px": 512, "magnification": 20}


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def touch(project, *names):
    for name in names:
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(name)


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


def fill_magnification(project):
    SLIDES.assign(Magnification=["20"] + [""] * 7).to_csv(project / "metadata.csv", index=False)


def make_deconvolution(project, method="native", parameters={}, **more_inputs):
    stage = plan.BY_NAME["deconvolution"]
    touch(project, *stage.outputs)
    inputs = {name: sha256(project / path) for name, path in (("bulk_expression", "bulk_expression.tsv.gz"),
                                                              ("signature", "signature.tsv"))}
    expression_file.write(project / stage.outputs[-1], np.ones((2, 2, 8)), np.ones((2, 8)), ["T-cells", "CAFs"],
                          ["A", "B"], PATIENTS, method, parameters, inputs | more_inputs)


def make_targets(project):
    random = np.random.default_rng(1)
    expression = [(cell_type, ["A", "B", "C"], random.random((8, 3)).astype(np.float32) * [1, 0, 1], np.ones(3))
                  for cell_type in ("CAFs", "T-cells")]
    fractions = pd.DataFrame(random.dirichlet([1, 1], 8), PATIENTS, ["CAFs", "T-cells"])
    digest = sha256(project / "deconvolution" / "expression.h5")
    touch(project, "deconvolution/target_genes.csv")
    targets_file.write(project / "targets.h5", PATIENTS, expression, fractions, {
        "deconvolution_method": "native", "deconvolution_sha256": digest,
        "inputs": json.dumps({"expression.h5": digest}), "parameters": '{"bulk": true, "min_confidence": 0.9}'})


def make_slide(project, row, content=None, **changed):
    slide = SLIDES.iloc[row]
    mask, features = plan.outputs(project, "slides", slide_id=slide["Slide.ID"])
    for path in (mask, features):
        path.parent.mkdir(exist_ok=True)
    mask.touch()
    attributes = SETTINGS | {
        "slide_id": slide["Slide.ID"], "patient_id": slide["Patient.ID"], "filename": slide["Filename"],
        "slide_bytes": (project / "slides" / slide["Filename"]).stat().st_size, "slide_magnification": 20.,
        "level0_tile_px": 512, "level0_width": 2000, "level0_height": 2000} | changed
    random = np.random.default_rng(row if content is None else content)
    feature_file.write(features, random.random((2, 4), np.float32), np.zeros((2, 2)), np.ones((2, 3)),
                       np.zeros((0, 2)), attributes)


def make_slides(project):
    for row in range(8):
        make_slide(project, row)


def make_masks(project):
    pages = [plan.outputs(project, "slides", slide_id=slide_id)[0] for slide_id in SLIDES["Slide.ID"]]
    with PdfWriter() as pdf:
        pdf.add_blank_page(10, 10)
        pdf.add_metadata({mask_file.MADE_FROM: mask_file.sha256_of(pages)})
        pdf.write(project / "mask.pdf")


def make_features(project):
    slides = metadata_file.read(project)
    sources = [feature_file.read_summary(feature_file.path_of(project, slide_id)) for slide_id in slides.slide_id]
    features_writing.collect(project / "features.h5", slides, sources,
                             features_writing.shared_attributes(sources, slides))
    touch(project, "tile_counts.pdf")


def make_splits(project):
    halves = [PATIENTS[:4], PATIENTS[4:]]
    outer = [{"test": halves[k], "inner": [{"train": halves[1 - k][:2], "valid": halves[1 - k][2:]},
                                           {"train": halves[1 - k][2:], "valid": halves[1 - k][:2]}]} for k in (0, 1)]
    splits_file.write(project / "splits.json", {"seed": 1, "n_outer": 2, "n_inner": 2, "patients": PATIENTS,
                                                "outer": outer})


def make_models(project, target, n_models=4):
    slides = features_file.read_slides(project / "features.h5")
    splits = splits_file.read(project / "splits.json")
    for outer, inner in splits_file.numbers(splits)[:n_models]:
        folder = model_folder.folder(project / "results", target.name, outer, inner)
        touch(folder, *model_folder.files(target.name))
        (folder / "config.json").write_text(json.dumps({
            "features_sha256": slides.sha256, "targets_sha256": target.sha256,
            "splits_sha256": checksums.of_content(splits), "target": target.name, "outer": outer, "inner": inner}))


def make_expression(project):
    for cell_type in ("CAFs", "T-cells"):
        make_models(project, targets_file.read_expression(project / "targets.h5", cell_type))


def make_abundance(project):
    make_models(project, targets_file.read_abundance(project / "targets.h5"))


def make_direct(project):
    make_models(project, targets_file.read_response(project / "clinical.csv"))


def make_tables(project):
    touch(project, "results/summary.csv", "results/missing_slides.csv", "results/abundance.csv",
          "results/CAFs_genes.csv")
    splits = splits_file.read(project / "splits.json")
    configs = model_folder.read_all_configs(project / "results", ["CAFs", "T-cells"], splits)
    predicted = predictions_file.Predicted(np.array(PATIENTS), np.array(["A"]), np.ones((8, 1)), np.ones((8, 1)))
    predictions_file.write(project / "results" / "predictions.h5", [("CAFs", predicted), ("abundance", predicted)],
                           {"models_sha256": checksums.of_content(configs)})


def make_figures(project):
    touch(project, "figures/fig1.pdf", "figures/fig1.png", "figures/fig1.txt")
    tables = {f"results/{name}": sha256(project / "results" / name) for name in ("summary.csv", "predictions.h5")}
    tables["features.h5"] = features_file.index_sha256(project / "features.h5")
    record.write(project / "figures" / "figures.json", {"fig1": tables})


STAGES = [(make_inputs, "deconvolution/1main_deconvolution.py"),
          (make_deconvolution, "deconvolution/prepare_targets.py"),
          (make_targets, None), (fill_magnification, "slide_processing/1main_processing.py PROJECT all"),
          (make_slides, "slide_processing/collect_mask.py PROJECT"),
          (make_masks, "slide_processing/collect_features.py PROJECT"), (make_features, "prediction/make_splits.py"),
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
    """The state of the first stage that is not over."""
    return project_states.following(project_states.of_project(project))


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


@pytest.mark.parametrize("change, name, about, words", [
    (lambda p: (p / "signature.tsv").write_text("gene\tT\tC\nA\t5\t1\n"), "deconvolution", "signature", "--overwrite"),
    (lambda p: (p / "reference.tsv").write_text("gene\tT\tC\nA\t5\t1\n"), "deconvolution", "reference", "--overwrite"),
    (lambda p: (p / "deconvolution" / "summary.csv").unlink(), "deconvolution", "not there: summary.csv", ""),
    (lambda p: make_deconvolution(p, "other"), "targets", "expression.h5", "--confidence 0.9 --bulk --overwrite"),
    (lambda p: (p / "deconvolution" / "target_genes.csv").unlink(), "targets", "not there", "--confidence 0.9 --bulk"),
    (lambda p: make_slide(p, 3, slide_bytes=1), "slides", "P3-S1", "3 --weights random --overwrite"),
    (lambda p: make_slide(p, 2, patient_id="P9"), "slides", "P2-S1", "2 --weights random --overwrite"),
    (lambda p: (p / "features" / "P2-S1.h5").write_bytes(b"cut"), "slides", "damaged: P2-S1",
     "2 --weights random --overwrite"),
    (lambda p: [(p / "features" / f"P{i}-S1.h5").unlink() for i in (1, 2, 5)], "slides", "5 of 8",
     "1-2,5 --weights random"),
    (lambda p: (p / "mask.pdf").unlink(), "masks", "", ""),
    (lambda p: make_slide(p, 2, content=99), "features", "slides' features", "--overwrite"),
    (lambda p: (p / "tile_counts.pdf").unlink(), "features", "tile_counts.pdf is not there", ""),
    (lambda p: (p / "results" / "T-cells_preds" / "result_1_1" / "loss.pdf").unlink(), "expression",
     "7 of 8 models, missing some of T-cells", "all all T-cells"),
    (lambda p: (p / "results" / "T-cells_preds" / "result_1_1" / "config.json").write_text("{"), "expression",
     "since T-cells were trained", "all all T-cells --overwrite"),
    (lambda p: h5py.File(p / "targets.h5", "r+")["expression/CAFs/labels"].__setitem__((0, 0), 9.), "expression",
     "since CAFs were trained", "all all CAFs --overwrite"),
    (lambda p: (p / "results" / "CAFs_genes.csv").unlink(), "results", "not there: CAFs_genes.csv", ""),
    (lambda p: h5py.File(p / "results" / "predictions.h5", "r+").attrs.update(models_sha256="0"), "results",
     "the models", ""),
    (lambda p: (p / "results" / "summary.csv").write_text("new"), "figures", "summary.csv", ""),
    (lambda p: (p / "figures" / "fig1.png").unlink(), "figures", "not there: fig1", ""),
    (lambda p: (p / "figures" / "figures.json").write_text("{"), "figures", "damaged", "--overwrite")])
def test_stale_and_partial_stages(finished, change, name, about, words):
    change(finished)
    state = following(finished)
    assert (state.name, shlex.join(project_states.next_words(state))) == (name, words) and about in state.about
    assert state.status in ("stale", "partial", "missing")


@pytest.mark.parametrize("parameters, inputs, words", [
    ({"method": "native", "seed": 42, "min_markers_found": .5, "text": False}, {}, "--overwrite"),
    ({"method": "native", "seed": 7, "text": True, "log2": 1.0, "no_states": True, "batch": "Site"}, {},
     "--seed 7 --log2 1.0 --batch Site --text --no-states --overwrite"),
    ({"malignant": ["Epithelial", "Basal"]}, {"purity": "0", "gene_map": "0"},
     "--malignant Epithelial --malignant Basal --gene-map PATH --purity PATH --overwrite"),
    ({"method": "codefacs"}, {}, "--method codefacs --codefacs-dir PATH --overwrite"),
    ({"method": "codefacs"}, {"confidence_score.txt": "0"}, "--method codefacs --codefacs-output PATH --overwrite")])
def test_labels_are_made_again_with_the_options_of_before(finished, parameters, inputs, words):
    """What was run with purity, without states or by CODEFACS must not be another thing when bulk has changed."""
    make_deconvolution(finished, parameters=parameters, **inputs)
    (finished / "signature.tsv").write_text("gene\tT\tC\nA\t5\t1\n")
    state = following(finished)
    assert state.name == "deconvolution" and shlex.join(project_states.next_words(state)) == words


def test_genes_and_folds_are_chosen_as_before(finished):
    with hdf5.writing(finished / "targets.h5", add=True) as file:
        made = json.loads(file.attrs["inputs"])
        file.attrs["inputs"] = json.dumps(made | {"genes": "0", "expression.h5": "0"})
    assert shlex.join(project_states.next_words(following(finished))) == (
        "--confidence 0.9 --bulk --genes PATH --overwrite")
    make_targets(finished)
    splits = splits_file.read(finished / "splits.json")
    splits["outer"][0]["test"].append("P99")
    splits |= {"patients": [*PATIENTS, "P99"], "stratify": "response", "group_by": None}
    splits_file.write(finished / "splits.json", splits)
    assert shlex.join(project_states.next_words(following(finished))) == (
        "--outer 2 --inner 2 --seed 1 --stratify response --overwrite")


def test_tables_are_made_again_of_the_models_that_were_chosen(finished):
    with hdf5.writing(finished / "results" / "predictions.h5", add=True) as file:
        file.attrs.update(models_sha256="0", use="network")
    state = following(finished)
    assert (state.name, project_states.next_words(state)) == ("results", ["--use", "network"])


@pytest.mark.parametrize("dtype, words", [(None, "--copy"), (np.float16, "--dtype float16")])
def test_a_copy_of_features_is_made_again_as_one(finished, dtype, words):
    with h5py.File(finished / "features.h5") as file:
        attributes = dict(file.attrs)
    slides = metadata_file.read(finished)
    bags = (feature_file.read_arrays(feature_file.path_of(finished, slide_id)) for slide_id in slides.slide_id)
    features_writing.write(finished / "features.h5", slides, bags, attributes, dtype)
    assert following(finished) is None or following(finished).name != "features"
    make_slide(finished, 2, content=99)
    state = following(finished)
    assert (state.name, shlex.join(project_states.next_words(state))) == ("features", f"{words} --overwrite")


def statuses(project):
    return {state.name: state.status for state in project_states.of_project(project)}


def test_what_comes_after_a_stale_stage_is_stale(finished):
    with h5py.File(finished / "targets.h5", "r+") as file:
        file["expression/CAFs/labels"][0, 0] = 9.
    found = statuses(finished)
    assert [name for name, status in found.items() if status == "stale"] == ["expression", "results", "figures"]
    (finished / "signature.tsv").write_text("gene\tT\tC\nA\t5\t1\n")
    found = statuses(finished)
    assert [name for name in found if found[name] == "done"] == ["inputs", "slides", "masks", "features", "splits"]


def test_a_copy_of_a_finished_project_is_finished(finished, tmp_path_factory):
    """What is stale is known by content: neither times of files nor the place of the project matter."""
    copy = tmp_path_factory.mktemp("copy") / "project"
    os.system(f"cp -r {shlex.quote(str(finished))} {shlex.quote(str(copy))}")
    for path in sorted(copy.rglob("*"), reverse=True):
        os.utime(path, (0, 0))
    assert following(copy) is None


def test_slides_that_may_be_missing_are_not_asked_for(finished):
    (finished / "features" / "P5-S1.h5").unlink()
    assert following(finished).name == "slides"
    with hdf5.writing(finished / "features.h5", add=True) as file:
        file.attrs["missing_slide_ids"] = json.dumps(["P5-S1"])
    slides = next(state for state in project_states.of_project(finished) if state.name == "slides")
    assert slides.status == "done" and slides.allowed == ["P5-S1"]
    assert "1 slides were allowed to be missing from features.h5: P5-S1" in slides.notes


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
    stages = {state.name: state for state in project_states.of_project(finished)}
    assert "1 patients have slides but no bulk: p0 (P0?)" in stages["inputs"].notes
    assert "1 patients have bulk but no slide: P0 (p0?)" in stages["inputs"].notes
    assert "1 patients have slides but no row in clinical.csv: p0 (P0?)" in stages["inputs"].notes
    assert "1 patients have a row in clinical.csv but no slide: P0 (p0?)" in stages["inputs"].notes
    problems = "\n".join(stages["slides"].problems)
    assert "slides differ in encoder (7 x resnet50, 1 x uni_v2): process P4-S1 again" in problems
    assert "slide files are not in slides/: P6.svs" in problems and "cannot be opened by OpenSlide: P5.svs" in problems


def test_nothing_is_done_while_something_is_to_be_fixed(finished, check):
    """Slides that were made in two ways are all there, but no later stage takes them."""
    make_slide(finished, 4, drop="blurred")
    code, lines = check(finished)
    assert code == 1 and "slides cannot be used as they are" in lines[-1]
    assert any("slides differ in drop" in line for line in lines)


def test_slides_whose_scale_is_not_known_are_told_by_kind(finished):
    """Filling Magnification helps where nothing is said, and not where pixels are not square."""
    slides, picture = finished / "slides", painted_slides.tissue(256, 256)
    painted_slides.write_svs(slides / "P1.svs", picture, power=None)
    painted_slides.write_svs(slides / "P2.svs", picture, power=20, mpp=0.2325)
    tifffile.imwrite(slides / "P3.svs", picture, tile=(256, 256), photometric="rgb", compression="jpeg",
                     resolution=(20000, 22000), resolutionunit="CENTIMETER", metadata=None)
    for i in (1, 2, 3):
        (finished / "features" / f"P{i}-S1.h5").unlink()
    problems = {state.name: state for state in project_states.of_project(finished)}["slides"].problems
    silent, contradicting, crooked = problems
    assert silent.startswith("1 slides do not tell their magnification: P1-S1; ") and "fill" in silent
    assert contradicting.startswith("1 slides contradict themselves about their scale: P2-S1; power says 20x, MPP says")
    assert crooked.startswith("1 slides cannot be used: P3-S1; the slide's pixels are not square")
    assert "fill" not in crooked
    assert not any(problem.endswith("; ") for problem in problems)


@pytest.mark.parametrize("change, message", [
    (lambda p: SLIDES.rename(columns={"Slide.ID": "slide_id"}).to_csv(p / "metadata.csv", index=False),
     "metadata.csv has no column Slide.ID (slide_id?)"),
    (lambda p: SLIDES.drop(columns="Patient.ID").to_csv(p / "metadata.csv", index=False),
     "no patient for 8 of 8 slides"),
    (lambda p: pd.concat([SLIDES, SLIDES]).to_csv(p / "metadata.csv", index=False),
     "Slide.ID must be unique, repeated"),
    (lambda p: (p / "bulk_expression.tsv.gz").unlink(), "bulk_expression.tsv[.gz] is missing"),
    (lambda p: SLIDES.assign(**{"Patient.ID": "Q" + SLIDES["Patient.ID"]}).to_csv(p / "metadata.csv", index=False),
     "no patient has both slides and bulk: QP0 (P0?)"),
    (lambda p: (p / "targets.h5").write_bytes(b"no"), "targets.h5 is damaged"),
    (lambda p: (p / "splits.json").write_text("{"), "splits.json is damaged")])
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
    splits = splits_file.read(finished / "splits.json")
    splits["outer"][0]["test"].append("P99")
    splits_file.write(finished / "splits.json", splits | {"patients": [*PATIENTS, "P99"]})
    stage = following(finished)
    assert stage.name == "splits" and "P99" in stage.about
    assert shlex.join(project_states.next_words(stage)) == "--outer 2 --inner 2 --seed 1 --overwrite"


def test_direct_models_are_not_asked_for_without_responses(finished):
    (finished / "clinical.csv").unlink()
    assert statuses(finished)["direct"] == "not needed"


@pytest.mark.parametrize("target, words", [
    ("CAFs", "--pooling mean --hidden 256 --max-epochs 150"), ("direct", "--hidden 256 --max-epochs 150")])
def test_further_models_are_trained_with_the_options_of_those_that_are_there(target, words):
    config = {"pooling": "mean", "hidden": 256, "max_epochs": 150}
    assert shlex.join(model_states.options_like(config, target)) == words


@pytest.mark.parametrize("script, options", [
    ("deconvolution/1main_deconvolution.py", label_states.DECONVOLUTION_OPTIONS),
    ("prediction/make_splits.py", label_states.SPLITS_OPTIONS)])
def test_defaults_that_are_left_out_of_commands_are_those_of_the_scripts(run_script, script, options):
    """Another default in a script would make another result where an option of before is left out as usual."""
    told = " ".join(run_script(script, "--help").stdout.split())
    for option, default in options.values():
        described = told.split(f" {option} ")[-1].split(" --")[0]
        assert default is None or f"default {default}" in described.replace("'", ""), option
