"""Low-rank models of a simulated cohort against networks of the same folds, by the script itself, in one run.

    python tests/benchmarks/bench_low_rank.py                          # 1,000 slides, 2 cell types of 5,000 genes
    python tests/benchmarks/bench_low_rank.py --genes 10000 --networks 2
"""
import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests")]

import simulated_cohort  # noqa: E402

N_MODELS = 25  # of a cell type


def main(args):
    print(f"{len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        project = simulated_cohort.write(Path(folder) / "project", args.slides, 0, n_features=2048, n_genes=args.genes,
                                         noise=3.0)
        run("prediction/make_splits.py", project)
        script = "prediction/1main_cs_exp_regression.py"
        n_types = len(simulated_cohort.CELL_TYPES)
        seconds = run(script, project, "all", "all", "all", "--model", "low-rank")
        print(f"low-rank: {N_MODELS * n_types} models of {args.slides} slides x {args.genes} genes in {seconds:.0f} s, "
              f"{seconds / N_MODELS / n_types:.2f} s a model; peak memory of a process "
              f"{resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20:.1f} GiB")
        inner = [run(script, project, 0, inner, "CAFs", "--processes", 1) for inner in range(args.networks)]
        for one in inner:
            print(f"network: one model on one core in {one:.0f} s")


def run(script, *words):
    """Seconds that a script took; its own lines are not shown unless it fails."""
    started = time.perf_counter()
    done = subprocess.run([sys.executable, ROOT / script, *map(str, words)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    return time.perf_counter() - started


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slides", type=int, default=1000)
    parser.add_argument("--genes", type=int, default=5000)
    parser.add_argument("--networks", type=int, default=1, help="networks to train beside them, default %(default)s")
    main(parser.parse_args())
