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

import pytest

ROOT = Path(__file__).resolve().parents[1]
START_SLURM = ROOT.parent / "shared" / "slurm" / "start-slurm.sh"
CELL_TYPES = ["T-cells", "Cancer Epithelial"]

STAND_IN_STAGES = f"""#!{sys.executable}
'''In place of python: makes what a stage would make. A file faults/<Slide.ID or stage> says what goes wrong.'''
import csv, os, signal, sys, time
from pathlib import Path

script, project, words = Path(sys.argv[1]).stem, Path(sys.argv[2]), sys.argv[3:]
with open(project / "calls.txt", "a") as calls:
    calls.write(" ".join([script, *words]) + "\\n")


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


ids = [row["Slide.ID"] for row in csv.DictReader(open(project / "metadata.csv"))]
if script == "1main_processing":
    failed = []
    for run in words[0].split(","):
        first, _, last = run.partition("-")
        for name in ids[int(first):int(last or first) + 1]:
            if stumble(name):
                failed.append(name)
            else:
                make(f"features/{{name}}.h5")
                make(f"mask/{{name}}.pdf")
    sys.exit(f"error: {{len(failed)}} slides failed: {{failed}}" if failed else 0)
if stumble(script):
    sys.exit(1)
if script == "1main_deconvolution":
    make("deconvolution/expression.h5")
if script == "prepare_targets":
    need("deconvolution/expression.h5")
    make("deconvolution/target_genes.csv", "cell_type,all,left\\nT-cells,9,5\\nB-cells,9,0\\nCancer Epithelial,9,1\\n")
    make("targets.h5")
if script == "collect_mask":
    make("mask.pdf")
if script == "collect_features":
    missing = [name for name in ids if not (project / "features" / f"{{name}}.h5").exists()]
    if len(missing) > int(words[words.index("--allow-missing") + 1] if "--allow-missing" in words else 0):
        sys.exit(f"error: no features of {{missing}}")
    make("features.h5")
if script == "make_splits":
    need("features.h5", "targets.h5")
    make("splits.json", '{{"n_outer": 2, "n_inner": 3}}')
if script in ("1main_cs_exp_regression", "1main_abundance_regression", "1main_direct"):
    need("features.h5", "targets.h5", "splits.json")
    folders = {{"1main_abundance_regression": "cell_fraction_preds", "1main_direct": "direct_preds"}}
    folder = folders.get(script) or words[2] + "_preds"
    for outer in range(2) if words[0] == "all" else [words[0]]:
        for inner in range(3) if words[1] == "all" else [words[1]]:
            make(f"results/{{folder}}/result_{{outer}}_{{inner}}/config.json")
if script == "collect_results":
    need("results/T-cells_preds/result_1_2")
    make("results/predictions.h5")
if script == "figures":
    need("results/predictions.h5")
    make("figures/figures.json")
print("made", script)
"""


def executable(path, text):
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def project(tmp_path):
    """A project of five slides, in a folder that needs quoting, and the program that stands in for its stages."""
    folder = tmp_path / "it's a \"project\"; $HOME"
    folder.mkdir()
    (folder / "faults").mkdir()
    (folder / "clinical.csv").write_text("Patient.ID,Response\nP1,pCR\nP2,RD\n")
    write_metadata(folder, [f"S {n}" for n in range(5)])
    executable(tmp_path / "stand in", STAND_IN_STAGES)
    return folder


def write_metadata(folder, slide_ids):
    with open(folder / "metadata.csv", "w", newline="") as file:
        csv.writer(file).writerows([["Slide.ID", "Filename"], *([name, f"{name}.svs"] for name in slide_ids)])


def submit(project, *options, **environment):
    """Run submit_slurm.py with the stages replaced."""
    command = [sys.executable, ROOT / "submit_slurm.py", project, "--python", project.parent / "stand in", *options]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, env={**os.environ, **environment})


def local(project, *options):
    return submit(project, "--local", 2, "--folds-per-task", 6, *options)


def calls(project):
    return (project / "calls.txt").read_text().splitlines()


def counts(project, **environment):
    """Stage to its numbers done, running, waiting, failed, missing, from --status."""
    rows = [line.split() for line in submit(project, "--status", **environment).stdout.splitlines()[1:]]
    return {row[0]: list(map(int, row[1:])) for row in rows if len(row) == 6 and row[-1].isdigit()}


