"""make_signature.py: markers and profiles from single cells with known types."""
import numpy as np
import pandas as pd
import pytest
from scipy import io, sparse

from sources import marker_genes

SCRIPT = "deconvolution/make_signature.py"
TYPES = ["B", "CAF", "T"]


def cells(n_genes=400, n_cells=150):
    """Counts (genes x cells), genes, labels; gene g is a marker of type g % 3 where g < 300."""
    random = np.random.default_rng(0)
    codes = np.arange(n_cells) % 3
    means = random.lognormal(0, .5, (n_genes, 3))
    means[np.arange(300), np.arange(300) % 3] *= 10
    counts = random.poisson(means[:, codes])
    states = np.where(np.arange(n_cells) % 2, "x", "y")
    labels = pd.DataFrame({"celltype_major": np.array(TYPES)[codes], "state": states},
                          [f"cell{i}" for i in range(n_cells)])
    return counts, [f"G{g}" for g in range(n_genes)], labels.rename_axis("cell")


@pytest.fixture
def project(tmp_path):
    counts, genes, labels = cells()
    pd.DataFrame(counts, genes, labels.index).to_csv(tmp_path / "counts.tsv", sep="\t")
    labels.to_csv(tmp_path / "labels.csv")
    return tmp_path


def read(project, name):
    return pd.read_csv(project / name, sep="\t", index_col=0)


def test_markers_and_profiles(project, run_script):
    done = run_script(SCRIPT, project, project / "counts.tsv", "--labels", project / "labels.csv",
                      "--state-column", "state")
    assert done.returncode == 0, done.stderr
    signature, reference = read(project, "signature.tsv.gz"), read(project, "reference.tsv.gz")
    counts, genes, labels = cells()
    for k, name in enumerate(TYPES):
        total = counts[:, labels["celltype_major"] == name].sum(axis=1)
        np.testing.assert_allclose(reference[name], total / total.sum() * 1e6, rtol=1e-4)
        own = [gene for gene in signature.index if signature.loc[gene].idxmax() == name]
        assert len(own) >= 50 and np.mean([int(gene[1:]) % 3 == k for gene in own]) > .9
    choice = pd.read_csv(project / "signature_choice.csv", index_col=0)["condition_number"]
    assert list(choice.index) == list(marker_genes.N_MARKERS)
    assert np.linalg.cond(signature) == pytest.approx(choice.min(), rel=1e-4)
    assert f"condition number {choice.min():.1f}" in done.stdout
    assert read(project, "reference_states.tsv.gz").columns.tolist() == [f"{t}: {s}" for t in TYPES for s in "xy"]
    again = run_script(SCRIPT, project, project / "counts.tsv", "--labels", project / "labels.csv")
    assert again.returncode == 1 and "--overwrite" in again.stderr


def test_matrix_market_gives_the_same(project, run_script):
    counts, genes, labels = cells()
    io.mmwrite(str(project / "matrix.mtx"), sparse.coo_matrix(counts))
    (project / "genes.tsv").write_text("".join(f"ENSG{g}\t{gene}\n" for g, gene in enumerate(genes)))
    (project / "barcodes.tsv").write_text("".join(f"{cell}\n" for cell in labels.index))
    tables = []
    for source in ("counts.tsv", "matrix.mtx"):
        done = run_script(SCRIPT, project, project / source, "--labels", project / "labels.csv", "--overwrite")
        assert done.returncode == 0, done.stderr
        tables.append(read(project, "signature.tsv.gz"))
    pd.testing.assert_frame_equal(*tables)


def test_anndata_gives_the_same(project, run_script):
    anndata = pytest.importorskip("anndata", reason="anndata is optional: deconvolution/requirements-single-cell.txt")
    counts, genes, labels = cells()
    anndata.AnnData(sparse.csr_matrix(counts.T, dtype=np.float32), labels, pd.DataFrame(index=genes)).write_h5ad(
        project / "cells.h5ad")
    tables = []
    for source in ([project / "counts.tsv", "--labels", project / "labels.csv"], [project / "cells.h5ad"]):
        done = run_script(SCRIPT, project, *source, "--overwrite")
        assert done.returncode == 0, done.stderr
        tables.append(read(project, "signature.tsv.gz"))
    pd.testing.assert_frame_equal(*tables)


@pytest.mark.parametrize("change, words", [
    (lambda counts, labels: (counts + .5, labels), "raw counts"),
    (lambda counts, labels: (-counts, labels), "not negative"),
    (lambda counts, labels: (counts, labels.iloc[1:]), "without exactly one label: cell0"),
    (lambda counts, labels: (counts, labels.rename(columns={"celltype_major": "type"})), "no column 'celltype_major'"),
    (lambda counts, labels: (counts, labels.replace("T", "T/NK")),
     "cell type 'T/NK' cannot be the name of a file: use no slashes"),
    (lambda counts, labels: (counts.iloc[:, :12], labels), "0 cell types have enough cells"),
])
def test_bad_input_is_one_line(project, run_script, change, words):
    table, labels = change(read(project, "counts.tsv"), pd.read_csv(project / "labels.csv", index_col=0))
    table.to_csv(project / "counts.tsv", sep="\t")
    labels.to_csv(project / "labels.csv")
    done = run_script(SCRIPT, project, project / "counts.tsv", "--labels", project / "labels.csv")
    assert done.returncode == 1 and words in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert not (project / "signature.tsv.gz").exists()
