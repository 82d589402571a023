"""submit_slurm.py: what it plans, what it hands to Slurm, and how a chain of jobs ends when something goes wrong.

Most tests replace the stages by a quick program that makes their outputs, and some replace Slurm's commands by ones
that write down what they were asked; the slow ones start a real Slurm of one node.
"""
import csv
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

import submit_slurm
from slide_ex.project import targets_file
from slide_ex.slurm import requests
from test_script import is_alive

ROOT = Path(__file__).resolve().parents[1]
START_SLURM = ROOT.parent / "shared" / "slurm" / "start-slurm.sh"
CELL_TYPES = ["T-cells", "Cancer Epithelial"]

STAND_IN_STAGES = f"""#!{sys.executable}
'''In place of python: makes what a stage would make, small. A file faults/<Slide.ID or stage> says what goes wrong.'''
import itertools, json, os, signal, sys, time
from pathlib import Path

import numpy as np
import pandas as pd
from pypdf import PdfWriter

from slide_ex import checksums, record
from slide_ex.project import (expression_file, feature_file, features_file, features_writing, mask_file, metadata_file,
                              model_folder, predictions_file, splits_file, targets_file)
from slide_ex.stages import plan

script, project, words = Path(sys.argv[1]).stem, Path(sys.argv[2]), sys.argv[3:]
with open(project / "calls.txt", "a") as calls:
    calls.write(" ".join([script, *words]) + "\\n")
SETTINGS = dict(encoder="resnet50", weights="imagenet", weights_sha256="w", weights_seed=-1, precision="fp32",
                normalisation="macenko", tile_px=512, magnification=20, level0_tile_px=512, slide_magnification=20.0,
                level0_width=512, level0_height=512)


def make(name, text=""):
    path = project / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def stumble(name):
    '''Whether a fault lets this unit fail; some faults do not return.'''
    fault = project / "faults" / name
    kind = fault.read_text() if fault.exists() else ""
    if kind == "slow":
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        make(f"started-{{name}}")
        while fault.exists():
            time.sleep(0.05)
    if kind == "memory" and int(os.environ.get("SLURM_MEM_PER_NODE", 0)) < 200:
        print("slurmstepd: error: Detected 1 oom_kill event in StepId=1.batch", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "fail":
        print(f"error: {{name}} is broken", file=sys.stderr)
    return kind == "fail"


def need(*names):
    missing = [name for name in names if not (project / name).exists()]
    if missing:
        sys.exit("error: missing " + " ".join(missing))


def make_slide(row):
    slide = slides.loc[row]
    mask, features = plan.outputs(project, "slides", slide_id=slide.slide_id)
    make(mask.relative_to(project))
    features.parent.mkdir(exist_ok=True)
    feature_file.write(features, np.full((1, 2), row, np.float32), np.zeros((1, 2)), np.ones((1, 3)), np.zeros((0, 2)),
                       SETTINGS | dict(slide_id=slide.slide_id, patient_id=slide.patient_id, filename=slide.filename,
                                       slide_bytes=(project / "slides" / slide.filename).stat().st_size))


def readers():
    found = targets_file.readers(project)
    return {{name: found[name] for name in found if name != "direct"}}


slides = metadata_file.read(project)
if script == "1main_processing":
    failed = []
    for run in f"0-{{len(slides) - 1}}".split(",") if words[0] == "all" else words[0].split(","):
        first, _, last = run.partition("-")
        for row in range(int(first), int(last or first) + 1):
            if stumble(slides.slide_id[row]):
                failed.append(slides.slide_id[row])
            else:
                make_slide(row)
    sys.exit(f"error: {{len(failed)}} slides failed: {{failed}}" if failed else 0)
if stumble(script):
    sys.exit(1)
if script == "1main_deconvolution":
    outputs = plan.BY_NAME["deconvolution"].outputs
    for name in outputs:
        make(name)
    tables = ("bulk_expression", "signature")
    expression_file.write(project / outputs[-1], np.ones((1, 1, 1)), np.ones((1, 1)), ["T"], ["A"], ["P"], "native",
                          {{}}, {{name: checksums.of_file(project / f"{{name}}.tsv") for name in tables}})
if script == "prepare_targets":
    need("deconvolution/expression.h5")
    make("deconvolution/target_genes.csv")
    n = len(slides)
    labels = np.arange(2 * n, dtype=np.float32).reshape(n, 2)
    targets_file.write(project / "targets.h5", slides.patient_id, [
        (name, ["A", "B"], labels, [1, 1]) for name in ("T-cells", "Cancer Epithelial")] + [("B-cells", [], None, [])],
        pd.DataFrame(labels / labels.sum(1, keepdims=True), columns=["T-cells", "Cancer Epithelial"]),
        dict(deconvolution_method="native", deconvolution_sha256="-", parameters="{{}}", inputs="{{}}"))
if script == "collect_mask":
    pages = [project / "mask" / f"{{name}}.pdf" for name in slides.slide_id]
    with PdfWriter() as pdf:
        pdf.add_blank_page(10, 10)
        pdf.add_metadata({{mask_file.MADE_FROM: mask_file.sha256_of([page for page in pages if page.exists()])}})
        pdf.write(project / "mask.pdf")
if script == "collect_features":
    there = slides[[feature_file.path_of(project, name).exists() for name in slides.slide_id]]
    missing = sorted(set(slides.slide_id) - set(there.slide_id))
    if len(missing) > int(words[words.index("--allow-missing") + 1] if "--allow-missing" in words else 0):
        sys.exit(f"error: no features of {{missing}}")
    if (project / "features.h5").exists() and "--overwrite" not in words:
        sys.exit("error: features.h5 was made from other slides: use --overwrite")
    sources = [feature_file.read_summary(feature_file.path_of(project, name)) for name in there.slide_id]
    attributes = features_writing.shared_attributes(sources, there)
    if missing:
        attributes["missing_slide_ids"] = json.dumps(missing)
    features_writing.collect(project / "features.h5", there, sources, attributes)
    make("tile_counts.pdf")
if script == "make_splits":
    need("features.h5", "targets.h5")
    patients = features_file.read_index(project / "features.h5")[1].tolist()
    halves = [patients[:2], patients[2:]]
    outer = [dict(test=halves[k], inner=[dict(train=halves[1 - k][:1], valid=halves[1 - k][1:])] * 3) for k in (0, 1)]
    splits_file.write(project / "splits.json", dict(n_outer=2, n_inner=3, patients=patients, outer=outer))
if script in ("1main_cs_exp_regression", "1main_abundance_regression"):
    need("features.h5", "targets.h5", "splits.json")
    target = readers()["abundance" if "abundance" in script else words[2]]()
    kinds = model_folder.kinds(words[words.index("--model") + 1] if "--model" in words else "network")
    for outer in range(2) if words[0] == "all" else [int(words[0])]:
        for inner, kind in itertools.product(range(3) if words[1] == "all" else [int(words[1])], kinds):
            folder = model_folder.folder(model_folder.root(project / "results", kind), target.name, outer, inner)
            for name in model_folder.files(target.name, model=kind):
                make(folder.relative_to(project) / name)
            record.write(folder / "config.json", dict(
                {{}} if kind == "network" else dict(model=kind),
                target=target.name, outer=outer, inner=inner, targets_sha256=target.sha256,
                features_sha256=features_file.read_slides(project / "features.h5").sha256,
                splits_sha256=checksums.of_content(splits_file.read(project / "splits.json"))))
if script == "collect_results":
    need("results/T-cells_preds/result_1_2")
    digest = model_folder.sha256_now(project / "results", ["Cancer Epithelial", "T-cells"],
                                     splits_file.read(project / "splits.json"))
    for name in ("summary", "missing_slides"):
        make(f"results/{{name}}.csv")
    predictions_file.write(project / "results" / "predictions.h5", [],
                           dict(models_sha256=digest))
if script == "figures":
    need("results/predictions.h5")
    digest = checksums.of_file(project / "results" / "predictions.h5")
    make("figures/fig1.pdf")
    make("figures/fig1.png")
    make("figures/fig1.txt")
    record.write(project / "figures" / "figures.json", dict(fig1={{"results/predictions.h5": digest}}))
print("made", script)
"""


