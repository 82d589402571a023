"""Over-representation against scipy's Fisher test; the script on planted gene sets, and what it refuses."""
import json
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from scipy.stats.contingency import odds_ratio

from evaluation import gene_sets

BACKGROUND = {f"G{i}" for i in range(60)}


def members(*numbers):
    return {f"G{i}" for i in numbers}


def sets_of(random, n_sets):
    return {f"SET{i}": {f"G{gene}" for gene in random.choice(90, random.integers(5, 40), replace=False)}
            for i in range(n_sets)}


def test_p_and_odds_ratio_are_those_of_scipy():
    random = np.random.default_rng(0)
    chosen = set(random.choice(sorted(BACKGROUND), 17, replace=False))
    sets = sets_of(random, 30)
    table = gene_sets.over_representation(chosen, BACKGROUND, sets, 1).set_index("term")
    assert len(table) == 30
    for term, row in table.iterrows():
        genes = sets[term] & BACKGROUND
        counts = np.array([[len(genes & chosen), len(chosen - genes)],
                           [len(genes - chosen), len(BACKGROUND - genes - chosen)]])
        assert row["p"] == pytest.approx(stats.fisher_exact(counts, alternative="greater").pvalue)
        assert row["odds_ratio"] == pytest.approx(odds_ratio(2 * counts + 1, kind="sample").statistic)  # plus a half
        assert (row["n_term"], row["n_robust"], row["n_both"]) == (len(genes), 17, counts[0, 0])
    assert table["p_benjamini_hochberg"].to_numpy() == pytest.approx(stats.false_discovery_control(table["p"]))
    assert table["p"].is_monotonic_increasing


def test_genes_outside_the_background_do_not_count():
    sets = {"A": members(*range(10))}
    larger = {"A": members(*range(10)) | {"OTHER1", "OTHER2"}}
    first, second = (gene_sets.over_representation(members(*range(5)), BACKGROUND, s, 1) for s in (sets, larger))
    pd.testing.assert_frame_equal(first, second)


def test_small_sets_are_left_out_and_counts_at_their_ends_are_finite():
    sets = {"SMALL": members(1, 2), "ALL": BACKGROUND, "NONE": members(*range(50, 60)), "SAME": members(*range(10))}
    table = gene_sets.over_representation(members(*range(10)), BACKGROUND, sets, 3).set_index("term")
    assert set(table.index) == {"ALL", "NONE", "SAME"} and np.isfinite(table["odds_ratio"]).all()
    assert table.loc["ALL", "p"] == 1 and table.loc["NONE", "p"] == 1
    assert table.loc["SAME", "p"] == pytest.approx(1 / math.comb(60, 10))


def test_gmt_is_read_as_it_is_written(tmp_path):
    path = tmp_path / "sets.gmt"
    path.write_text("FIRST\thttp://x\tCD3D\tCD3E\t\r\n\nSECOND\t\tCOL1A1 \n")
    assert gene_sets.read_gmt(path) == {"FIRST": {"CD3D", "CD3E"}, "SECOND": {"COL1A1"}}


def test_gmt_of_another_program_is_text(tmp_path):
    path = tmp_path / "sets.gmt"
    for encoding in ("utf-8-sig", "utf-16", "cp1252"):
        path.write_bytes("FIRST\tKöln\tCD3D\n".encode(encoding))
        assert gene_sets.read_gmt(path) == {"FIRST": {"CD3D"}}


@pytest.mark.parametrize("text, words", [("A\tx\n", "line 1: no genes"), ("A\tx\tG1\nA\tx\tG2\n", "line 2: a second"),
                                         ("\n", "has no gene set"), ("A,x,G1\n", "between tabs")])
def test_bad_gmt_is_named(tmp_path, text, words):
    path = tmp_path / "sets.gmt"
    path.write_text(text)
    with pytest.raises(ValueError, match=words):
        gene_sets.read_gmt(path)


