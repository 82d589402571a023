"""Fractions and labels of other tools: what is no fraction never becomes a cell type, abundance no expression."""
import h5py
import numpy as np
import pandas as pd
import pytest

import mixed_cells
from outputs import target_labels
from sources import fraction_table, label_tables

SCRIPT = "deconvolution/prepare_targets.py"
FRACTIONS = "estimated_cell_fractions.txt"
DATA = mixed_cells.mix()
PATIENTS, GENES = DATA["bulk"].columns, DATA["bulk"].index


def fractions():
    return pd.DataFrame(DATA["fractions"], PATIENTS, mixed_cells.TYPES)


@pytest.fixture
def folder(tmp_path):
    """A table of expression in a cell (patients x genes) for every type, and fractions."""
    (tmp_path / "labels").mkdir()
    write(tmp_path / "labels")
    return tmp_path / "labels"


def write(folder, change=lambda table, k: table, **options):
    fractions().to_csv(folder / FRACTIONS, sep="\t")
    for k, name in enumerate(mixed_cells.TYPES):
        table = pd.DataFrame(DATA["expression"][k].T, PATIENTS, GENES)
        change(table, k).to_csv(folder / f"{name}.tsv", sep="\t", **options)


def read(folder):
    with h5py.File(folder.parent / "targets.h5") as file:
        return file["abundance/cell_types"].asstr()[:].tolist(), file["abundance/labels"][:], {
            name: pd.DataFrame(group["labels"][:], PATIENTS, group["genes"].asstr()[:])
            for name, group in file["expression"].items()}


def fails(done, *words):
    assert done.returncode == 1 and done.stderr.count("\n") == 1, done.stderr
    assert all(word in done.stderr for word in words), done.stderr


def test_diagnostics_of_cibersortx_are_no_cell_types(folder, run_script):
    table = fractions().assign(**{"P-value": 0, "Correlation": .9, "RMSE": .7})
    table.to_csv(folder / FRACTIONS, sep="\t", index_label="Mixture")
    done = run_script(SCRIPT, folder.parent, "--labels", folder)
    assert done.returncode == 0 and "P-value, Correlation, RMSE" in done.stdout, done.stderr
    cell_types, labels, _ = read(folder)
    assert cell_types == mixed_cells.TYPES
    np.testing.assert_allclose(labels, DATA["fractions"], rtol=1e-5)
    zero = fractions().copy()   # pandas 2 writes into what a table was made of
    zero.iloc[3, 1] = -1e-17     # of least squares
    zero.div(zero.sum(axis=1), axis=0).to_csv(folder / FRACTIONS, sep="\t")
    done = run_script(SCRIPT, folder.parent, "--labels", folder, "--overwrite")
    assert done.returncode == 0 and read(folder)[1][3, 1] == 0, done.stderr
    write_known = fractions().assign(Correlation=.9)
    write_known.to_csv(folder.parent / "known.tsv", sep="\t")
    assert list(fraction_table.read(folder.parent / "known.tsv")[0]) == mixed_cells.TYPES


@pytest.mark.parametrize("change, words", [
    (lambda t: t.drop("P003").reindex(t.index), "P003"), (lambda t: t.replace(t.loc["P003", "CAFs"], np.inf), "P003"),
    (lambda t: t - .5, "negative"), (lambda t: t.iloc[:, :2], "do not sum to 1"),
    (lambda t: t * 3, "--scale-fractions"),
    (lambda t: pd.concat([t, t.iloc[:1]]), "more than one row for P000"),
    (lambda t: t.rename(columns={"CAFs": "fibroblasts"}), "no fractions of CAFs"),
    (lambda t: t.assign(Purity=.5), "do not sum to 1")])
def test_what_are_no_fractions_is_refused(folder, change, words):
    change(fractions()).to_csv(folder / FRACTIONS, sep="\t")
    with pytest.raises(ValueError, match=words):
        label_tables.from_tables(label_tables.table_files(folder), label_tables.Said(), "other")


def test_a_lost_column_leaves_nothing_behind(folder, run_script):
    fractions().iloc[:, :1].to_csv(folder / FRACTIONS, sep="\t")
    fails(run_script(SCRIPT, folder.parent, "--labels", folder), "do not sum to 1")
    assert not (folder.parent / "targets.h5").exists()


