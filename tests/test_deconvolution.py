"""1main_deconvolution.py and prepare_targets.py as a user runs them."""
import shutil

import h5py
import numpy as np
import pandas as pd
import pytest

import mixed_cells

SCRIPT, TARGETS = "deconvolution/1main_deconvolution.py", "deconvolution/prepare_targets.py"
OUTPUTS = ["confidence_score.txt", "estimated_cell_fractions.txt", "expression.h5", "report.pdf", "summary.csv"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory, run_script):
    """A project deconvolved once; tests copy it."""
    project = mixed_cells.write(tmp_path_factory.mktemp("cohort") / "finished", mixed_cells.mix())
    done = run_script(SCRIPT, project, "--text")
    assert done.returncode == 0, done.stderr
    return project


@pytest.fixture
def project(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "project")


def fails(done, *words):
    """One line on stderr that has all the words, no traceback."""
    assert done.returncode != 0
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("error: "), done.stderr
    assert all(word in done.stderr for word in words), done.stderr


def test_outputs_agree_and_resemble_the_truth(finished):
    folder, data = finished / "deconvolution", mixed_cells.mix()
    assert sorted(path.name for path in folder.iterdir() if not path.name.startswith("expression_")) == OUTPUTS
    fractions = pd.read_csv(folder / "estimated_cell_fractions.txt", sep="\t", index_col=0)
    confidence = pd.read_csv(folder / "confidence_score.txt", sep="\t", index_col=0)
    assert list(fractions) == list(confidence) == mixed_cells.TYPES
    assert list(fractions.index) == list(data["bulk"]) and list(confidence.index) == list(data["bulk"].index)
    assert np.corrcoef(fractions.to_numpy().ravel(), data["fractions"].ravel())[0, 1] > .95
    with h5py.File(folder / "expression.h5") as file:
        assert file["expression"].shape == (4, 240, 60) and file["expression"].dtype == np.float32
        assert file["genes"].asstr()[:].tolist() == list(confidence.index)
        assert file.attrs["method"] == "native"
        np.testing.assert_allclose(file["bulk"][:], data["bulk"], rtol=1e-6)
        text = pd.read_csv(folder / "expression_T-cells.txt", sep=" ", index_col=0)
        np.testing.assert_allclose(text, file["expression"][1], rtol=1e-4, atol=1e-4)


def test_rerun_skips_and_names_what_differs(project, run_script):
    assert "skipped" in run_script(SCRIPT, project, "--text").stdout
    fails(run_script(SCRIPT, project, "--text", "--seed", 3), "seed was 42, now 3", "--overwrite")
    table = pd.read_csv(project / "bulk_expression.tsv", sep="\t", index_col=0)
    (table * 2).to_csv(project / "bulk_expression.tsv", sep="\t")
    fails(run_script(SCRIPT, project, "--text"), "bulk_expression", "--overwrite")


def test_known_fractions_are_kept(project, run_script):
    data = mixed_cells.mix()
    table = pd.DataFrame(data["fractions"], data["bulk"].columns, mixed_cells.TYPES)
    table.iloc[::-1, ::-1].to_csv(project / "known.tsv", sep="\t")
    done = run_script(SCRIPT, project, "--fractions", project / "known.tsv", "--overwrite")
    assert done.returncode == 0, done.stderr
    written = pd.read_csv(project / "deconvolution/estimated_cell_fractions.txt", sep="\t", index_col=0)
    np.testing.assert_allclose(written, table, atol=1e-5)
    table.iloc[1:].to_csv(project / "known.tsv", sep="\t")
    fails(run_script(SCRIPT, project, "--fractions", project / "known.tsv", "--overwrite"), "lacks P000")
    table.rename(columns={"T-cells": "T.cells"}).to_csv(project / "known.tsv", sep="\t")
    fails(run_script(SCRIPT, project, "--fractions", project / "known.tsv", "--overwrite"), "lacks T-cells (T.cells?)")
    more = pd.concat([table, table.iloc[:1].set_axis(["P999"])])
    more.to_csv(project / "known.tsv", sep="\t")
    done = run_script(SCRIPT, project, "--fractions", project / "known.tsv", "--overwrite")
    assert "known.tsv: patients that are not in bulk, not used: 1 (P999)" in done.stdout, done.stderr


