"""Figures show what the tables say: the drawn data are compared with the tables, not the pixels."""
import json

import figures
import h5py
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.container import BarContainer
from sklearn.metrics import auc, roc_auc_score

import simulated_results
from drawing import abundance, enrichment, external_cohorts, figure_files, overview, predictability, response, training
from slide_ex import record

CELL_TYPES = simulated_results.CELL_TYPES[1:4]
KINDS = {"CAFs": "cell type", "Endothelial": "cell type", "CAFs + Endothelial": "ensemble", "Bulk": "bulk",
         "direct": "direct"}


@pytest.fixture(scope="module")
def project(tmp_path_factory, run_script):
    """A project with three cell types of 20 genes, an external cohort beside it, response and enrichment."""
    folder = tmp_path_factory.mktemp("cohorts")
    project = simulated_results.write(folder / "cohort", CELL_TYPES, 20)
    external = simulated_results.write_external(folder / "hospital2", project)
    simulated_results.write_response(project / "response" / "out_of_fold", KINDS)
    simulated_results.write_survival(project / "survival" / "Event_out_of_fold", KINDS)
    simulated_results.write_response(external / "response" / "cohort", KINDS, seed=3)
    sets = simulated_results.write_gene_sets(folder / "sets.gmt", 20)
    done = run_script("prediction/enrich_genes.py", project, "--gmt", sets, "--min-genes", 2)
    assert done.returncode == 0, done.stderr
    return project


@pytest.fixture(scope="module")
def external(project):
    return {"hospital2": project.parent / "hospital2"}


@pytest.fixture(autouse=True)
def closed_figures():
    yield
    plt.close("all")


def bars(axis):
    """Widths of the horizontal bars of an axis, a list per colour or cohort."""
    return [[bar.get_width() for bar in container] for container in axis.containers
            if isinstance(container, BarContainer)]


def genes_of(folder, cell_type):
    return pd.read_csv(folder / f"{cell_type}_genes.csv").set_index("gene")


def test_overview_counts_slides_tiles_and_genes(project):
    figure = overview.overview(project)
    flow, histogram, filters = figure.axes
    with h5py.File(project / "features.h5") as file:
        n_tiles = np.diff(file["first_tile"][:])
    assert sum(bar.get_height() for bar in histogram.patches) == len(n_tiles)
    text = " ".join(box.get_text() for box in flow.texts)
    for words in (f"{len(n_tiles)} slides", f"{n_tiles.sum():,} tiles", "30 patients", "5 x 5 folds", "uni2-h",
                  "3 cell types", "60 outputs"):
        assert words in text
    table = pd.read_csv(project / "deconvolution" / "target_genes.csv")
    assert bars(filters) == table.iloc[:, 1:].to_numpy().T.tolist()


def test_overview_of_imported_data_does_without_filters_and_results(project, tmp_path):
    (tmp_path / "features.h5").write_bytes((project / "features.h5").read_bytes())
    assert len(overview.overview(tmp_path).axes) == 2


def test_counts_medians_and_quartiles_are_those_of_the_tables(project):
    left, middle, right = predictability.predictability(project).axes
    summary = pd.read_csv(project / "results" / "summary.csv")
    summary = summary[summary["target"].isin(CELL_TYPES)]
    assert bars(middle) == summary[summary["model"] == "slide-ex"].filter(like="n_r_above_").to_numpy().T.tolist()
    medians = [points.get_offsets()[:, 0].tolist() for points in right.collections]
    assert medians == [group["median_r"].tolist() for _, group in summary.groupby("model", sort=False)]
    for line, cell_type in zip(left.lines[::2], CELL_TYPES):
        r = genes_of(project / "results", cell_type)["pearson_r"]
        assert line.get_xdata() == pytest.approx(np.percentile(r, [25, 50, 75]))


