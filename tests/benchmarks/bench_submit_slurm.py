"""What a Slurm task costs before it works, and the share of it for several task sizes. Needs root and Slurm's packages.

Starts a Slurm of one node by START_SLURM, runs tasks that do nothing, and the real stages on a small demo cohort: the
time of one unit and of several gives start-up and work. The last lines use the work of a slide of --tiles tissue tiles.

    python tests/benchmarks/bench_submit_slurm.py ../shared/slurm/start-slurm.sh
"""
import argparse
import csv
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "slide_processing"), str(ROOT / "tests")]

import awake_resnet  # noqa: E402

N_EMPTY_TASKS = 100
CPUS = 2
SUBMIT = [sys.executable, str(ROOT / "submit_slurm.py")]


def main(args):
    folder = Path(tempfile.mkdtemp(prefix="slurm-bench-"))
    folder.chmod(0o755)
    try:
        subprocess.run(["bash", args.start_slurm, folder / "run"], check=True, capture_output=True,
                       env={**os.environ, "SLURM_FAKE_CPUS": str(CPUS)})
        os.environ["SLURM_CONF"] = str(folder / "run" / "slurm.conf")
        scheduler = empty_tasks(folder / "empty")
    finally:
        subprocess.run(["bash", folder / "run" / "stop"], capture_output=True)
    slide_start, tiles_per_second = slide_times(folder / "demo")
    fold_start, fold_work = fold_times(folder / "demo")
    shutil.rmtree(folder)
    print(f"load of the machine {os.getloadavg()[0]:.1f}")
    print(f"scheduler, job script and runner: {scheduler:.2f} s of a CPU for a task")
    print(f"start-up of 1main_processing.py: {slide_start:.1f} s; work: {tiles_per_second:.1f} tissue tiles/s")
    print(f"start-up of 1main_cs_exp_regression.py: {fold_start:.1f} s; work: {fold_work:.1f} s a model (demo)")
    for rate in (tiles_per_second, *args.rates):
        work = args.tiles / rate
        for n in (1, 2, 4, 8, 16):
            start = scheduler + slide_start
            print(f"{rate:6.0f} tiles/s, {n:2d} slides a task: {(start + n * work) / 60:6.1f} minutes, "
                  f"{start / (start + n * work):6.1%} of it start-up")


def empty_tasks(project):
    """Seconds of a CPU that a task costs which does nothing."""
    project.mkdir()
    with open(project / "metadata.csv", "w") as file:
        csv.writer(file).writerows([("Slide.ID", "Filename", "Patient.ID"),
                                    *((f"S{i}", "x", f"P{i}") for i in range(N_EMPTY_TASKS))])
    started = time.monotonic()
    subprocess.run([*SUBMIT, project, "--python", shutil.which("true"), "--slides-per-task", "1", "--gres", "none",
                    "--mem", "50M", "--cpus-per-task", "1"], check=True, stdout=subprocess.DEVNULL)
    print(f"submission of {N_EMPTY_TASKS} tasks and the stages after them: {time.monotonic() - started:.2f} s")
    while subprocess.run(["squeue", "-h", "-o", "%j"], capture_output=True, text=True).stdout.count("slides "):
        time.sleep(0.2)
    return (time.monotonic() - started) * CPUS / N_EMPTY_TASKS


def timed(*words):
    started = time.monotonic()
    done = subprocess.run([sys.executable, *map(str, words)], check=True, capture_output=True, text=True, cwd=ROOT)
    return time.monotonic() - started, done.stdout


def slide_times(project):
    """Start-up of the slide stage in seconds, and tissue tiles per second."""
    project.mkdir()
    timed("data/make_demo_cohort.py", project, "--patients", 12, "--genes", 300)
    weights = awake_resnet.save(project / "weights.pth")
    seconds, printed = timed("slide_processing/1main_processing.py", project, "0-8", "--weights", weights)
    lines = re.findall(r"(\d+) kept, ([\d.]+) s", printed)
    work = sum(float(of_slide) for _, of_slide in lines)
    timed("slide_processing/1main_processing.py", project, "9-12", "--weights", weights)
    return seconds - work, sum(int(kept) for kept, _ in lines) / work


def fold_times(project):
    """Start-up of training, and the work of one model, in seconds."""
    timed("deconvolution/1main_deconvolution.py", project)
    timed("deconvolution/prepare_targets.py", project, "--confidence", 0)
    timed("slide_processing/collect_features.py", project)
    timed("prediction/make_splits.py", project, "--outer", 3, "--inner", 3)
    seconds, printed = timed("prediction/1main_cs_exp_regression.py", project, "all", "all", "CAFs", "--processes", 1)
    work = [float(of_model) for of_model in re.findall(r"epoch \d+ of \d+, ([\d.]+) s", printed)]
    return seconds - sum(work), sum(work) / len(work)


if __name__ == "__main__":
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("start_slurm", help="script that starts a Slurm in a folder")
    p.add_argument("--tiles", type=int, default=2400, help="tissue tiles default %(default)s, the median of TCGA")
    p.add_argument("--rates", type=float, nargs="*", default=[300.0], help="more tiles per second, such as of a GPU")
    main(p.parse_args())