def test_a_cell_type_of_the_reference_alone_is_said(project, run_script):
    path = project / "signature.tsv"
    pd.read_csv(path, sep="\t", index_col=0).drop(columns="CAFs").to_csv(path, sep="\t")
    done = run_script(SCRIPT, project, "--overwrite")
    assert "reference.tsv: cell types that the signature lacks, not used: 1 (CAFs)" in done.stdout, done.stderr


def test_batches_of_a_column_are_removed_and_what_is_wrong_with_them_said(project, run_script):
    bulk = pd.read_csv(project / "bulk_expression.tsv", sep="\t", index_col=0)
    fails(run_script(SCRIPT, project, "--batch", "Centre", "--overwrite"), "Centre", "clinical.csv", "not there")
    clinical = pd.DataFrame({"Patient.ID": bulk.columns, "Centre": ["A", "B", "B"] * 20, "One": "A", "Rare": "A"})
    clinical.loc[:2, "Rare"], clinical["Gap"] = "B", clinical["Centre"].where(clinical.index > 0, "")
    clinical.to_csv(project / "clinical.csv", index=False)
    for column, *words in (("Center", "no column Center", "Centre?"), ("One", "One A", "leave out --batch"),
                           ("Rare", "fewer than 5", "Rare B"), ("Gap", "no Gap of 1", "P000")):
        fails(run_script(SCRIPT, project, "--batch", column, "--overwrite"), *words)
    fails(run_script(SCRIPT, project, "--batch", "Centre", "--text"), "batch", "--overwrite")
    done = run_script(SCRIPT, project, "--batch", "Centre", "--text", "--overwrite")
    assert done.returncode == 0, done.stderr
    assert "2 batches of Centre (patients: 20, 40) were removed" in done.stdout
    assert "skipped" in run_script(SCRIPT, project, "--batch", "Centre", "--text").stdout
    clinical.assign(Centre=["A", "B", "C"] * 20).to_csv(project / "clinical.csv", index=False)
    fails(run_script(SCRIPT, project, "--batch", "Centre", "--text"), "batches", "--overwrite")


def test_a_sample_given_twice_is_named_and_counted_once(project, run_script):
    bulk = pd.read_csv(project / "bulk_expression.tsv", sep="\t", index_col=0)
    bulk.assign(P900=bulk["P003"] * 2).to_csv(project / "bulk_expression.tsv", sep="\t")
    done = run_script(SCRIPT, project, "--overwrite")
    assert done.returncode == 0, done.stderr
    assert "61 patients are 60 samples: bulk of P003=P900 is the same" in done.stdout
    fractions = pd.read_csv(project / "deconvolution/estimated_cell_fractions.txt", sep="\t", index_col=0)
    assert len(fractions) == 61 and (fractions.loc["P003"] == fractions.loc["P900"]).all()


def changed(name, change):
    def apply(project):
        path = project / f"{name}.tsv"
        change(pd.read_csv(path, sep="\t", index_col=0)).to_csv(path, sep="\t")
    return apply


def with_value(row, column, value):
    def change(table):
        table.iloc[row, column] = value
        return table
    return change


def nearly_copied(table):
    table["CAFs"] = table["T-cells"]
    return table


