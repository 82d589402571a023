"""The slide stage beside tools of others that are installed: CPU time of whole commands on one slide, same weights.

    python tests/benchmarks/bench_peers.py [--python <venv>/bin/python ...] [--side-px 6144] [--one-thread]

The peers need other versions of the packages, each its own environment: `pip install lazyslide`, and
`pip install "tiatoolbox>=2.1" "setuptools<81"`. Every tool is tried in every environment, and left out, with the
reason, where it does not run. One slide is painted; tools choose their own tissue, so that time a tile is what to
compare. CPU time leaves out what else the machine does, but busy neighbours slow it down, too.
"""
import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "slide_processing"), str(ROOT / "data"), str(ROOT / "tests")]

import awake_resnet  # noqa: E402
import make_demo_cohort  # noqa: E402
from demo_cohort import hidden_truth  # noqa: E402
from slide_ex.project import feature_file  # noqa: E402

ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS",
                                     "SLURM_CPUS_PER_TASK")}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--python", nargs="*", default=[], metavar="PYTHON", help="of the environments of the peers")
    p.add_argument("--side-px", type=int, default=6144, help="of the slide at 20x, default %(default)s")
    p.add_argument("--one-thread", action="store_true", help="of every tool; default what each takes")
    args = p.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder) / "project"
        slide, weights = project / "slides" / "s.svs", Path(folder) / "weights.pth"
        paint(slide, args.side_px)
        awake_resnet.save(weights)
        environment = os.environ | (ONE_THREAD if args.one_thread else {})
        script = ROOT / "slide_processing" / "1main_processing.py"
        run, *spent = timed([sys.executable, script, project, "all", "--weights", weights], environment)
        show("here, normalised", run, *spent, ours(project))
        runs = [("published", sys.executable), *((tool, python) for python in args.python
                                                 for tool in ("LazySlide", "tiatoolbox"))]
        for tool, python in runs:
            run, *spent = timed([python, ROOT / "tests" / "benchmarks" / "peer_tools.py", tool, slide, weights],
                                environment)
            show(tool, run, *spent, run.stdout.splitlines()[-1:])


def paint(path, side_px):
    """One demo slide and the metadata.csv of its project."""
    path.parent.mkdir(parents=True)
    random = np.random.default_rng(1)
    states = hidden_truth.draw_states(random, 1)
    fractions = hidden_truth.draw_fractions(random, states)
    make_demo_cohort.make_slide(path, random, 1, (side_px, side_px), fractions.iloc[0], states.iloc[0], 20, True, False)
    (path.parents[1] / "metadata.csv").write_text(f"Slide.ID,Filename,Patient.ID\ns,{path.name},p\n")


def timed(command, environment):
    """The finished process, its CPU seconds and its seconds."""
    def cpu_s():
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime
    started, cpu_started = time.perf_counter(), cpu_s()
    run = subprocess.run([str(word) for word in command], env=environment, capture_output=True, text=True)
    return run, cpu_s() - cpu_started, time.perf_counter() - started


def ours(project):
    """What peer_tools.py would print of this project."""
    path = feature_file.path_of(project, "s")
    if not path.exists():
        return []
    n_tiles, n_features = feature_file.read_arrays(path)[0].shape
    return [json.dumps({"tiles": n_tiles, "features": n_features, "version": ""})]


def show(tool, run, cpu_seconds, seconds, answer):
    if run.returncode:
        print(f"{tool:18s} did not run: {run.stderr.strip().splitlines()[-1]}")
        return
    found = json.loads(answer[0])
    print(f"{tool:18s} {found['version']:8s} {found['tiles']:5d} tiles  {cpu_seconds:7.1f} s of CPU, "
          f"{1000 * cpu_seconds / found['tiles']:6.0f} ms a tile  {seconds:7.1f} s", flush=True)


if __name__ == "__main__":
    main()