def executable(path, text):
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def project(tmp_path):
    return new_project(tmp_path)


@pytest.fixture(scope="module")
def finished_once(tmp_path_factory):
    folder = new_project(tmp_path_factory.mktemp("finished"))
    assert local(folder).returncode == 0
    return folder


@pytest.fixture
def finished(project, finished_once):
    """A project of which every stage is finished; what is called from now on is in calls.txt."""
    shutil.copytree(finished_once, project, dirs_exist_ok=True, ignore=shutil.ignore_patterns("logs", "calls.txt"))
    return project


def new_project(tmp_path):
    """A project of five slides, in a folder that needs quoting, and the program that stands in for its stages."""
    folder = tmp_path / "it's a \"project\"; $HOME"
    folder.mkdir()
    (folder / "faults").mkdir()
    (folder / "signature.tsv").write_text("gene\tT\nA\t90\n")
    write_metadata(folder, [f"S {n}" for n in range(5)])
    executable(tmp_path / "stand in", STAND_IN_STAGES)
    return folder


def write_metadata(folder, slide_ids):
    (folder / "slides").mkdir(exist_ok=True)
    with open(folder / "metadata.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["Slide.ID", "Filename", "Patient.ID", "Magnification"])
        for name in slide_ids:
            rows.writerow([name, f"{name}.svs", f"P {name}", 20])
            (folder / "slides" / f"{name}.svs").touch()
    (folder / "bulk_expression.tsv").write_text("\t".join(["gene", *(f"P {name}" for name in slide_ids)]) + "\nA"
                                                + "\t90" * len(slide_ids) + "\n")


def submit(project, *options, **environment):
    """Run submit_slurm.py with the stages replaced."""
    command = [sys.executable, ROOT / "submit_slurm.py", project, "--python", project.parent / "stand in", *options]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, env={**os.environ, **environment})


def local(project, *options):
    return submit(project, "--local", 2, "--folds-per-task", 6, *options)


def calls(project):
    path = project / "calls.txt"
    return path.read_text().splitlines() if path.exists() else []


def counts(project, **environment):
    """Stage to its numbers done, running, waiting, failed, missing, stale, from --status."""
    rows = [line.split() for line in submit(project, "--status", **environment).stdout.splitlines()[1:]]
    return {row[0]: list(map(int, row[1:])) for row in rows if len(row) == 7 and row[-1].isdigit()}


@pytest.fixture
def stand_in_slurm(tmp_path):
    """Slurm's commands that write down what they are asked; the queue is what the file queue.txt holds."""
    folder = tmp_path / "bin"
    folder.mkdir()
    executable(folder / "sbatch", f"""#!{sys.executable}
import json, re, sys
from pathlib import Path
asked = Path({str(tmp_path)!r}) / "asked.jsonl"
number = len(asked.read_text().splitlines()) + 1 if asked.exists() else 1
refuse = asked.parent / "refuse"
text, words = refuse.read_text() if refuse.exists() else "", " ".join(sys.argv[1:])
for line in text.splitlines():      # a pattern of the command line, and the complaint
    pattern, complaint = line.split("|")
    if re.search(pattern, words):
        sys.exit(f"sbatch: error: {{complaint}}")
print("*** Welcome to the cluster. Maintenance: 2026-12-24 ***")
if "--test-only" in sys.argv:
    sys.exit()
with open(asked, "a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
print(f"{{100 + number}};cluster")
""")
    executable(folder / "squeue", "#!/bin/bash\necho '*** Welcome ***'\n"
               "echo 'slide-ex|ARRAY_JOB_ID|ARRAY_TASK_ID|STATE|REASON|COMMAND'\n"
               f"sed 's/^/slide-ex|/' '{tmp_path}/queue.txt'\n")
    executable(folder / "scancel", f"#!/bin/bash\necho \"$@\" > '{tmp_path}/cancelled.txt'\n")
    executable(folder / "scontrol", "#!/bin/bash\necho 'MaxArraySize = 3'\n")
    (tmp_path / "queue.txt").write_text("")
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


def asked(tmp_path):
    """Step to the options that sbatch was given, with the script as the option `script`."""
    found = {}
    for line in (tmp_path / "asked.jsonl").read_text().splitlines():
        *options, script = json.loads(line)
        found[Path(script).stem] = {name: value for name, _, value in (option.partition("=") for option in options)} | {
            "script": script}
    return found


def test_a_project_from_nothing_to_results_here_and_nothing_is_left_to_do(project):
    done = local(project)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(calls(project)) == len(set(calls(project))) == 11, "seven stages of one command, slides, three targets"
    assert counts(project)["expression"] == [12, 0, 0, 0, 0, 0]
    again = local(project)
    assert again.returncode == 0 and "finished" in again.stdout
    assert len(calls(project)) == 11


def test_options_of_a_finished_stage_that_change_nothing_are_told(project):
    given = ["--stage-args", "slides:--weights 'my file'", "--stage-args", "targets:--bulk"]
    assert local(project, *given).returncode == 0
    assert "changes nothing" not in local(project, *given).stdout
    done = local(project, "--stage-args", "slides:--drop blurred", *given[2:])
    assert "slides: done, no job made it with --drop blurred, which changes nothing now: see what" in done.stdout
    assert "targets: done" not in done.stdout and "finished" in done.stdout
    (project / "features" / "S 3.h5").unlink()
    assert "changes nothing" not in local(project, "--stage-args", "slides:--drop blurred").stdout