BAD = {
    "logarithms": (changed("bulk_expression", lambda t: np.log2(t + 1)), "logarithms"),
    "negative": (changed("bulk_expression", with_value(0, 1, -1)), "negative", "P001"),
    "missing value": (changed("bulk_expression", with_value(0, 2, np.nan)), "missing", "P002"),
    "text": (changed("bulk_expression", lambda t: t.astype(object).pipe(with_value(3, 3, "high"))),
             "no number", "P003"),
    "silent patient": (changed("bulk_expression", lambda t: t.assign(P004=0)), "without any expression", "P004"),
    "too few": (changed("bulk_expression", lambda t: t.iloc[:, :2]), "2 patients", "too few"),
    "patient twice": (changed("bulk_expression", lambda t: t.rename(columns={"P001": "P000"})), "twice", "P000"),
    "no common genes": (changed("signature", lambda t: t.rename(index="MOUSE{}".format)), "no gene in common", "GENE0"),
    "few markers": (changed("signature", lambda t: t.rename(index=lambda g: g if g < "GENE3" else f"X{g}")),
                    "%) are missing in bulk", "--min-markers-found"),
    "Ensembl": (changed("bulk_expression", lambda t: t.set_axis([f"ENSG{g:011}.2" for g in range(len(t))])),
                "--gene-map"),
    "collinear": (changed("signature", nearly_copied), "CAFs and T-cells", "cannot be told apart"),
    "transposed": (changed("bulk_expression", lambda t: t.T), "has patients in rows", "transpose"),
    "type by another name in reference": (changed("reference", lambda t: t.rename(columns={"T-cells": "T.cells"})),
                                          "lacks cell types", "T-cells (T.cells?)"),
    "type not in reference": (changed("reference", lambda t: t.drop(columns="CAFs")), "lacks cell types", "CAFs"),
    "type no folder name": (changed("signature", lambda t: t.rename(columns={"CAFs": "../CAFs"})), "'../CAFs'"),
    "no signature": (lambda project: (project / "signature.tsv").unlink(), "no signature.tsv"),
    "two bulks": (lambda project: shutil.copy(project / "bulk_expression.tsv", project / "bulk_expression.tsv.gz"),
                  "remove one"),
}


@pytest.mark.parametrize("damage", BAD)
def test_bad_input_is_one_line_and_changes_nothing(project, run_script, damage):
    change, *words = BAD[damage]
    before = (project / "deconvolution/expression.h5").read_bytes()
    change(project)
    fails(run_script(SCRIPT, project, "--overwrite"), *words)
    assert (project / "deconvolution/expression.h5").read_bytes() == before


def test_odd_rows_are_left_out_and_counted(project, run_script):
    table = pd.read_csv(project / "bulk_expression.tsv", sep="\t", index_col=0)
    table.iloc[200] = 0
    table = table.rename(index={"GENE210": "gene211", "GENE5": "Gene5"})
    table.to_csv(project / "bulk_expression.tsv", sep="\t", index_label="Hugo symbol")
    done = run_script(SCRIPT, project, "--overwrite")
    assert done.returncode == 0, done.stderr
    assert "left out 1 genes that are zero everywhere: GENE200" in done.stdout
    assert "left out 2 rows of repeated genes (all copies): gene211, GENE211" in done.stdout
    scores = pd.read_csv(project / "deconvolution/confidence_score.txt", sep="\t", index_col=0)
    assert len(scores) == 237 and "Gene5" in scores.index


def test_a_gene_map_translates_ensembl_ids(project, run_script):
    table = pd.read_csv(project / "bulk_expression.tsv", sep="\t", index_col=0)
    ids = [f"ENSG{g:011}" for g in range(len(table))]
    pd.Series(table.index[:-1], ids[:-1]).to_csv(project / "map.tsv", sep="\t", header=["symbol"], index_label="id")
    table.set_axis([f"{i}.7" for i in ids]).to_csv(project / "bulk_expression.tsv", sep="\t")
    done = run_script(SCRIPT, project, "--overwrite", "--gene-map", project / "map.tsv")
    assert done.returncode == 0, done.stderr
    assert "1 Ensembl ids without a symbol left out" in done.stdout
    assert "GENE238" in (project / "deconvolution/confidence_score.txt").read_text()


def test_patients_on_another_scale_are_scaled_and_named(project, run_script):
    table = pd.read_csv(project / "bulk_expression.tsv", sep="\t", index_col=0)
    table["P007"] *= 1000
    table.to_csv(project / "bulk_expression.tsv", sep="\t")
    done = run_script(SCRIPT, project, "--overwrite")
    assert done.returncode == 0 and "scaled to their median: P007" in done.stdout


def test_few_patients_are_deconvolved_without_factors(project, run_script):
    changed("bulk_expression", lambda table: table.iloc[:, :11])(project)
    done = run_script(SCRIPT, project, "--overwrite")
    assert done.returncode == 0 and "no factors" in done.stdout
    fails(run_script(TARGETS, project), "no gene of any cell type")