def test_examples_are_the_best_and_the_middle_robust_gene(project):
    axes = predictability.examples(project).axes
    with h5py.File(project / "results" / "predictions.h5") as file:
        for i, cell_type in enumerate(CELL_TYPES):
            r = genes_of(project / "results", cell_type)["pearson_r"].sort_values(ascending=False)
            robust = r[r > 0.4]
            for axis, gene in ((axes[2 * i], r.index[0]), (axes[2 * i + 1], robust.index[len(robust) // 2])):
                column = int(gene.removeprefix("GENE"))
                group = file[f"expression/{cell_type}"]
                assert np.array_equal(axis.collections[0].get_offsets(),
                                      np.stack([group["labels"][:, column], group["predictions"][:, column]], 1))
                assert f"{gene}\nR {r[gene]:.2f}" in axis.get_title()


def test_a_cell_type_without_robust_genes_says_so(tmp_path):
    project = simulated_results.write(tmp_path / "cohort", CELL_TYPES[:2], 3)
    path = project / "results" / "CAFs_genes.csv"
    pd.read_csv(path).assign(pearson_r=[0.1, 0.4, 0.3]).to_csv(path, index=False)
    first, second, *_ = predictability.examples(project).axes
    assert "GENE1\nR 0.40" in first.get_title() and "no gene with\nR > 0.4" in second.texts[0].get_text()


def test_external_cohorts_show_counts_and_overlap(project, external):
    axis, *venns = external_cohorts.external_cohorts(project, external).axes
    there = external["hospital2"] / "predictions" / "cohort"
    for container, folder in zip(axis.containers, (project / "results", there)):
        assert [bar.get_width() for bar in container] == [
            (genes_of(folder, cell_type)["pearson_r"] > 0.4).sum() for cell_type in CELL_TYPES]
    overlap = pd.read_csv(there / "overlap.csv").set_index("cell_type")
    for venn, cell_type in zip(venns, CELL_TYPES):
        first, second, both, p = overlap.loc[
            cell_type, ["n_robust_training", "n_robust_here", "n_both", "p_hypergeometric"]]
        assert [text.get_text() for text in venn.texts] == [
            f"{first - both:.0f}", f"{both:.0f}", f"{second - both:.0f}", f"p {p:.1g}"]
        assert venn.get_title().replace("\n", " ") == cell_type


@pytest.mark.parametrize("first, second, both", [(100, 60, 20), (50, 50, 50), (30, 80, 30), (40, 10, 0), (7, 0, 0),
                                                 (0, 0, 0), (4208, 3772, 3000)])
def test_circles_have_the_areas_of_their_numbers(first, second, both):
    axis = plt.figure().add_subplot()
    external_cohorts.venn(axis, pd.Series({"n_robust_training": first, "n_robust_here": second, "n_both": both,
                                          "p_hypergeometric": 0.1}), ("blue", "orange"))
    one, other = axis.patches
    assert np.pi * one.radius ** 2 * second == pytest.approx(np.pi * other.radius ** 2 * first)
    # independent of the formula: count points of a fine grid
    x, y = np.meshgrid(np.linspace(-2.1, 2.1, 1501), np.linspace(-1.1, 1.1, 801))
    inside = [(x - circle.center[0]) ** 2 + y ** 2 < circle.radius ** 2 for circle in (one, other)]
    if first:
        assert (inside[0] & inside[1]).sum() / inside[0].sum() == pytest.approx(both / first, abs=0.005)


def test_abundance_points_titles_and_bars_are_those_of_the_tables(project, external):
    *scatters, axis = abundance.abundance(project, external).axes
    table = pd.read_csv(project / "results" / "abundance.csv").set_index("cell_type")
    with h5py.File(project / "results" / "predictions.h5") as file:
        for column, (panel, cell_type) in enumerate(zip(scatters, CELL_TYPES)):
            points = panel.collections[0].get_offsets()
            assert np.array_equal(points[:, 0], file["abundance/labels"][:, column])
            assert np.array_equal(points[:, 1], file["abundance/predictions"][:, column])
            row = table.loc[cell_type]
            assert f"R {row['pearson_r']:.2f}, rho {row['spearman_rho']:.2f}, n 60" in panel.get_title()
    there = pd.read_csv(external["hospital2"] / "predictions" / "cohort" / "abundance.csv")
    assert bars(axis) == [table["pearson_r"].tolist(), there["pearson_r"].tolist()]


def test_response_curves_and_bars_are_those_of_each_setting(project, external):
    figure = response.response(project, external)
    folders = project / "response" / "out_of_fold", external["hospital2"] / "response" / "cohort"
    assert len(figure.subfigs) == len(folders) + 1  # the legend
    for part, folder in zip(figure.subfigs, folders):
        curves, areas, precisions = part.axes
        table = pd.read_csv(folder / "comparison.csv").set_index("features")
        scores = pd.read_csv(folder / "scores.csv")
        shown = [label.get_text() for label in areas.get_yticklabels()]
        assert sorted(shown) == sorted(KINDS) and shown[0] == "CAFs + Endothelial" and shown[-1] == "direct"
        lows, highs = np.array(areas.collections[0].get_segments())[:, :, 0].T
        assert lows == pytest.approx(table.loc[shown, "auc_low"])
        assert highs == pytest.approx(table.loc[shown, "auc_high"])
        assert bars(areas)[0] == table.loc[shown, "auc"].tolist()
        assert bars(precisions)[0] == table.loc[shown, "average_precision"].tolist()
        best = table.sort_values("auc").groupby("kind").tail(1).reset_index().set_index("kind")
        for line in curves.lines[:-1]:
            assert line.get_label() == best.loc[KINDS[line.get_label()], "features"]
            assert auc(*line.get_data()) == pytest.approx(roc_auc_score(scores["response"], scores[line.get_label()]))


def test_of_many_ensembles_the_best_are_shown_and_the_others_counted(tmp_path):
    pairs = {f"pair {i}": "ensemble" for i in range(8)}
    simulated_results.write_response(tmp_path / "response" / "out_of_fold", {"direct": "direct", **pairs})
    figure = response.response(tmp_path, {})
    table = pd.read_csv(tmp_path / "response" / "out_of_fold" / "comparison.csv").set_index("features")["auc"]
    shown = [label.get_text() for label in figure.axes[1].get_yticklabels()]
    assert shown == [*table.drop("direct").nlargest(5).index, "direct"]
    assert "without 3 weaker ensembles" in figure.subfigs[0].get_suptitle()


def test_without_settings_the_direct_model_is_shown_alone(tmp_path):
    project = simulated_results.write(tmp_path / "cohort", CELL_TYPES[:2], 3)
    curves, areas, _ = response.response(project, {}).axes
    table = pd.read_csv(project / "results" / "direct.csv")
    assert auc(*curves.lines[0].get_data()) == pytest.approx(table["auc"][0])
    assert bars(areas)[0] == table["auc"].tolist()


def test_enrichment_bars_and_clustered_heat_map_are_those_of_the_table(project):
    figure = enrichment.enrichment(project)
    table = pd.read_csv(project / "results" / "enrichment.csv")
    axis, _, _, _, heat, *_ = figure.axes
    first = table.groupby("cell_type").head(enrichment.N_TERMS)  # lowest p first, as it was written
    assert bars(axis)[0] == pytest.approx(-np.log10(first["p_benjamini_hochberg"]))
    assert [text.get_text().strip() for text in axis.texts] == list(CELL_TYPES)
    scaled = table.pivot(index="term", columns="cell_type", values="scaled_odds_ratio")
    shown = heat.images[0].get_array()
    columns = [label.get_text() for label in heat.get_xticklabels()]
    terms = {enrichment.shortened(term): term for term in scaled.index}
    rows = [terms[label.get_text()] for label in heat.get_yticklabels()]
    assert sorted(rows) == sorted(first["term"].unique())
    assert np.allclose(shown, scaled.loc[rows, columns])


def test_what_is_alike_stands_side_by_side(tmp_path):
    (tmp_path / "results").mkdir()
    odds = {"B-cells": [1, .1, .9, .1], "PVL": [.1, 1, .1, 1], "T-cells": [.9, .1, 1, .1]}  # alike: first and last
    pd.DataFrame([{"cell_type": cell_type, "term": f"SET{i}", "p": 0.01, "p_benjamini_hochberg": 0.02,
                   "scaled_odds_ratio": value} for cell_type, values in odds.items() for i, value in enumerate(values)]
                 ).to_csv(tmp_path / "results" / "enrichment.csv", index=False)
    heat = enrichment.enrichment(tmp_path).axes[4]
    columns = [label.get_text() for label in heat.get_xticklabels()]
    rows = [label.get_text() for label in heat.get_yticklabels()]
    assert abs(columns.index("B-cells") - columns.index("T-cells")) == 1
    assert abs(rows.index("SET0") - rows.index("SET2")) == 1 and abs(rows.index("SET1") - rows.index("SET3")) == 1


def test_one_term_in_one_cell_type_needs_no_tree(tmp_path):
    results = tmp_path / "results"
    results.mkdir()
    pd.DataFrame([{"cell_type": "CAFs", "term": "MATRIX", "p": 0, "p_benjamini_hochberg": 0, "scaled_odds_ratio": 1}]
                 ).to_csv(results / "enrichment.csv", index=False)
    axis = enrichment.enrichment(tmp_path).axes[0]
    assert bars(axis) == [[300]]  # p that underflowed to 0


def test_training_curves_are_the_histories(project):
    axes = training.training(project).axes
    assert [axis.get_title() for axis in axes] == [
        *(f"{cell_type}, 4 models" for cell_type in CELL_TYPES), "Abundance, 4 models", "Response, direct, 4 models"]
    history = pd.read_csv(project / "results" / "CAFs_preds" / "result_1_0" / "history.csv")
    curve, best = axes[0].lines[2:4]
    assert np.array_equal(curve.get_ydata(), history["valid_r"])
    assert (best.get_xdata(), best.get_ydata()) == (history["valid_r"].argmax() + 1, history["valid_r"].max())


def test_calibration_has_the_share_and_the_number_of_each_bin(project):
    curve, counts = training.calibration(project).axes
    with h5py.File(project / "results" / "predictions.h5") as file:
        table = pd.DataFrame({"pcr": file["direct/labels"][:], "p": file["direct/predictions"][:].astype(float)})
    by_bin = table.groupby(np.floor(table["p"] * 10))
    assert curve.lines[1].get_ydata() == pytest.approx(by_bin["pcr"].mean())
    assert curve.lines[1].get_xdata() == pytest.approx(by_bin["p"].mean())
    heights = sum(np.array([bar.get_height() for bar in container]) for container in counts.containers)
    n_rd = np.array([bar.get_height() for bar in counts.containers[0]]).sum()
    assert n_rd == (table["pcr"] == 0).sum() and heights.max() <= len(table)
    tops = np.array([bar.get_y() + bar.get_height() for bar in counts.containers[1]])
    assert tops[tops > 0].tolist() == by_bin.size().tolist()


def test_confidence_points_are_those_of_the_tables(project):
    for axis, cell_type in zip(training.confidence(project).axes, CELL_TYPES):
        expected = genes_of(project / "results", cell_type)[["confidence", "pearson_r"]]
        assert np.array_equal(axis.collections[0].get_offsets(), expected)


@pytest.fixture(scope="module")
def nine(tmp_path_factory, run_script):
    """As large as a figure gets, but for the number of genes: nine cell types, two external cohorts."""
    folder = tmp_path_factory.mktemp("nine")
    project = simulated_results.write(folder / "cohort", n_genes=30)
    kinds = {**dict.fromkeys(simulated_results.CELL_TYPES, "cell type"), "Endothelial + Myeloid + Plasmablasts":
             "ensemble", "Bulk": "bulk", "abundance": "abundance", "direct": "direct", "mean colour": "mean colour"}
    simulated_results.write_response(project / "response" / "out_of_fold", kinds)
    simulated_results.write_survival(project / "survival" / "Event_out_of_fold", kinds)
    simulated_results.write_external(folder / "a_hospital_with_a_longer_name", project)
    simulated_results.write_external(folder / "hospital3", project, seed=4)
    sets = simulated_results.write_gene_sets(folder / "sets.gmt", 30)
    assert run_script("prediction/enrich_genes.py", project, "--gmt", sets, "--min-genes", 2).returncode == 0
    return project


@pytest.mark.parametrize("name", figures.FIGURES)
@pytest.mark.parametrize("size", ["project", "nine"])
def test_at_journal_width_nothing_is_cut_nor_smaller_than_6_points(request, monkeypatch, size, name):
    project = request.getfixturevalue(size)
    external = {path.name: path for path in project.parent.iterdir() if (path / "predictions").is_dir()}
    figure = figures.FIGURES[name].drawn(project, external)
    width_mm = figure.get_figwidth() * 25.4
    assert width_mm == pytest.approx(180) or width_mm == pytest.approx(88)
    assert figure.get_figheight() * 25.4 <= 247  # of a page
    drawn = []
    monkeypatch.setattr(plt.Text, "draw", lambda text, renderer: drawn.append(text))  # no ticks outside the limits
    figure.draw_without_rendering()
    width, height = figure.bbox.size
    assert drawn
    for text in drawn:
        if text.get_text().strip() and text.get_visible():
            assert text.get_fontsize() >= 6, text
            box = text.get_window_extent()
            assert -1 <= box.x0 and box.x1 <= width + 1 and -1 <= box.y0 and box.y1 <= height + 1, text


def test_script_draws_what_there_is_then_only_what_changed(project, run_script):
    first = run_script("prediction/figures.py", project)
    assert first.returncode == 0, first.stderr
    assert "fig2_external: not drawn, there is no predictions/" in first.stdout
    folder, external = project / "figures", project.parent / "hospital2"
    files = {f"{name}.{suffix}" for suffix in ("pdf", "png") for name in figures.FIGURES}
    assert {path.name for path in folder.iterdir()} == {"figures.json", *files} - {
        "fig2_external.pdf", "fig2_external.png"}
    pdf = (folder / "fig6_calibration.pdf").read_bytes()
    (folder / "fig6_calibration.pdf").unlink()
    enrichment = project / "results" / "enrichment.csv"
    enrichment.write_text(enrichment.read_text().replace("GOBP", "GO"))
    made = enrichment.with_suffix(".json")
    record.write(made, record.read(made, "enrich_genes.py"), [enrichment])
    again = run_script("prediction/figures.py", project, "--external", external)
    drawn = {line.split(":")[0] for line in again.stdout.splitlines() if "have not changed" not in line}
    assert drawn == {"fig2_external", "fig3_abundance", "fig4_response", "fig5_enrichment", "fig6_calibration"}
    assert (folder / "fig6_calibration.pdf").read_bytes() == pdf  # no date in it
    shown = json.loads((folder / "figures.json").read_text())
    assert set(shown["fig6_calibration"]) == {"results/direct.csv", "results/predictions.h5"}
    assert "../hospital2/predictions/cohort/overlap.csv" in shown["fig2_external"]
    assert (folder / "fig2_external.pdf").is_file()
    assert run_script("prediction/figures.py", project).returncode == 0
    assert not list(folder.glob("fig2_external*"))  # nobody takes it for a picture of what is there now


def test_of_features_only_slides_and_tiles_count(project, tmp_path):
    copy = tmp_path / "features.h5"
    copy.write_bytes((project / "features.h5").read_bytes())
    before = figure_files.checksum(copy)
    with h5py.File(copy, "r+") as file:
        file["mean_rgb"][:] = 1
    assert figure_files.checksum(copy) == before
    with h5py.File(copy, "r+") as file:
        file["first_tile"][1] -= 1  # a tile goes from the first slide to the second
    assert figure_files.checksum(copy) != before


def test_missing_tables_are_one_clear_line(tmp_path, run_script):
    done = run_script("prediction/figures.py", tmp_path)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1 and "run prediction/collect_results.py first" in done.stderr


def test_external_projects_need_predictions_and_a_name_and_a_colour_of_their_own(project, external, tmp_path):
    with pytest.raises(FileNotFoundError, match="run prediction/predict_cohort.py"):
        figure_files.external_projects([tmp_path], project)
    with pytest.raises(ValueError, match="two projects are named hospital2"):
        figure_files.external_projects([external["hospital2"]] * 2, project)
    many = []
    for i in range(7):
        (tmp_path / f"h{i}" / "predictions" / "cohort").mkdir(parents=True)
        many.append(tmp_path / f"h{i}")
    assert list(figure_files.external_projects(many[:6], project)) == [path.name for path in many[:6]]
    with pytest.raises(ValueError, match="colours for 6"):
        figure_files.external_projects(many, project)