@pytest.fixture
def stand_in_slurm(tmp_path):
    """Slurm's commands that write down what they are asked; the queue is what the file queue.txt holds."""
    folder = tmp_path / "bin"
    folder.mkdir()
    executable(folder / "sbatch", f"""#!{sys.executable}
import json, sys
from pathlib import Path
asked = Path({str(tmp_path)!r}) / "asked.jsonl"
number = len(asked.read_text().splitlines()) + 1 if asked.exists() else 1
if (asked.parent / "refuse").exists() and number == 3:
    sys.exit("sbatch: error: Unable to contact slurm controller")
with open(asked, "a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
print(f"{{100 + number}};cluster")
""")
    executable(folder / "squeue", f"#!/bin/bash\ncat '{tmp_path}/queue.txt'\n")
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
    assert len(calls(project)) == len(set(calls(project))) == 12, "seven stages of one command, slides, four targets"
    assert counts(project)["folds"] == [24, 0, 0, 0, 0]
    again = local(project)
    assert again.returncode == 0 and "finished" in again.stdout
    assert len(calls(project)) == 12


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
    targets = [line.split("\t")[1] for line in (second / "folds.tsv").read_text().splitlines()]
    assert sum("'Cancer Epithelial'" in command for command in targets) == 2, "an outer fold each"
    assert not any("B-cells" in command for command in targets), "no gene of theirs is left"


def test_only_what_lacks_is_done(project):
    local(project)
    (project / "features" / "S 3.h5").unlink()
    shutil.rmtree(project / "results" / "direct_preds" / "result_1_2")
    (project / "calls.txt").unlink()
    assert local(project).returncode == 0
    direct = [line for line in calls(project) if line.startswith("1main_direct 1 2 ")]
    assert len(direct) == 1
    assert calls(project) == ["1main_processing 3", "collect_mask", "collect_features", "make_splits", *direct,
                              "collect_results", "figures"]


def test_a_collection_older_than_a_slide_is_made_again(project):
    local(project)
    (project / "calls.txt").unlink()
    later = time.time() + 5
    os.utime(project / "features" / "S 1.h5", (later, later))
    local(project)
    assert calls(project)[:2] == ["collect_features", "make_splits"]


def test_models_older_than_what_they_learn_from_are_counted(project):
    local(project)
    assert "older" not in submit(project, "--status").stdout
    later = time.time() + 5
    os.utime(project / "targets.h5", (later, later))
    n_models = len(list(project.glob("results/*_preds/result_*")))
    for said in (submit(project, "--status").stdout, local(project).stdout):
        assert f"{n_models} models are older than targets.h5: data/check_project.py tells" in said


def test_one_bad_slide_stops_before_the_models_and_says_which(project):
    (project / "faults" / "S 2").write_text("fail")
    done = local(project)
    assert done.returncode == 1
    assert "error: 1 slides failed: ['S 2']" in done.stdout and "slides_0.log" in done.stdout
    assert "error: no features of ['S 2']" in done.stdout
    assert counts(project)["slides"] == [4, 0, 0, 1, 0]
    assert not (project / "results").exists()
    (project / "faults" / "S 2").unlink()
    assert local(project).returncode == 0
    assert calls(project).count("1main_processing 2") == 1, "only the bad slide is done again"


def test_allowed_missing_slides_let_the_rest_go_on(project):
    (project / "faults" / "S 2").write_text("fail")
    done = local(project, "--allow-missing", 1)
    assert (project / "figures" / "figures.json").exists()
    assert done.returncode == 0 and counts(project)["slides"] == [4, 0, 0, 1, 0], "the slide is still named"


def test_labels_from_elsewhere_need_no_deconvolution(project):
    (project / "deconvolution").mkdir()
    (project / "deconvolution" / "target_genes.csv").write_text("cell_type,left\nT-cells,5\n")
    (project / "targets.h5").touch()
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
    assert "not known before" in submit(project, "--commands", "folds").stderr