def test_kinds_of_models_that_are_asked_for_before_there_are_any(project):
    assert local(project, "--model", "both").returncode == 0
    trained = [call for call in calls(project) if call.startswith("1main_") and " all " in call and "_regr" in call]
    assert len(trained) == 3 and all("--model both" in call for call in trained)
    assert counts(project)["expression"] == [12, 0, 0, 0, 0, 0], "a unit is a fold, of both kinds"
    assert "finished" in local(project).stdout
    shutil.rmtree(project / "results" / "low_rank" / "T-cells_preds" / "result_1_2")
    assert "1 2 T-cells --model both" in submit(project, "--commands", "expression").stdout
    shutil.rmtree(project / "results" / "low_rank")
    assert submit(project, "--commands", "expression").stdout == ""
    lines = submit(project, "--commands", "abundance", "--model", "low-rank").stdout.splitlines()
    assert lines and all("--model both" in line for line in lines), "beside the networks that are there"


def test_task_lists_show_index_command_and_units_and_logs_end_with_the_exit_code(project):
    local(project, "--slides-per-task", 2, "--folds-per-task", 3)
    first, second = sorted((project / "logs" / "slurm").glob("2*"))
    rows = [line.split("\t") for line in (first / "slides.tsv").read_text().splitlines()]
    assert [row[0] for row in rows] == ["0", "1", "2"]
    assert [row[2] for row in rows] == ["'S 0' 'S 1'", "'S 2' 'S 3'", "'S 4'"]
    assert rows[1][1].endswith(" 2-3")
    log = (first / "slides_1.log").read_text()
    assert f"$ {rows[1][1]}\nmade" not in log and rows[1][1] in log
    assert re.search(r"^exit 0 after [\d.]+ s$", log.splitlines()[-1])
    targets = [line.split("\t")[1] for line in (second / "expression.tsv").read_text().splitlines()]
    assert sum("'Cancer Epithelial'" in command for command in targets) == 2, "an outer fold each"
    assert not any("B-cells" in command for command in targets), "no gene of theirs is left"


def test_models_that_are_not_known_before_something_is_fixed_are_left_out(finished):
    (finished / "clinical.csv").write_text("Patient.ID,Response\nP S 0,pCR\nP S 1,RD\nP S 2,perhaps\n")
    done = local(finished)
    assert done.returncode == 1 and not done.stderr and not calls(finished)
    assert "direct: not known before it is fixed, see below\n" in done.stdout
    assert "to be fixed: direct: clinical.csv, column Response: perhaps is not pCR, RD or empty" in done.stdout
    assert "direct: clinical.csv, column Response: perhaps" in submit(finished, "--commands", "direct").stderr


def test_only_what_lacks_is_done(finished):
    (finished / "features" / "S 3.h5").unlink()
    shutil.rmtree(finished / "results" / "cell_fraction_preds" / "result_1_2")
    assert local(finished).returncode == 0
    assert calls(finished) == ["1main_processing 3", "collect_mask", "collect_features --overwrite",
                              "1main_abundance_regression 1 2 --processes 1", "collect_results", "figures"], \
        "the slide gave the same features, so that the other models are not stale"


def test_what_was_made_from_something_else_is_made_again_with_overwrite(finished):
    """As check_project.py sees it: by content, whatever the times of the files are."""
    (finished / "slides" / "S 1.svs").write_text("another scan")
    assert counts(finished)["slides"] == [4, 0, 0, 0, 0, 1]
    assert local(finished).returncode == 0
    assert calls(finished) == ["1main_processing 1 --overwrite", "collect_mask", "collect_features --overwrite"], \
        "the slide gave the same features, so that the models are not stale"


def test_models_of_other_labels_are_trained_again(finished):
    with h5py.File(finished / "targets.h5", "r+") as file:
        file["expression/T-cells/labels"][0, 0] = 99
    assert counts(finished)["expression"] == [6, 0, 0, 0, 0, 6]
    assert local(finished).returncode == 0
    assert calls(finished) == ["1main_cs_exp_regression all all T-cells --overwrite --processes 1", "collect_results",
                              "figures"]
    assert counts(finished)["expression"] == [12, 0, 0, 0, 0, 0]


def test_one_bad_slide_stops_before_the_models_and_says_which(project):
    (project / "faults" / "S 2").write_text("fail")
    done = local(project)
    assert done.returncode == 1
    assert "error: 1 slides failed: ['S 2']" in done.stdout and "slides_0.log" in done.stdout
    assert "error: no features of ['S 2']" in done.stdout
    assert counts(project)["slides"] == [4, 0, 0, 1, 0, 0]
    assert not (project / "results").exists()
    (project / "faults" / "S 2").unlink()
    assert local(project).returncode == 0
    assert calls(project).count("1main_processing 2") == 1, "only the bad slide is done again"


def test_allowed_missing_slides_let_the_rest_go_on(project):
    (project / "faults" / "S 2").write_text("fail")
    done = local(project, "--allow-missing", 1)
    assert (project / "figures" / "figures.json").exists()
    assert done.returncode == 0 and counts(project)["slides"] == [4, 0, 0, 1, 0, 0], "the slide is still named"


def test_labels_from_elsewhere_need_no_deconvolution(project):
    patients = [f"P S {n}" for n in range(5)]
    labels = np.arange(10, dtype=np.float32).reshape(5, 2)
    targets_file.write(project / "targets.h5", patients, [("T-cells", ["A", "B"], labels, [1, 1])],
                       pd.DataFrame(labels / labels.sum(1, keepdims=True), columns=["T-cells", "B-cells"]),
                       {"deconvolution_method": "tables of another tool"})
    assert local(project).returncode == 0
    assert not {"1main_deconvolution", "prepare_targets"} & set(calls(project))


def test_sigterm_here_ends_what_runs_and_a_second_run_goes_on(project):
    (project / "faults" / "S 1").write_text("slow")
    command = [sys.executable, ROOT / "submit_slurm.py", project, "--python", project.parent / "stand in", "--local", 2]
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not (project / "started-S 1").exists():
        time.sleep(0.05)
    assert "another submit_slurm.py is at work" in local(project).stderr
    process.terminate()
    assert "stopped: run the same command again" in process.communicate(timeout=30)[1] and process.returncode == 1
    (project / "faults" / "S 1").unlink()
    assert local(project).returncode == 0
    assert calls(project).count("1main_processing 1-4") == 1


def test_a_failed_step_that_others_need_stops_them(project):
    (project / "faults" / "1main_deconvolution").write_text("fail")
    done = local(project)
    assert done.returncode == 1 and "1main_deconvolution is broken" in done.stdout
    assert not (project / "splits.json").exists() and (project / "features.h5").exists()