def test_percent_and_absolute_scores(folder, run_script):
    (fractions() * 100).to_csv(folder / FRACTIONS, sep="\t")
    done = run_script(SCRIPT, folder.parent, "--labels", folder)
    assert done.returncode == 0 and "sum to 100" in done.stdout
    np.testing.assert_allclose(read(folder)[1], DATA["fractions"], rtol=1e-4)
    (fractions() * np.linspace(1, 4, len(PATIENTS))[:, None]).to_csv(folder / FRACTIONS, sep="\t")
    done = run_script(SCRIPT, folder.parent, "--labels", folder, "--scale-fractions", "--overwrite")
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(read(folder)[1], DATA["fractions"], rtol=1e-4)


@pytest.mark.parametrize("value", [np.inf, -5, 1e30])
def test_impossible_labels_are_refused(folder, value):
    def change(table, k):
        table.iloc[3, 4] = value
        return table
    write(folder, change)
    with pytest.raises(ValueError, match="CAFs.tsv.*P003"):
        list(label_tables.from_tables(label_tables.table_files(folder), label_tables.Said(), "other").tables)


def test_a_table_that_was_cut_off_is_refused(folder):
    path = folder / "CAFs.tsv"
    path.write_text(path.read_text()[:-100])
    with pytest.raises(ValueError, match="CAFs.tsv.*cut off"):
        list(label_tables.from_tables(label_tables.table_files(folder), label_tables.Said(), "other").tables)


def test_genes_without_values_are_dropped_and_counted(folder, run_script):
    """CIBERSORTx high resolution: genes x samples, NA for genes that it could not impute."""
    for k, name in enumerate(mixed_cells.TYPES):
        (folder / f"{name}.tsv").unlink()
        table = pd.DataFrame(DATA["expression"][k], GENES, PATIENTS)
        table.iloc[:7] = np.nan
        table.to_csv(folder / f"CIBERSORTxHiRes_Job3_{name.replace(' ', '')}_Window16.txt", sep="\t", na_rep="NA",
                     index_label="GeneSymbol")
    done = run_script(SCRIPT, folder.parent, "--labels", folder, "--genes-in-rows")
    assert done.returncode == 0 and done.stdout.count("rows without any value left out: 7 (GENE0") == 4, done.stderr
    assert set(read(folder)[2]) <= set(mixed_cells.TYPES)


def test_expression_times_abundance_is_refused_and_divided(folder, run_script):
    """BayesPrism's Z goes with the fraction, so a model would learn abundance."""
    write(folder, lambda table, k: table.mul(DATA["fractions"][:, k], axis=0))
    fails(run_script(SCRIPT, folder.parent, "--labels", folder), "--divide-by-fractions", "median r")
    done = run_script(SCRIPT, folder.parent, "--labels", folder, "--divide-by-fractions")
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(folder.parent / "deconvolution" / "target_genes.csv", index_col=0)
    assert (table["median_r_with_fraction"].abs() < .4).all()
    summary = pd.read_csv(folder.parent / "deconvolution" / "summary.csv", index_col=0)
    np.testing.assert_allclose(summary["median_r_with_fraction"], table.loc[summary.index, "median_r_with_fraction"],
                               rtol=1e-2, atol=1e-3)
    np.testing.assert_allclose(summary["mean_fraction"], fractions().mean(), rtol=1e-4)
    labels, share = read(folder)[2], DATA["fractions"]
    for k, name in enumerate(mixed_cells.TYPES):
        expected = pd.DataFrame(np.log2(DATA["expression"][k].T * share[:, k].mean() + 1), PATIENTS, GENES)
        np.testing.assert_allclose(labels[name], expected[list(labels[name])], rtol=1e-3)


def test_r_with_fraction_is_that_of_numpy():
    random = np.random.default_rng(0)
    labels, share = random.normal(size=(30, 5)), random.random(30)
    expected = np.median([np.corrcoef(column, share)[0, 1] for column in labels.T])
    assert target_labels.r_with_fraction(labels, share) == pytest.approx(expected)
    assert np.isnan(target_labels.r_with_fraction(np.ones((30, 2)), share))


def test_logarithms_of_bmind(folder, run_script):
    write(folder, lambda table, k: np.log2(table + 1))
    fails(run_script(SCRIPT, folder.parent, "--labels", folder), "look like logarithms")
    done = run_script(SCRIPT, folder.parent, "--labels", folder, "--log2")
    assert done.returncode == 0, done.stderr
    labels = read(folder)[2]["CAFs"]
    expected = pd.DataFrame(np.log2(DATA["expression"][2].T + 1), PATIENTS, GENES)
    np.testing.assert_allclose(labels, expected[list(labels)], rtol=1e-4)
    fails(run_script(SCRIPT, folder.parent, "--log2"), "about --labels")