@pytest.mark.parametrize("size, named", [(6, ["all all"]), (3, ["0 all", "1 all"]), (5, ["0 all", "1 0", "1 1", "1 2"]),
                                         (1, ["0 0", "0 1", "0 2", "1 0", "1 1", "1 2"])])
def test_folds_are_named_as_short_as_can_be(project, size, named):
    local(project)
    shutil.rmtree(project / "results")
    lines = submit(project, "--commands", "folds", "--folds-per-task", size).stdout.splitlines()
    assert re.findall(r"(\w+ \w+) T-cells", "\n".join(lines)) == named


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


def test_models_wait_while_a_slide_is_made_again(project, tmp_path, stand_in_slurm):
    local(project)
    (project / "features" / "S 3.h5").unlink()
    shutil.rmtree(project / "results" / "direct_preds" / "result_1_2")
    submit(project, **stand_in_slurm)
    assert list(asked(tmp_path)) == ["slides", "masks", "features", "splits", "continue"]
    (project / "faults" / "S 3").write_text("fail")
    assert local(project).returncode == 1, "features.h5 of an earlier run is there, but it is not what was asked for"
    assert not (project / "results" / "direct_preds" / "result_1_2").exists()


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
    assert counts(project, **stand_in_slurm)["slides"] == [0, 0, 1, 4, 0]

    queue(("slides-1", 0), ("targets", 0), ("features", 0))  # the submission was cut off
    (tmp_path / "asked.jsonl").unlink()
    submit(project, **stand_in_slurm)
    rest = asked(tmp_path)
    assert list(rest) == ["deconvolution", "targets", "slides", "masks", "features", "splits", "continue"]
    units = Path(rest["slides"]["script"]).with_suffix(".tsv").read_text()
    assert "1-4" in units and "'S 0'" not in units
    assert rest["features"]["--dependency"] == "afterany:903:103:906"


def test_a_submission_that_breaks_off_is_completed(project, tmp_path, stand_in_slurm):
    (tmp_path / "refuse").touch()
    broken = submit(project, **stand_in_slurm)
    assert broken.returncode == 1 and "run the same command again" in broken.stderr
    first = asked(tmp_path)
    (tmp_path / "refuse").unlink()
    (tmp_path / "queue.txt").write_text("".join(f"{n}|0|PENDING|None|{job['script']}\n" for n, job in
                                                zip((101, 102), first.values())))
    done = submit(project, **stand_in_slurm)
    assert "in the queue: targets, job 102" in done.stdout
    lines = [json.loads(line) for line in (tmp_path / "asked.jsonl").read_text().splitlines()]
    assert [Path(line[-1]).stem for line in lines] == ["deconvolution", "targets", "slides", "masks", "features",
                                                       "splits", "continue"]
    assert "--dependency=afterany:101:102:103:105" in lines[5]


def test_no_answer_from_the_queue_means_no_submission(project, tmp_path, stand_in_slurm):
    executable(tmp_path / "bin" / "squeue", "#!/bin/bash\necho 'slurm_load_jobs error' >&2\nexit 1\n")
    done = submit(project, **stand_in_slurm)
    assert done.returncode == 1 and done.stderr == "error: squeue failed: slurm_load_jobs error\n"
    assert not (tmp_path / "asked.jsonl").exists()
    dry = submit(project, "--dry-run", **stand_in_slurm)
    assert dry.returncode == 0 and dry.stdout.startswith("what runs and waits is not known: squeue failed")
    assert "1main_processing.py" in dry.stdout


def test_what_was_killed_for_memory_is_tried_once_more_with_twice_as_much(project, tmp_path, stand_in_slurm):
    submit(project, "--slides-per-task", 1, "--mem", "slides:100M", **stand_in_slurm)
    folder = Path(asked(tmp_path)["features"]["script"]).parent
    for index, end in enumerate(["exit 137 after 2 s\nslurmstepd: error: Detected 1 oom_kill event in StepId=5.batch\n",
                                 "error: broken\nexit 1 after 2 s\n"]):
        (folder / f"slides-1_{index}.log").write_text(f"# 2026-11-22 10:00:00 node, job 103_{index}\n$ command\n{end}")
    outputs = [f"{base}.{suffix}" for name in ("S 2", "S 3", "S 4")
               for base, suffix in ((f"features/{name}", "h5"), (f"mask/{name}", "pdf"))]
    for output in (*outputs, "deconvolution/expression.h5", "targets.h5"):
        (project / output).parent.mkdir(exist_ok=True)
        (project / output).touch()
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
    assert not (tmp_path / "asked.jsonl").exists() and done.returncode == 1 and "stopped: mend" in done.stdout