def test_commands_for_other_schedulers(project):
    done = submit(project, "--commands", "slides", "--slides-per-task", 3, "--stage-args", "slides:--weights 'my file'")
    assert len(done.stdout.splitlines()) == 2
    for line in done.stdout.splitlines():
        assert line.endswith(" --weights 'my file'")
        subprocess.run(["bash", "-c", line], check=True)
    assert calls(project) == ["1main_processing 0-2 --weights my file", "1main_processing 3-4 --weights my file"]
    assert submit(project, "--commands", "slides").stdout == ""
    assert "not known before" in submit(project, "--commands", "expression").stderr


@pytest.mark.parametrize("size, named", [(6, ["all all"]), (3, ["0 all", "1 all"]), (5, ["0 all", "1 0", "1 1", "1 2"]),
                                         (1, ["0 0", "0 1", "0 2", "1 0", "1 1", "1 2"])])
def test_folds_are_named_as_short_as_can_be(finished, size, named):
    shutil.rmtree(finished / "results")
    lines = submit(finished, "--commands", "expression", "--folds-per-task", size).stdout.splitlines()
    assert re.findall(r"(\w+ \w+) T-cells", "\n".join(lines)) == named


def test_models_are_trained_in_as_many_processes_as_their_stage_has_cpus(finished):
    shutil.rmtree(finished / "results")

    def processes(stage, *options):
        return set(re.findall("--processes (.*)", submit(finished, "--commands", stage, *options).stdout))
    given = ["--cpus-per-task", "2", "--cpus-per-task", "abundance:8"]
    assert processes("expression", *given) == {"2"} and processes("abundance", *given) == {"8"}
    assert processes("abundance", "--cpus-per-task", "expression:8") == {"4"}


def test_what_slurm_is_asked_for(project, tmp_path, stand_in_slurm):
    done = submit(project, "--partition", "norm", "--partition", "slides:gpu", "--gres", "gpu:a100:1",
                  "--account", "lab", "--mem", "slides:64G", "--constraint", "targets:x 'y'",
                  "--sbatch-args", "--comment='a b'",
                  "--sbatch-args", "slides:--nice=1", "--sbatch-args", "slides:--exclusive",
                  "--setup", "module load cuda; echo \"it's\"", "--slides-per-task", 2, "--max-running", 7,
                  **stand_in_slurm)
    assert done.returncode == 0, done.stderr
    jobs = asked(tmp_path)
    assert list(jobs) == ["deconvolution", "targets", "slides", "masks", "features", "splits", "continue"]
    slides = jobs["slides"]
    assert slides["--partition"] == "gpu" and jobs["targets"]["--partition"] == "norm"
    assert slides["--gres"] == "gpu:a100:1" and "--gres" not in jobs["targets"]
    assert slides["--mem"] == "64G" and slides["--time"] == "0:30:00" and slides["--array"] == "0-2%7"
    assert slides["--account"] == "lab" and slides["--comment"] == "a b"
    assert slides["--nice"] == "1" and "--exclusive" in slides and "--nice" not in jobs["targets"]
    assert jobs["targets"]["--constraint"] == "x 'y'" and "--constraint" not in slides
    assert slides["--job-name"] == f"slides {project.name}"
    assert "--dependency" not in slides
    assert jobs["targets"]["--dependency"] == "afterany:101"
    assert jobs["features"]["--dependency"] == "afterany:103"
    assert jobs["splits"]["--dependency"] == "afterany:101:102:103:105"
    assert jobs["continue"]["--dependency"] == "afterany:101:102:103:104:105:106"
    script = Path(slides["script"]).read_text()
    assert "\nmodule load cuda; echo \"it's\"\n" in script
    subprocess.run(["bash", "-n", slides["script"]], check=True)
    environment = {**os.environ, "SLURM_ARRAY_TASK_ID": "1", "SLURM_ARRAY_JOB_ID": "103", "SLURM_CPUS_PER_TASK": "1"}
    assert subprocess.run(["bash", slides["script"]], env=environment, capture_output=True).returncode == 0
    assert calls(project) == ["1main_processing 2-3"]


def test_models_wait_while_a_slide_is_made_again(finished, tmp_path, stand_in_slurm):
    (finished / "features" / "S 3.h5").unlink()
    shutil.rmtree(finished / "results" / "cell_fraction_preds" / "result_1_2")
    submit(finished, **stand_in_slurm)
    assert list(asked(tmp_path)) == ["slides", "masks", "features", "continue"], "folds are drawn once"
    assert "--overwrite" in Path(asked(tmp_path)["features"]["script"]).with_suffix(".tsv").read_text()
    (finished / "faults" / "S 3").write_text("fail")
    assert local(finished).returncode == 1, "features.h5 of an earlier run is there, but it is not what was asked for"
    assert not (finished / "results" / "cell_fraction_preds" / "result_1_2").exists()


def test_arrays_are_cut_at_max_array_size_and_wait_for_each_other_when_limited(project, tmp_path, stand_in_slurm):
    submit(project, "--slides-per-task", 1, "--max-running", 2, **stand_in_slurm)
    jobs = asked(tmp_path)
    assert jobs["slides-1"]["--array"] == "0-2%2" and jobs["slides-2"]["--array"] == "0-1%2"
    assert jobs["slides-2"]["--dependency"] == "afterany:103"
    assert jobs["features"]["--dependency"] == "afterany:103:104"


def test_jobs_in_the_queue_are_named_and_not_submitted_twice(project, tmp_path, stand_in_slurm):
    submit(project, "--slides-per-task", 1, **stand_in_slurm)
    jobs = asked(tmp_path)
    number = {step: 901 + i for i, step in enumerate(jobs)}

    def queue(*tasks):
        (tmp_path / "queue.txt").write_text("77|0|RUNNING|None|/elsewhere/logs/slurm/2/slides.sh\n" + "".join(
            f"{number[step]}|{index}|PENDING|Priority|{jobs[step]['script']}\n" for step, index in tasks))

    queue(("slides-1", 0), ("continue", 0))
    again = submit(project, **stand_in_slurm)
    assert again.returncode == 0 and "nothing to submit" in again.stdout
    assert "in the queue: slides, job 903: 1 PENDING (Priority)" in again.stdout
    assert asked(tmp_path) == jobs
    assert counts(project, **stand_in_slurm)["slides"] == [0, 0, 1, 4, 0, 0]

    queue(("slides-1", 0), ("targets", 0), ("features", 0))  # the submission was cut off
    (tmp_path / "asked.jsonl").unlink()
    submit(project, **stand_in_slurm)
    rest = asked(tmp_path)
    assert list(rest) == ["deconvolution", "targets", "slides", "masks", "features", "splits", "continue"]
    units = Path(rest["slides"]["script"]).with_suffix(".tsv").read_text()
    assert "1-4" in units and "'S 0'" not in units
    assert rest["features"]["--dependency"] == "afterany:903:103:906"