def test_targets(project, run_script):
    done = run_script(TARGETS, project, "--bulk")
    assert done.returncode == 0, done.stderr
    scores = pd.read_csv(project / "deconvolution/confidence_score.txt", sep="\t", index_col=0)
    counts = pd.read_csv(project / "deconvolution/target_genes.csv", index_col=0)
    with h5py.File(project / "targets.h5") as file, h5py.File(project / "deconvolution/expression.h5") as source:
        assert file.attrs["log_base"] == 2 and file.attrs["min_confidence"] == .95
        assert len(file.attrs["deconvolution_sha256"]) == 64
        np.testing.assert_allclose(file["abundance/labels"][:].sum(axis=1), 1, atol=1e-5)
        for k, name in enumerate(mixed_cells.TYPES):
            kept = scores.index[scores[name] >= .95].tolist()
            assert counts.loc[name, "confident"] == len(kept)
            if not kept:
                assert name not in file["expression"]
                continue
            genes = file[f"expression/{name}/genes"].asstr()[:].tolist()
            assert set(genes) <= set(kept) and len(genes) == counts.loc[name, "variable"]
            np.testing.assert_allclose(file[f"expression/{name}/labels"][:], rtol=1e-5, desired=np.log2(
                source["expression"][k][scores.index.get_indexer(genes)].T + 1))
        assert file["expression/Bulk/labels"].shape == (60, 240)
    assert "skipped" in run_script(TARGETS, project, "--bulk").stdout
    fails(run_script(TARGETS, project), "bulk was True, now False", "--overwrite")


def test_targets_take_a_gene_list_and_another_base(project, run_script):
    (project / "genes.txt").write_text("GENE1\nGENE3\n")
    done = run_script(TARGETS, project, "--genes", project / "genes.txt", "--log-base", 10, "--confidence", 0)
    assert done.returncode == 0, done.stderr
    with h5py.File(project / "targets.h5") as file:
        assert file["expression/CAFs/genes"].asstr()[:].tolist() == ["GENE1", "GENE3"]
        assert file.attrs["log_base"] == 10


@pytest.mark.parametrize("listed", ["\ufeffGENE1\r\nGENE3\r\n", "gene1, gene3", '"GENE1"\n"GENE3"\n'])
def test_a_gene_list_is_read_as_people_write_it(project, run_script, listed):
    (project / "genes.txt").write_text(listed + " NOGENE")
    done = run_script(TARGETS, project, "--genes", project / "genes.txt", "--confidence", 0)
    assert done.returncode == 0 and "genes.txt: no genes of the labels: 1 (NOGENE)" in done.stdout, done.stderr
    with h5py.File(project / "targets.h5") as file:
        assert file["expression/CAFs/genes"].asstr()[:].tolist() == ["GENE1", "GENE3"]


@pytest.mark.parametrize("content, words", [(b"A\nB\n", "none of 2 (A, B) is a gene of the labels"),
                                            (b"PK\x03\x04", "Excel"), (b"", "none of 0")])
def test_a_gene_list_of_other_things_is_refused(project, run_script, content, words):
    (project / "genes.txt").write_bytes(content)
    done = run_script(TARGETS, project, "--genes", project / "genes.txt")
    assert done.returncode == 1 and words in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr


def test_targets_from_tables_of_another_tool(tmp_path, run_script):
    data, folder = mixed_cells.mix(), tmp_path / "other"
    folder.mkdir()
    patients = data["bulk"].columns
    fractions = pd.DataFrame(data["fractions"], patients, mixed_cells.TYPES)
    fractions.to_csv(folder / "estimated_cell_fractions.txt", sep="\t")
    cancer = pd.DataFrame(data["expression"][0].T, patients, data["bulk"].index)
    cancer.iloc[::-1].to_csv(folder / "Cancer Epithelial.csv")
    done = run_script(TARGETS, tmp_path, "--labels", folder)
    assert done.returncode == 0, done.stderr
    with h5py.File(tmp_path / "targets.h5") as file:
        assert file["patient_ids"].asstr()[:].tolist() == patients.tolist()
        group = file["expression/Cancer Epithelial"]
        labels, genes = group["labels"][:], group["genes"].asstr()[:]
        np.testing.assert_allclose(labels, np.log2(data["expression"][0][data["bulk"].index.get_indexer(genes)].T + 1),
                                   rtol=1e-5)
    fails(run_script(TARGETS, tmp_path, "--labels", folder, "--genes-in-rows", "--overwrite"), "patients are not those")


def test_targets_need_a_deconvolution(tmp_path, run_script):
    fails(run_script(TARGETS, tmp_path), "run deconvolution/1main_deconvolution.py first")
