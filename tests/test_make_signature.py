"""make_signature.py: markers and profiles from single cells with known types."""
import gzip
import logging

import numpy as np
import pandas as pd
import pytest
from scipy import io, sparse

from sources import marker_genes, single_cells

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


def with_anndata():
    anndata = pytest.importorskip("anndata", reason="anndata is optional: deconvolution/requirements-single-cell.txt")
    if hasattr(anndata.settings, "allow_write_nullable_strings"):    # with pandas 3
        anndata.settings.allow_write_nullable_strings = True
    return anndata


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


def test_donors_are_a_table_of_their_own_and_no_old_one_is_left(project, run_script):
    counts, genes, labels = cells()
    labels["donor"] = np.repeat(["p1", "p2", "p3", "NA", "p4"], [66, 60, 6, 3, 15])
    done = labelled(counts, genes, labels, run_script, project, "--donor-column", "donor", "--state-column", "state")
    assert done.returncode == 0, done.stderr
    donors = read(project, "reference_donors.tsv.gz")
    assert donors.columns.tolist() == [f"{name}: p{i}" for name in TYPES for i in (1, 2)]
    own = counts[:, (labels["celltype_major"] == "CAF") & (labels["donor"] == "p2")].sum(axis=1)
    np.testing.assert_allclose(donors["CAF: p2"], own / own.sum() * 1e6, rtol=1e-4)
    assert "donor: 6 with fewer than 20 cells left out: B: p3" in done.stdout
    command = [SCRIPT, project, project / "counts.tsv", "--labels", project / "labels.csv", "--state-column", "state"]
    done = run_script(*command)
    assert done.returncode == 1 and "donor_column" in done.stderr and "--overwrite" in done.stderr
    assert run_script(*command, "--overwrite").returncode == 0
    assert (project / "reference_states.tsv.gz").exists() and not (project / "reference_donors.tsv.gz").exists()


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
    anndata = with_anndata()
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
    (lambda counts, labels: (counts, pd.concat([labels, labels.iloc[:1]])), "twice: 1 (cell0)"),
    (lambda counts, labels: (counts, labels.set_axis(labels.index + "-1")),
     "no row for any cell of counts.tsv (cell0, cell1 and 148 more); its first column has cell0-1, cell1-1"),
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


# As single cells are published

def labelled(counts, genes, labels, run_script, folder, *more):
    """The signature made of a table, to compare with."""
    pd.DataFrame(counts, genes, labels.index).to_csv(folder / "counts.tsv", sep="\t")
    labels.to_csv(folder / "labels.csv")
    return run_script(SCRIPT, folder, folder / "counts.tsv", "--labels", folder / "labels.csv", *more)


@pytest.mark.parametrize("prefix, matrix, packed", [
    ("count_matrix_", "count_matrix_sparse.mtx", False),        # GSE176078
    ("GSM1_", "GSM1_matrix.mtx.gz", True), ("", "matrix.mtx.gz", True)])