@pytest.mark.parametrize("can_cancel", [True, False])
def test_a_submission_that_breaks_off(project, tmp_path, stand_in_slurm, can_cancel):
    """What was submitted is cancelled; where that is not possible either, the next submission recognises it."""
    (tmp_path / "refuse").write_text("^(?!--test-only).*/slides.sh|Unable to contact slurm controller\n")
    if not can_cancel:
        executable(tmp_path / "bin" / "scancel", "#!/bin/bash\nexit 1\n")
    broken = submit(project, **stand_in_slurm)
    assert broken.returncode == 1 and broken.stderr.endswith("run the same command again: it recognises what is in the "
                                                             "queue\n")
    assert ("cancelled again: 101, 102" if can_cancel else "in the queue: 101, 102") in broken.stderr
    first = asked(tmp_path)
    assert list(first) == ["deconvolution", "targets"]
    if can_cancel:
        assert (tmp_path / "cancelled.txt").read_text() == "101 102\n"
        return
    (tmp_path / "refuse").unlink()
    (tmp_path / "queue.txt").write_text("".join(f"{n}|0|PENDING|None|{job['script']}\n" for n, job in
                                                zip((101, 102), first.values())))
    done = submit(project, **stand_in_slurm)
    assert "in the queue: targets, job 102" in done.stdout
    lines = [json.loads(line) for line in (tmp_path / "asked.jsonl").read_text().splitlines()]
    assert [Path(line[-1]).stem for line in lines] == ["deconvolution", "targets", "slides", "masks", "features",
                                                       "splits", "continue"]
    assert "--dependency=afterany:101:102:103:105" in lines[5]


@pytest.mark.parametrize("complaint, remedy", [
    ("Invalid generic resource (gres) specification", "--gres none where there are no GPUs"),
    ("invalid partition specified: gpu", "--partition"),
    ("Batch job submission failed: Requested node configuration is not available", "--mem, --cpus-per-task, --gres"),
    ("Memory specification can not be satisfied", "--mem none or --mem-per-cpu"),
    ("Please do not use --mem on this cluster", "--mem none or --mem-per-cpu"),
    ("Invalid account or account/partition combination specified", "--account"),
    ("QOSMaxSubmitJobPerUserLimit", "--max-submitted N"),
    ("Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)", "--max-submitted N"),
    ("Requested time limit is invalid (missing or exceeds some limit)", "--time"),
    ("Invalid qos specification", "--qos=NAME"),
    ("invalid partition specified: gpu; please contact support", "--partition"),
    ("Job rejected: no account given, try again with your project's", "--account"),
    ("the moon is full", "submit_slurm.py (--help)")])
def test_what_helps_against_a_refusal_that_lasts(complaint, remedy):
    advice = requests.advice(f"sbatch failed: {complaint}")
    assert advice.startswith("it will be refused again until you change ") and remedy in advice


@pytest.mark.parametrize("complaint", ["Unable to contact slurm controller (connect failure)", "Connection refused",
                                       "Batch job submission failed: Socket timed out on send/recv operation",
                                       "Slurm temporarily unable to accept job, sleeping and retrying"])
def test_what_helps_against_a_refusal_that_passes(complaint):
    assert requests.advice(f"sbatch failed: {complaint}").startswith("run the same command again")


def test_what_slurm_will_never_take_is_refused_before_anything_is_submitted(project, tmp_path, stand_in_slurm):
    (tmp_path / "refuse").write_text("/features.sh|Requested node configuration is not available\n")
    done = submit(project, **stand_in_slurm)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: features: sbatch failed: sbatch: error: Requested node configuration is not "
                                  "available; nothing was submitted; it will be refused again until you change --mem")
    assert not (tmp_path / "asked.jsonl").exists() and not list((project / "logs" / "slurm").glob("2*"))


def test_no_more_than_may_be_submitted_and_the_chain_submits_the_rest(project, tmp_path, stand_in_slurm):
    (tmp_path / "queue.txt").write_text("7|N/A|RUNNING|None|/elsewhere/other.sh\n")
    limit = ["--max-submitted", 6, "--slides-per-task", 1]
    submit(project, *limit, **stand_in_slurm)
    jobs = asked(tmp_path)
    assert {step: job["--array"] for step, job in jobs.items()} == {
        "deconvolution": "0-0", "targets": "0-0", "slides": "0-1", "continue": "0-0"}
    assert jobs["continue"]["--dependency"] == "afterany:101:102:103"
    folder = Path(jobs["slides"]["script"]).parent
    for step, index in (("deconvolution", 0), ("targets", 0), ("slides", 0), ("slides", 1)):
        words = (folder / f"{step}.tsv").read_text().splitlines()[index].split("\t")[1]
        subprocess.run(["bash", "-c", words], check=True)
        (folder / f"{step}_{index}.log").write_text("# 2026 node, job\n$ c\nexit 0 after 2 s\n")
    (tmp_path / "asked.jsonl").unlink()
    submit(project, *limit, "--continue", folder.name, **stand_in_slurm)
    assert {step: job["--array"] for step, job in asked(tmp_path).items()} == {
        "slides": "0-2", "masks": "0-0", "continue": "0-0"}
    (tmp_path / "queue.txt").write_text("".join(f"7|{n}|RUNNING|None|/elsewhere/other.sh\n" for n in range(5)))
    full = submit(project, *limit, **stand_in_slurm)
    assert full.returncode == 1 and "5 jobs of yours are in the queue" in full.stderr


@pytest.mark.parametrize("given, first, again", [
    (["--mem", "slides:100M"], ["--mem=100M"], ["--mem=200M"]),
    (["--mem", "slides:16g"], ["--mem=16g"], ["--mem=32g"]),
    (["--mem", "2000"], ["--mem=2000"], ["--mem=4000"]),
    (["--mem", "slides:4GB"], ["--mem=4GB"], ["--mem=8GB"]),
    (["--mem-per-cpu", "2G"], ["--mem-per-cpu=2G"], ["--mem-per-cpu=4G"]),
    (["--mem", "8G", "--mem-per-cpu", "slides:2G"], ["--mem-per-cpu=2G"], ["--mem-per-cpu=4G"]),
    (["--sbatch-args", "slides:--mem 8G"], ["--mem", "8G"], ["--mem", "16G"]),
    (["--sbatch-args", "slides:--mem-per-gpu=8G"], ["--mem-per-gpu=8G"], ["--mem-per-gpu=16G"]),
    ([], ["--mem=32G"], ["--mem=64G"]),
    (["--mem", "none"], [], None),
    (["--mem", "slides:0"], ["--mem=0"], None)])