def test_status_asks_accounting_where_a_log_has_no_end(project, tmp_path, stand_in_slurm):
    submit(project, "--slides-per-task", 2, **stand_in_slurm)
    executable(tmp_path / "bin" / "sacct", "#!/bin/bash\necho '103_0|OUT_OF_MEMORY'\necho '103_1|CANCELLED by 0'\n")
    folder = Path(asked(tmp_path)["slides"]["script"]).parent
    (folder / "slides_0.log").write_text("# 2026 node, job 103_0\n$ command\nslide 0 S 0: 20 tiles\n")
    lines = submit(project, "--status", **stand_in_slurm).stdout.splitlines()
    assert f"failed: slides S 0, S 1: OUT_OF_MEMORY: slide 0 S 0: 20 tiles ({folder / 'slides_0.log'})" in lines
    assert any("failed: slides S 2, S 3: CANCELLED: did not start" in line for line in lines)


def test_a_dry_run_of_5000_tasks_takes_seconds_and_writes_nothing(project, stand_in_slurm):
    write_metadata(project, [f"S{n}" for n in range(5000)])
    started = time.monotonic()
    done = submit(project, "--dry-run", "--slides-per-task", 1, "--max-running", 50, **stand_in_slurm)
    assert done.returncode == 0 and time.monotonic() - started < 10
    assert done.stdout.count("1main_processing.py") == 5000 and done.stdout.count("--job-name='slides") == 0
    assert done.stdout.count("sbatch --parsable") == 1667 + 6
    assert not (project / "logs").exists()


@pytest.mark.parametrize("options, message", [
    (["--stage-args", "--weights random"], "say of which stage"),
    (["--slides-per-task", "0"], "give a number from 1 up"),
    (["--commands", "nonsense"], "invalid choice"),
])
def test_wrong_options_are_refused(project, options, message):
    done = submit(project, *options)
    assert done.returncode and message in done.stderr and "Traceback" not in done.stderr


@pytest.mark.parametrize("table, message", [
    (None, "metadata.csv is missing"), ("Slide,Filename\na,b\n", "needs a column Slide.ID"),
    ("Slide.ID,Filename\na,b\na,c\n", "without repetition"), ("Slide.ID,Filename\n", "needs a column")])
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


def test_standard_library_only():
    program = "import sys; sys.path.insert(0, sys.argv[1]); import submit_slurm"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", program, ROOT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


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


def is_alive(pid):
    status = Path(f"/proc/{pid}/status")
    return status.is_file() and "State:\tZ" not in status.read_text()


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
    assert counts(project)["figures"] == [1, 0, 0, 0, 0] and calls(project).count("figures") == 1


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
    assert calls(project).count("1main_processing 3-4") == 1 and counts(project)["figures"] == [1, 0, 0, 0, 0]


@pytest.mark.slow
def test_slurm_kill_for_memory_is_retried_by_the_chain(project, slurm, on_slurm):
    (project / "faults" / "S 4").write_text("memory")
    (project / "faults" / "S 1").write_text("fail")
    on_slurm("--slides-per-task", 1, "--allow-missing", 1)
    wait(slurm)
    assert calls(project).count("1main_processing 4") == 2 and calls(project).count("1main_processing 1") == 1
    assert counts(project)["figures"] == [1, 0, 0, 0, 0]


@pytest.mark.slow
def test_slurm_controller_stops_in_the_middle_of_a_submission(project, slurm, on_slurm, tmp_path):
    """The third job is accepted, but the answer is lost and the controller gone: nothing is submitted twice later."""
    configuration = Path(slurm["SLURM_CONF"])
    (tmp_path / "bin").mkdir()
    executable(tmp_path / "bin" / "sbatch", f"""#!/bin/bash
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
    assert counts(project)["figures"] == [1, 0, 0, 0, 0]


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
               "--stage-args", "folds:--max-epochs 5",
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
