"""How long reading a TCGA cohort's STAR counts takes, against pandas reading the same tables whole.

    python tests/benchmarks/bench_star_counts.py
"""
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "data"))
from inputs import bulk_sources  # noqa: E402  after the path to it

N_GENES, N_CODING, N_FILES, N_COHORT = 60660, 19962, 20, 1095  # GENCODE v36; patients of TCGA-BRCA


def write_star(path, random):
    """A STAR counts table of the size that GDC delivers."""
    table = pd.DataFrame({"gene_id": [f"ENSG{i:011d}.{i % 20}" for i in range(N_GENES)],
                          "gene_name": [f"GENE{i}" for i in range(N_GENES)],
                          "gene_type": np.where(np.arange(N_GENES) < N_CODING, "protein_coding", "lncRNA")})
    for name in ("unstranded", "stranded_first", "stranded_second"):
        table[name] = random.integers(0, 5000, N_GENES)
    for name in ("tpm_unstranded", "fpkm_unstranded", "fpkm_uq_unstranded"):
        table[name] = random.gamma(.3, 50, N_GENES).round(4)
    path.write_text("# gene-model: GENCODE v36\n" + table.to_csv(sep="\t", index=False))


def seconds(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        paths = {f"P{i}": Path(folder) / f"{i}.tsv" for i in range(N_FILES)}
        random = np.random.default_rng(0)
        for path in paths.values():
            write_star(path, random)
        ours = seconds(lambda: bulk_sources.read_star_files(paths)) / N_FILES
        whole = seconds(lambda: [pd.read_csv(path, sep="\t", skiprows=1) for path in paths.values()]) / N_FILES
    print(f"a table of {N_GENES} genes: {ours:.3f} s, {ours / whole:.2f} times pandas reading it whole; "
          f"{N_COHORT} tables: {ours * N_COHORT:.0f} s")