def test_memory_in_all_its_spellings_and_what_a_retry_asks_for(project, monkeypatch, given, first, again):
    """None: a retry would get no more, so there is none."""
    monkeypatch.setattr(sys, "argv", ["submit_slurm.py", str(project), *given])
    slides = submit_slurm.requests_of(submit_slurm.arguments())["slides"]

    def asked_memory(**options):
        words = slides.words(1, **options)
        return [word for word, before in zip(words, ["", *words])
                if word.startswith("--mem") or before in requests.MEMORY_OPTIONS]
    assert asked_memory() == first
    assert slides.can_have_more() == (again is not None)
    assert again is None or asked_memory(is_retry=True) == again


@pytest.mark.parametrize("given, complaint", [
    (["--mem", "1.5G"], "--mem 1.5G: give a whole number"), (["--mem", "slides:lots"], "--mem slides:lots: give"),
    (["--mem-per-cpu", "2P"], "--mem-per-cpu 2P"), (["--mem", "2G", "--mem-per-cpu", "2G"], "are both given"),
    (["--mem", "slides:2G", "--mem-per-cpu", "slides:2G"], "both given for slides"),
    (["--cpus-per-task", "none"], "--cpus-per-task none: give a whole number from 1 up"),
    (["--cpus-per-task", "direct:0"], "--cpus-per-task direct:0: give"),
    (["--cpus-per-task", "nonsense:8"], "--cpus-per-task nonsense:8: give")])
def test_memory_and_cpus_that_cannot_be_asked_for(project, given, complaint):
    done = submit(project, "--dry-run", *given)
    assert done.returncode == 1 and complaint in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("reply, complaint", [
    ("echo 'slurm_load_jobs error' >&2\nexit 1", "squeue failed: slurm_load_jobs error"),
    ("echo 'The queue is closed for maintenance'", "squeue answered otherwise than it was asked: The queue is closed"),
    ("", "squeue answered otherwise than it was asked: nothing"),
    ("echo 'slide-ex|A|B|C|D|COMMAND'\necho 'slide-ex|12|0|PEND'", "squeue answered otherwise")])
def test_no_answer_from_the_queue_means_no_submission(project, tmp_path, stand_in_slurm, reply, complaint):
    executable(tmp_path / "bin" / "squeue", f"#!/bin/bash\n{reply}\n")
    done = submit(project, **stand_in_slurm)
    assert done.returncode == 1 and done.stderr.startswith(f"error: {complaint}") and done.stderr.count("\n") == 1
    assert not (tmp_path / "asked.jsonl").exists()
    dry = submit(project, "--dry-run", **stand_in_slurm)
    assert dry.returncode == 0 and dry.stdout.startswith(f"what runs and waits is not known: {complaint}")
    assert "1main_processing.py" in dry.stdout


def test_what_was_killed_for_memory_is_tried_once_more_with_twice_as_much(project, tmp_path, stand_in_slurm):
    submit(project, "--slides-per-task", 1, "--mem", "slides:100M", **stand_in_slurm)
    folder = Path(asked(tmp_path)["features"]["script"]).parent
    for index, end in enumerate(["exit 137 after 2 s\nslurmstepd: error: Detected 1 oom_kill event in StepId=5.batch\n",
                                 "error: broken\nexit 1 after 2 s\n"]):
        (folder / f"slides-1_{index}.log").write_text(f"# 2026-11-22 10:00:00 node, job 103_{index}\n$ command\n{end}")
    for command in ("slide_processing/1main_processing.py 2-4", "deconvolution/1main_deconvolution.py",
                    "deconvolution/prepare_targets.py"):
        script, *words = command.split()
        subprocess.run([project.parent / "stand in", script, project, *words], check=True)
    for step in ("deconvolution", "targets"):
        (folder / f"{step}_0.log").write_text("# 2026 node, job\n$ command\nexit 0 after 2 s\n")
    (tmp_path / "asked.jsonl").unlink()
    going_on = ["--mem", "slides:100M", "--continue", folder.name]
    submit(project, *going_on, **stand_in_slurm)
    jobs = asked(tmp_path)
    assert list(jobs) == ["slides-retry", "masks", "features", "splits", "continue"]
    assert jobs["slides-retry"]["--mem"] == "200M" and jobs["slides-retry"]["--array"] == "0-0"
    retry = Path(jobs["slides-retry"]["script"])
    assert retry.with_suffix(".tsv").read_text().endswith("'S 0'\n")
    assert retry.with_name("continue.tsv").read_text().split("\t")[1].endswith(f"--continue {folder.name}")
    retry.with_name("slides-retry_0.log").write_text("# 2026 node, job\n$ c\nslurmstepd: error: oom_kill\n")
    (tmp_path / "asked.jsonl").unlink()
    done = submit(project, *going_on, **stand_in_slurm)
    assert not (tmp_path / "asked.jsonl").exists() and done.returncode == 1 and "stopped: fix" in done.stdout


def test_a_retry_that_no_node_can_hold_is_a_failure_with_its_reason(project, tmp_path, stand_in_slurm):
    options = ["--mem", "slides:100M", "--slides-per-task", 1]
    submit(project, *options, **stand_in_slurm)
    folder = Path(asked(tmp_path)["slides-1"]["script"]).parent
    for task in ("1_0", "1_1", "1_2", "2_0", "2_1"):
        (folder / f"slides-{task}.log").write_text("# 2026 node, job\n$ c\nexit 137 after 2 s\nerror: oom_kill event\n")
    inner = (tmp_path / "bin" / "sbatch").rename(tmp_path / "bin" / "sbatch.inner")
    executable(tmp_path / "bin" / "sbatch", "#!/bin/bash\n[[ \"$*\" == *--mem=200M* ]] && "
               "{ echo 'sbatch: error: Memory specification can not be satisfied' >&2; exit 1; }\n"
               f"'{inner}' \"$@\"\n")
    (tmp_path / "asked.jsonl").unlink()
    submit(project, *options, "--continue", folder.name, **stand_in_slurm)
    assert not any("retry" in name for name in asked(tmp_path))
    told = submit(project, "--status", **stand_in_slurm).stdout.splitlines()
    lines = [line for line in told if "failed: slides" in line]
    assert len(lines) == 5 and all("killed for memory, and twice as much is refused" in line
                                   and "Memory specification can not be satisfied" in line for line in lines), lines


def test_status_asks_accounting_where_a_log_has_no_end(project, tmp_path, stand_in_slurm):
    submit(project, "--slides-per-task", 2, **stand_in_slurm)
    executable(tmp_path / "bin" / "sacct", "#!/bin/bash\necho '103_0|OUT_OF_MEMORY'\necho '103_1|CANCELLED by 0'\n")
    folder = Path(asked(tmp_path)["slides"]["script"]).parent
    (folder / "slides_0.log").write_text("# 2026 node, job 103_0\n$ command\nslide 0 S 0: 20 tiles\n")
    lines = submit(project, "--status", **stand_in_slurm).stdout.splitlines()
    assert f"failed: slides S 0, S 1: OUT_OF_MEMORY: slide 0 S 0: 20 tiles ({folder / 'slides_0.log'})" in lines
    assert any("failed: slides S 2, S 3: CANCELLED: did not start" in line for line in lines)


