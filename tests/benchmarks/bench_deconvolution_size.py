"""Time and memory of the deconvolution at the size of TCGA, simulated, with its confidence.

    python tests/benchmarks/bench_deconvolution_size.py [--genes 18000] [--samples 1034] [--threads 1 2]

Prints seconds, CPU seconds and peak memory of 1main_deconvolution.py for each number of threads that it is allowed
(OMP_NUM_THREADS). The data are those of deconvolution_data.simulated.
"""
import argparse
import os
import tempfile
from pathlib import Path

import deconvolution_data
import measured_run
import numpy as np
import pandas as pd


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--genes", type=int, default=18000)
    p.add_argument("--samples", type=int, default=1034)
    p.add_argument("--cell-types", type=int, default=9)
    p.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    args = p.parse_args()
    with tempfile.TemporaryDirectory() as project:
        write(Path(project), deconvolution_data.simulated(1, args.genes, args.samples, args.cell_types))
        for threads in args.threads:
            os.environ["OMP_NUM_THREADS"] = str(threads)
            seconds, cpu_s, memory_gib = measured_run.run("deconvolution/1main_deconvolution.py", project,
                                                          "--overwrite")
            print(f"{args.genes} genes, {args.samples} samples, {args.cell_types} cell types, OMP_NUM_THREADS={threads}"
                  f": {seconds:.0f} s, {cpu_s:.0f} s of CPU, {memory_gib:.2f} GiB", flush=True)


def write(project, data):
    """The tables of a project."""
    genes = np.array([f"G{i:05d}" for i in range(len(data["bulk"]))])
    patients = [f"P{i:04d}" for i in range(data["bulk"].shape[1])]
    for name, values, rows, columns in (("bulk_expression", data["bulk"], genes, patients),
                                        ("reference", data["reference"], genes, data["cell_types"]),
                                        ("signature", data["signature"], genes[data["markers"]], data["cell_types"])):
        pd.DataFrame(values, rows, columns).rename_axis("gene").to_csv(
            project / f"{name}.tsv.gz", sep="\t", float_format="%.6g", compression={"method": "gzip",
                                                                                    "compresslevel": 1})


if __name__ == "__main__":
    main()