def test_names_beside_a_matrix(tmp_path, prefix, matrix, packed):
    counts, genes, labels = cells(n_cells=12)
    io.mmwrite(str(tmp_path / "m.mtx"), sparse.coo_matrix(counts))
    for name, content in ((matrix, (tmp_path / "m.mtx").read_bytes()),
                          (f"{prefix}genes.tsv" + ".gz" * packed, "".join(f"{gene}\n" for gene in genes).encode()),
                          (f"{prefix}barcodes.tsv" + ".gz" * packed, "".join(f"{c}\n" for c in labels.index).encode()),
                          ("other_genes.tsv", b"X\n")):
        (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    found, names, barcodes = single_cells.read_mtx(tmp_path / matrix)
    assert (found.toarray().T == counts).all() and list(names) == genes and list(barcodes) == list(labels.index)
    assert len(single_cells.files(tmp_path / matrix, None)) == 3


def test_antibodies_are_no_genes(tmp_path, caplog):
    counts, genes, labels = cells(n_cells=12)
    io.mmwrite(str(tmp_path / "matrix.mtx"), sparse.coo_matrix(counts))
    (tmp_path / "barcodes.tsv").write_text("".join(f"{cell}\n" for cell in labels.index))
    types = ["Gene Expression"] * 390 + ["Antibody Capture"] * 10
    pd.DataFrame({0: genes, 1: genes, 2: types}).to_csv(tmp_path / "features.tsv", sep="\t", header=False, index=False)
    with caplog.at_level(logging.INFO):
        found, names, _ = single_cells.read_mtx(tmp_path / "matrix.mtx")
    assert (found.toarray().T == counts[:390]).all() and list(names) == genes[:390]
    assert "not Gene Expression left out: 10 (G390, G391, G392 and 7 more)" in caplog.text
    assert len(single_cells.of_genes(found, names, None, tmp_path)[1]) == 390
    assert len(single_cells.of_genes(found, names, pd.Series(["rna"] * 390), tmp_path)[1]) == 390


def test_cells_without_a_type_are_left_out_with_a_count(project, run_script):
    counts, genes, labels = cells()
    odd = ["", "nan", "NA", "Unknown", "Doublet", "unassigned"] * 5
    more = pd.DataFrame({"celltype_major": odd, "state": "x"}, [f"odd{i}" for i in range(30)])
    counts = np.hstack([counts, counts[:, :30]])
    done = labelled(counts, genes, pd.concat([labels, more]), run_script, project)
    assert done.returncode == 0, done.stderr
    assert read(project, "signature.tsv.gz").columns.tolist() == TYPES
    for word in odd[:6]:
        assert f"5 cells without a cell type left out (label '{word}')" in done.stdout


def test_cells_without_a_row_of_labels_are_left_out_with_a_count(project, run_script):
    counts, genes, labels = cells()
    raw = [*labels.index, *(f"raw{i}" for i in range(30))]
    pd.DataFrame(np.hstack([counts, counts[:, :30]]), genes, raw).to_csv(project / "counts.tsv", sep="\t")
    done = run_script(SCRIPT, project, project / "counts.tsv", "--labels", project / "labels.csv", "--overwrite")
    assert done.returncode == 0, done.stderr
    assert "labels.csv has no row for 30 of 180 cells: raw0, raw1, raw2 and 27 more" in done.stdout
    written = read(project, "reference.tsv.gz")
    labelled(counts, genes, labels, run_script, project, "--overwrite")
    pd.testing.assert_frame_equal(written, read(project, "reference.tsv.gz"))


def test_a_barcode_of_two_samples_is_refused(tmp_path):
    """Counts of several samples put together: the label of one would be that of the other, too."""
    counts, genes, labels = cells(n_cells=12)
    labels.to_csv(tmp_path / "labels.csv")
    twice = pd.Index([*labels.index[:11], "cell0"])
    with pytest.raises(ValueError, match=r"matrix.mtx: cells that are there twice: 1 \(cell0\)"):
        single_cells.read_labels(tmp_path / "labels.csv", twice, tmp_path / "matrix.mtx")


@pytest.mark.parametrize("name", ["cells.rds", "filtered.h5", "folder", "absent/matrix.mtx"])
def test_counts_that_cannot_be_read_are_told_what_can(tmp_path, name):
    (tmp_path / "folder").mkdir()
    for other in ("cells.rds", "filtered.h5"):
        (tmp_path / other).touch()
    with pytest.raises((ValueError, FileNotFoundError), match=f"{name} is .*no.*give .h5ad, the .mtx"):
        single_cells.files(tmp_path / name, None)


def test_fractional_counts_are_accepted_when_that_is_said(project, run_script):
    counts, genes, labels = cells()
    counts = counts * .9
    done = labelled(counts, genes, labels, run_script, project)
    assert done.returncode == 1 and "--allow-fractional" in done.stderr
    done = labelled(counts, genes, labels, run_script, project, "--allow-fractional")
    assert done.returncode == 0, done.stderr


def written_h5ad(path, change):
    anndata = with_anndata()
    counts, genes, labels = cells()
    labels["celltype_major"] = pd.Categorical(labels["celltype_major"].where(labels.index != "cell0"))
    data = anndata.AnnData(sparse.csr_matrix(counts.T, dtype=np.float32), labels, pd.DataFrame(index=genes))
    change(data)
    data.write_h5ad(path)
    return counts.T[1:], genes


def normalised(data):
    data.X = data.X * np.float32(.37)


@pytest.mark.parametrize("place", ["counts", ".raw", "X", "raw_counts"])
def test_counts_are_found_where_they_are(tmp_path, caplog, place):
    caplog.set_level(logging.INFO)

    def change(data):
        if place == ".raw":
            data.raw = data.copy()
        elif place != "X":
            data.layers[place] = data.X.copy()
        if place != "X":
            normalised(data)
    expected, genes = written_h5ad(tmp_path / "c.h5ad", change)
    counts, names, labels = single_cells.read(tmp_path / "c.h5ad", None, "celltype_major")
    assert (counts.toarray() == expected).all() and list(names) == genes and set(labels["celltype_major"]) == set(TYPES)
    assert f"counts are those of {place}" in caplog.text and "1 cells without a cell type" in caplog.text


def test_a_layer_is_said_and_normalised_values_are_no_counts(tmp_path):
    def change(data):
        data.layers["soupx"] = data.X * np.float32(.9)
        normalised(data)
    expected, _ = written_h5ad(tmp_path / "c.h5ad", change)
    for words, more in (("no whole numbers in X", {}), ("no 'soup'", {"layer": "soup"}),
                        ("--allow-fractional", {"layer": "soupx"})):
        with pytest.raises(ValueError, match=words):
            single_cells.read(tmp_path / "c.h5ad", None, "celltype_major", **more)
    counts, *_ = single_cells.read(tmp_path / "c.h5ad", None, "celltype_major", "soupx", allow_fractional=True)
    np.testing.assert_allclose(counts.toarray(), expected * .9, rtol=1e-5)


def test_symbols_of_cellxgene(tmp_path, caplog):
    """Ensembl ids as names, symbols in feature_name, counts in .raw, whose table may lack the symbols."""
    caplog.set_level(logging.INFO)

    def change(data):
        data.var["feature_name"] = pd.Categorical(data.var_names)
        data.var_names = [f"ENSG{g:011d}" for g in range(data.n_vars)]
        data.raw = data.copy()
        del data.raw.var["feature_name"]
        normalised(data)
    expected, genes = written_h5ad(tmp_path / "c.h5ad", change)
    counts, names, _ = single_cells.read(tmp_path / "c.h5ad", None, "celltype_major")
    assert list(names) == genes and (counts.toarray() == expected).all() and "feature_name" in caplog.text