def test_a_dry_run_of_5000_tasks_writes_nothing(project, stand_in_slurm):
    write_metadata(project, [f"S{n}" for n in range(5000)])
    done = submit(project, "--dry-run", "--slides-per-task", 1, "--max-running", 50, **stand_in_slurm)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("1main_processing.py") == 5000 and done.stdout.count("--job-name='slides") == 0
    assert done.stdout.count("sbatch --parsable") == 1667 + 6
    assert not (project / "logs").exists()


def test_banners_of_a_centre_are_no_job_ids(project, tmp_path, stand_in_slurm):
    """Some centres greet on stdout: the id is found beside it, in the queue too; a reply without one is shown."""
    for name in ("sbatch", "squeue"):
        inner = (tmp_path / "bin" / name).rename(tmp_path / "bin" / f"{name}.inner")
        executable(tmp_path / "bin" / name, "#!/bin/bash\necho 'Welcome | to 2 clusters; support: 555'\n"
                                            f"'{inner}' \"$@\"\n")
    done = submit(project, **stand_in_slurm)
    assert done.returncode == 0, done.stderr
    assert asked(tmp_path)["targets"]["--dependency"] == "afterany:101"
    executable(tmp_path / "bin" / "sbatch", "#!/bin/bash\necho 'Your job was queued, see our portal'\n")
    done = submit(project, **stand_in_slurm)
    assert done.returncode == 1 and "answered without a job id: Your job was queued, see our portal" in done.stderr


@pytest.mark.parametrize("options, message", [
    (["--stage-args", "--weights random"], "say of which stage"),
    (["--slides-per-task", "0"], "give a number from 1 up"),
    (["--commands", "nonsense"], "invalid choice"),
])
def test_wrong_options_are_refused(project, options, message):
    done = submit(project, *options)
    assert done.returncode and message in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("table, message", [
    (None, "metadata.csv is missing"), ("Slide,Filename\na,b\n", "has no column Slide.ID (Slide?)"),
    ("Slide.ID,Filename,Patient.ID\na,b,p\na,c,p\n", "must be unique"), ("Slide.ID,Filename\n", "lists no slides")])
def test_a_wrong_table_of_slides_is_one_line(project, table, message):
    (project / "metadata.csv").unlink()
    if table:
        (project / "metadata.csv").write_text(table)
    done = local(project)
    assert done.returncode == 1 and message in done.stderr and done.stderr.count("\n") == 1


def test_paths_that_slurm_would_change_are_refused(tmp_path, stand_in_slurm):
    folder = tmp_path / "50%a"
    folder.mkdir()
    done = submit(folder, **stand_in_slurm)
    assert done.returncode == 1 and "rename it without %" in done.stderr


def test_help_explains():
    done = subprocess.run([sys.executable, ROOT / "submit_slurm.py", "--help"], capture_output=True, text=True)
    assert "python submit_slurm.py my_project" in done.stdout


# ---- a real Slurm of one node ------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def slurm():
    """The environment of a running Slurm of four CPUs; afterwards no daemon and no job is left."""
    if not START_SLURM.is_file():
        pytest.skip("no ../shared/slurm/start-slurm.sh beside the project: a real Slurm cannot be started")
    if os.geteuid():
        pytest.skip("starting a Slurm needs root")
    folder = Path(tempfile.mkdtemp(prefix="slurm-test-"))  # pytest's own folders are too private for munge
    folder.chmod(0o755)
    try:
        started = subprocess.run(["bash", START_SLURM, folder / "run"], capture_output=True, text=True,
                                 env={**os.environ, "SLURM_FAKE_CPUS": "4"})
        assert started.returncode == 0, started.stderr
        yield {"SLURM_CONF": str(folder / "run" / "slurm.conf"), "OMP_NUM_THREADS": "1"}
    finally:
        daemons = [int(path.read_text()) for path in (folder / "run").rglob("*pid")]
        subprocess.run(["bash", folder / "run" / "stop"], capture_output=True)
        assert not [pid for pid in daemons if is_alive(pid)]
        shutil.rmtree(folder)


@pytest.fixture
def on_slurm(project, slurm):
    """Submit with small resources to the real Slurm; jobs that a failed test leaves are cancelled."""
    small = ["--gres", "none", "--cpus-per-task", "1", "--mem", "100M", "--folds-per-task", "6"]
    yield lambda *options, **environment: submit(project, *small, *options, **slurm, **environment)
    subprocess.run(["scancel", "--user=root"], env={**os.environ, **slurm})
    wait(slurm)


def tell(slurm, *command):
    """What a Slurm command prints."""
    return subprocess.run(command, env={**os.environ, **slurm}, check=True, capture_output=True, text=True).stdout


def wait(slurm, seconds=240, until=None):
    """Wait until no job is left, or until a file is there."""
    end = time.monotonic() + seconds
    while not until.exists() if until else tell(slurm, "squeue", "-h"):
        assert time.monotonic() < end, tell(slurm, "squeue", "-r") + tell(slurm, "sinfo")
        time.sleep(0.2)


def log_of(project, name):
    """The newest log of a task."""
    return sorted((project / "logs" / "slurm").glob(f"2*/{name}.log"))[-1].read_text()


def assert_each_unit_was_made_once(project):
    made = calls(project)
    assert len(made) == len(set(made))


@pytest.mark.slow
def test_slurm_second_submission_while_the_first_runs(project, slurm, on_slurm):
    (project / "faults" / "S 0").write_text("slow")
    first = on_slurm("--slides-per-task", 2)
    assert first.returncode == 0 and first.stdout.count("submitted: ") == 7, first.stderr
    wait(slurm, until=project / "started-S 0")
    second = on_slurm()
    assert "submitted: " not in second.stdout and "in the queue: slides, job" in second.stdout
    assert counts(project, **slurm)["slides"][1] == 2
    (project / "faults" / "S 0").unlink()
    wait(slurm)
    assert_each_unit_was_made_once(project)
    assert log_of(project, "continue_0").rstrip().splitlines()[-2] == "finished"
    assert on_slurm().stdout.splitlines()[-1] == "finished"


@pytest.mark.slow
def test_slurm_bad_slide_leaves_no_job_waiting(project, slurm, on_slurm):
    (project / "faults" / "S 2").write_text("fail")
    on_slurm("--slides-per-task", 1)
    wait(slurm)
    assert "error: no features of ['S 2']" in log_of(project, "features_0")
    assert "S 2 is broken" in log_of(project, "slides_2") and not (project / "results").exists()
    assert log_of(project, "continue_0").count("failed: slides S 2: exit 1") == 1
    on_slurm("--allow-missing", 1)
    wait(slurm)
    assert (project / "figures" / "figures.json").exists() and calls(project).count("1main_processing 2") == 2


