"""Low-rank models of a simulated cohort against networks of the same folds, by the script itself, in one run.

    python tests/benchmarks/bench_low_rank.py                          # 1,000 slides, 2 cell types of 5,000 genes
    python tests/benchmarks/bench_low_rank.py --slides 1100 --genes 10000 --cell-types 9    # 8 GB of models in TMPDIR
"""
import argparse
import os
import sys
import tempfile
from pathlib import Path

import h5py

import measured_run

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests")]

import simulated_cohort  # noqa: E402

N_MODELS = 25  # of a cell type


def main(args):
    print(f"{len(os.sched_getaffinity(0))} cores, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        project = simulated_cohort.write(Path(folder) / "project", args.slides, 0, n_features=2048, n_genes=args.genes,
                                         noise=3.0)
        add_cell_types(project / "targets.h5", args.cell_types)
        measured_run.run("prediction/make_splits.py", project)
        script = "prediction/1main_cs_exp_regression.py"
        seconds, cpu, gib = measured_run.run(script, project, "all", "all", "all", "--model", "low-rank")
        n_models = N_MODELS * args.cell_types
        print(f"low-rank: {n_models} models of {args.slides} slides x {args.genes} genes in {seconds:.0f} s, {cpu:.0f} "
              f"s of CPU, {seconds / n_models:.2f} s a model; peak memory of all processes together {gib:.1f} GiB")
        for inner in range(args.networks):
            seconds, cpu, gib = measured_run.run(script, project, 0, inner, "CAFs", "--processes", 1)
            print(f"network: one model on one core in {seconds:.0f} s, {cpu:.0f} s of CPU, {gib:.1f} GiB")


def add_cell_types(path, n_cell_types):
    """More cell types, with the labels of CAFs."""
    with h5py.File(path, "r+") as file:
        for number in range(len(simulated_cohort.CELL_TYPES), n_cell_types):
            file.copy(file["expression/CAFs"], file["expression"], f"Type {number + 1}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slides", type=int, default=1000)
    parser.add_argument("--genes", type=int, default=5000)
    parser.add_argument("--cell-types", type=int, default=len(simulated_cohort.CELL_TYPES), help="default %(default)s")
    parser.add_argument("--networks", type=int, default=1, help="networks to train beside them, default %(default)s")
    main(parser.parse_args())