@pytest.fixture
def project(tmp_path):
    """Two cell types; of CAFs the genes of PLANTED are robust, of T-cells none is."""
    results = tmp_path / "cohort" / "results"
    results.mkdir(parents=True)
    for cell_type, r in (("CAFs", np.r_[np.full(10, 0.6), np.full(40, 0.1)]), ("T-cells", np.linspace(0.4, 0, 50))):
        pd.DataFrame({"gene": [f"G{i}" for i in range(50)] + ["CONSTANT"], "pearson_r": [*r, np.nan]}).to_csv(
            results / f"{cell_type}_genes.csv", index=False)
    lines = [("PLANTED", range(12)), ("ELSEWHERE", range(20, 35)), ("ABSENT", range(100, 120))]
    (tmp_path / "sets.gmt").write_text("".join(
        "\t".join([name, "", *(f"G{i}" for i in genes)]) + "\n" for name, genes in lines))
    return results.parent


def test_script_finds_the_planted_set_and_repeats_only_for_other_inputs(project, run_script):
    command = "prediction/enrich_genes.py", project, "--gmt", project.parent / "sets.gmt"
    done = run_script(*command)
    assert done.returncode == 0, done.stderr
    assert "T-cells: no robust gene among 50, left out" in done.stdout
    assert "CAFs: 10 of 50 genes, 1 of 2 gene sets enriched" in done.stdout
    path = project / "results" / "enrichment.csv"
    table = pd.read_csv(path)
    assert table["term"].tolist() == ["PLANTED", "ELSEWHERE"] and set(table["cell_type"]) == {"CAFs"}
    expected = stats.fisher_exact([[10, 0], [2, 38]], alternative="greater").pvalue
    assert table["p"][0] == pytest.approx(expected, rel=1e-5)
    assert "finished" in run_script(*command).stdout
    done = run_script(*command, "--top", 5)
    assert done.returncode == 0 and "T-cells: 5 of 50 genes" in done.stdout
    table = pd.read_csv(path)
    assert set(table["n_robust"]) == {5} and set(table["cell_type"]) == {"CAFs", "T-cells"}
    assert table.groupby("term")["scaled_odds_ratio"].max().tolist() == [1, 1]
    assert json.loads((project / "results" / "enrichment.json").read_text())["top"] == 5


def test_more_genes_than_there_are_cannot_be_the_best(project, run_script):
    done = run_script("prediction/enrich_genes.py", project, "--gmt", project.parent / "sets.gmt", "--top", 500)
    assert done.returncode == 0 and "CAFs: all 50 genes are chosen, so that no gene set can be over-" in done.stdout


def test_a_gene_in_the_place_of_the_description_is_told(project, run_script):
    (project.parent / "sets.gmt").write_text("PLANTED\t" + "\t".join(f"G{i}" for i in range(12)) + "\nB\tx\tG1\n")
    done = run_script("prediction/enrich_genes.py", project, "--gmt", project.parent / "sets.gmt")
    assert done.returncode == 0 and "genes in the column of descriptions of 1 (PLANTED: G0): they do" in done.stdout


def test_nothing_to_test_is_one_clear_line(project, run_script):
    gmt = project.parent / "mouse.gmt"
    gmt.write_text("A\t\tCol1a1\tCol3a1\tFn1\tVim\tSparc\n")
    done = run_script("prediction/enrich_genes.py", project, "--gmt", gmt)
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "--top N" in done.stderr
    assert not (project / "results" / "enrichment.csv").exists()


@pytest.mark.parametrize("broken, words", [("sets.gmt", "give a GMT file"), ("cohort/results", "collect_results.py")])
def test_missing_inputs_are_named(project, run_script, broken, words):
    path = project.parent / broken
    path.rename(path.with_name("elsewhere"))
    done = run_script("prediction/enrich_genes.py", project, "--gmt", project.parent / "sets.gmt")
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and words in done.stderr