@pytest.mark.slow
def test_slurm_refuses_what_no_node_has_and_takes_no_more_than_is_allowed(project, slurm, on_slurm):
    refused = on_slurm("--gres", "slides:gpu:9")
    assert refused.returncode == 1 and "nothing was submitted" in refused.stderr and "--gres none" in refused.stderr
    assert tell(slurm, "squeue", "-h") == "" and not calls(project)
    on_slurm("--max-submitted", 5, "--slides-per-task", 1)
    while tell(slurm, "squeue", "-h"):
        assert len(tell(slurm, "squeue", "-h", "-r").splitlines()) <= 5
        time.sleep(0.2)
    assert counts(project)["figures"] == [1, 0, 0, 0, 0, 0]
    assert_each_unit_was_made_once(project)


@pytest.mark.slow
def test_slurm_task_stopped_in_the_middle_and_requeued(project, slurm, on_slurm):
    (project / "faults" / "S 1").write_text("slow")
    job = re.search(r"slides, job (\d+)", on_slurm("--slides-per-task", 5).stdout)[1]
    wait(slurm, until=project / "started-S 1")
    tell(slurm, "scontrol", "requeue", f"{job}_0")
    while "exit 143" not in log_of(project, "slides_0"):
        time.sleep(0.1)
    (project / "faults" / "S 1").unlink()
    wait(slurm)
    log = log_of(project, "slides_0")
    assert log.count("$ ") == 2 and log.count("\nexit 0 after ") == 1, "both tries are in the log"
    assert counts(project)["figures"] == [1, 0, 0, 0, 0, 0] and calls(project).count("figures") == 1


@pytest.mark.slow
def test_slurm_time_limit(project, slurm, on_slurm):
    (project / "faults" / "S 3").write_text("slow")
    on_slurm("--slides-per-task", 5, "--time", "slides:1")
    wait(slurm)
    status = submit(project, "--status", **slurm).stdout
    assert "failed: slides S 3, S 4: exit 143" in status and "DUE TO TIME LIMIT" in status
    (project / "faults" / "S 3").unlink()
    on_slurm()
    wait(slurm)
    assert calls(project).count("1main_processing 3-4") == 1 and counts(project)["figures"] == [1, 0, 0, 0, 0, 0]


@pytest.mark.slow
def test_slurm_kill_for_memory_is_retried_by_the_chain(project, slurm, on_slurm):
    (project / "faults" / "S 4").write_text("memory")
    (project / "faults" / "S 1").write_text("fail")
    on_slurm("--slides-per-task", 1, "--allow-missing", 1)
    wait(slurm)
    assert calls(project).count("1main_processing 4") == 2 and calls(project).count("1main_processing 1") == 1
    assert counts(project)["figures"] == [1, 0, 0, 0, 0, 0]


@pytest.mark.slow
def test_slurm_controller_stops_in_the_middle_of_a_submission(project, slurm, on_slurm, tmp_path):
    """The third job is accepted, but the answer is lost and the controller gone: nothing is submitted twice later."""
    configuration = Path(slurm["SLURM_CONF"])
    (tmp_path / "bin").mkdir()
    executable(tmp_path / "bin" / "sbatch", f"""#!/bin/bash
if [ "$1" = --test-only ]; then exec {shutil.which('sbatch')} "$@"; fi
echo >> '{tmp_path}/count'
if [ $(wc -l < '{tmp_path}/count') != 3 ]; then exec {shutil.which('sbatch')} "$@"; fi
{shutil.which('sbatch')} "$@" > /dev/null
kill $(cat '{configuration.parent}/slurmctld.pid')
while [ -e '{configuration.parent}/slurmctld.pid' ]; do sleep 0.1; done
echo 'sbatch: error: Batch job submission failed: Socket timed out' >&2
exit 1
""")
    (project / "faults" / "S 0").write_text("slow")
    broken = on_slurm(PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    assert broken.returncode == 1 and broken.stdout.count("submitted: ") == 2
    assert "Socket timed out" in broken.stderr and "run the same command again" in broken.stderr
    tell(slurm, "slurmctld", "-f", configuration)
    wait(slurm, until=project / "started-S 0")
    on_slurm()
    names = tell(slurm, "squeue", "-h", "-r", "-o", "%j").splitlines()
    assert sum(name.startswith("slides ") for name in names) == 1
    (project / "faults" / "S 0").unlink()
    wait(slurm)
    assert_each_unit_was_made_once(project)
    assert counts(project)["figures"] == [1, 0, 0, 0, 0, 0]


@pytest.fixture(scope="module")
def demo_cohort(tmp_path_factory, run_script):
    """A small demo cohort, in a folder that needs quoting."""
    folder = tmp_path_factory.mktemp("demo") / "a cohort's \"folder\""
    folder.mkdir()
    done = run_script("data/make_demo_cohort.py", folder, "--patients", 16, "--genes", 300, "--width-px", 1536,
                      "--height-px", 1024)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_slurm_demo_cohort_gives_the_bytes_of_the_local_run(demo_cohort, slurm, tmp_path):
    here = tmp_path / "here"
    shutil.copytree(demo_cohort, here)
    options = ["--stage-args", "slides:--weights random", "--stage-args", "targets:--confidence 0.05",
               "--stage-args", "splits:--outer 2 --inner 2 --stratify response",
               *(word for name in ("expression", "abundance", "direct")
                 for word in ("--stage-args", f"{name}:--max-epochs 5")),
               "--slides-per-task", 6, "--folds-per-task", 4, "--gres", "none", "--mem", "1G", "--cpus-per-task", 2,
               "--python", sys.executable]
    command = [sys.executable, ROOT / "submit_slurm.py"]
    environment = {**os.environ, **slurm}
    submitted = subprocess.run(list(map(str, [*command, demo_cohort, *options])), env=environment, capture_output=True,
                               text=True)
    assert submitted.returncode == 0, submitted.stderr
    wait(slurm, seconds=900)
    assert log_of(demo_cohort, "continue_0").rstrip().splitlines()[-2] == "finished", log_of(demo_cohort, "continue_0")
    local_run = subprocess.run(list(map(str, [*command, here, *options, "--local", 2])), env=environment,
                               capture_output=True, text=True)
    assert local_run.returncode == 0, local_run.stdout + local_run.stderr
    made = sorted(path.relative_to(here) for path in (here / "results").rglob("*") if path.is_file())
    made += [Path(name) for name in ("targets.h5", "features.h5", "splits.json", "deconvolution/expression.h5")]
    assert Path("results/predictions.h5") in made and Path("results/summary.csv") in made
    assert [name for name in made if (here / name).read_bytes() != (demo_cohort / name).read_bytes()] == []
