"""Figures show what the tables say: the drawn data are compared with the tables, not the pixels."""
import h5py
import numpy as np
import pandas as pd
import pytest

import figure_panels

CELL_TYPES = ["Cancer Epithelial", "CAFs"]
THRESHOLDS = (0.40, 0.45, 0.50, 0.55, 0.60)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project folder with small result tables of two cell types."""
    rng = np.random.default_rng(0)
    results = tmp_path_factory.mktemp("project") / "results"
    results.mkdir()
    rows = []
    for cell_type in CELL_TYPES:
        r = rng.uniform(-0.2, 0.9, 20)
        pd.DataFrame({"gene": [f"G{i}" for i in range(20)], "pearson_r": r}).to_csv(
            results / f"{cell_type}_genes.csv", index=False)
        counts = {f"n_r_above_{limit:.2f}": int((r > limit).sum()) for limit in THRESHOLDS}
        for model, penalty in (("slide-ex", 0), ("shuffled labels", 0.4)):
            rows.append({"target": cell_type, "model": model, "n_patients": 30, "n_genes": 20,
                         "median_r": np.median(r) - penalty, **counts})
    pd.DataFrame(rows).to_csv(results / "summary.csv", index=False)
    pd.DataFrame({"cell_type": CELL_TYPES, "n_patients": 30, "pearson_r": [0.71, 0.52], "spearman_rho": [0.6, 0.4]}
                 ).to_csv(results / "abundance.csv", index=False)
    pd.DataFrame([{"n_patients": 30, "n_pcr": 10, "auc": 0.7, "auc_low": 0.6, "auc_high": 0.8}]
                 ).to_csv(results / "direct.csv", index=False)
    with h5py.File(results / "predictions.h5", "w") as file:
        file["abundance/cell_types"] = CELL_TYPES
        file["abundance/labels"] = rng.random((30, 2))
        file["abundance/predictions"] = rng.random((30, 2))
        file["direct/labels"] = np.repeat([0, 1], [20, 10])
        file["direct/predictions"] = rng.random(30)
    return results.parent


def test_counts_and_medians_drawn_are_those_of_the_tables(project):
    figure = figure_panels.predictability(project / "results")
    summary = pd.read_csv(project / "results" / "summary.csv")
    _, middle, right = figure.axes
    widths = [[bar.get_width() for bar in container] for container in middle.containers]
    model = summary[summary["model"] == "slide-ex"].filter(like="n_r_above_")
    assert widths == model.to_numpy().T.tolist()
    medians = [points.get_offsets()[:, 0].tolist() for points in right.collections]
    assert medians == [group["median_r"].tolist() for _, group in summary.groupby("model", sort=False)]


def test_abundance_points_and_titles_are_those_of_the_tables(project):
    figure = figure_panels.abundance(project / "results")
    with h5py.File(project / "results" / "predictions.h5") as file:
        for column, axis in enumerate(figure.axes[:2]):
            points = axis.collections[0].get_offsets()
            assert np.array_equal(points[:, 0], file["abundance/labels"][:, column])
            assert np.array_equal(points[:, 1], file["abundance/predictions"][:, column])
    assert "R 0.71, rho 0.60, n 30" in figure.axes[0].get_title()


def test_roc_curve_has_the_area_of_its_points(project):
    from sklearn.metrics import auc, roc_auc_score
    line = figure_panels.response(project / "results").axes[0].lines[0]
    with h5py.File(project / "results" / "predictions.h5") as file:
        expected = roc_auc_score(file["direct/labels"][:], file["direct/predictions"][:])
    assert auc(line.get_xdata(), line.get_ydata()) == pytest.approx(expected)
    assert "AUC 0.70 (0.60 to 0.80)" in line.get_label()


def test_script_draws_skips_and_draws_again_when_a_table_changed(project, run_script):
    first = run_script("prediction/figures.py", project)
    assert first.returncode == 0, first.stderr
    names = {path.name for path in (project / "figures").iterdir()}
    assert names == {"figures.json", *(f"{name}.{suffix}" for suffix in ("pdf", "png") for name in (
        "fig2_predictability", "fig3_abundance", "fig4_response"))}
    assert "have not changed" in run_script("prediction/figures.py", project).stdout
    (project / "results" / "direct.csv").write_text("n_patients,n_pcr,auc,auc_low,auc_high\n30,10,0.5,0.4,0.6\n")
    assert "fig4_response" in run_script("prediction/figures.py", project).stdout


def test_missing_tables_are_one_clear_line(tmp_path, run_script):
    done = run_script("prediction/figures.py", tmp_path)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and "run prediction/collect_results.py first" in done.stderr
