"""Figures show what the tables say: the drawn data are compared with the tables, not the pixels."""
import argparse
import json
import re

import figures
import h5py
import numpy as np
import pandas as pd
import pypdf
import pytest
from matplotlib import pyplot as plt
from matplotlib.collections import LineCollection
from matplotlib.container import BarContainer
from sklearn.metrics import auc, roc_auc_score

import planted_models
import simulated_results
from drawing import (
    abundance,
    captions,
    enrichment,
    examples,
    external_cohorts,
    figure_files,
    marks,
    overview,
    predictability,
    quality,
    response,
    style,
    training,
)
from slide_ex import record
from slide_ex.project import mask_file
from slide_ex.stages import result_states
from tiles import slide_mask

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
    """Widths of the horizontal bars of an axis, a list per colour or filter."""
    return [[bar.get_width() for bar in container] for container in axis.containers
            if isinstance(container, BarContainer)]


def points(axis):
    """Values and intervals of the points that style.points draws: dict of label to (values, lows, highs)."""
    lines = [collection for collection in axis.collections if isinstance(collection, LineCollection)]
    drawn = [line for line in axis.lines if not line.get_label().startswith("_")]
    found = {}
    for line, intervals in zip(drawn, lines):
        segments = np.array([segment[:, 0] for segment in intervals.get_segments() if len(segment)]).reshape(-1, 2)
        found[line.get_label()] = line.get_xdata().tolist(), *segments.T.tolist()
    return found


def genes_of(folder, cell_type):
    return pd.read_csv(folder / f"{cell_type}_genes.csv").set_index("gene")


def row_names(axis):
    return [label.get_text().replace("\n", " ") for label in axis.get_yticklabels()]


def test_overview_counts_slides_tiles_and_genes(project):
    drawn = overview.overview(project)
    flow, histogram, filters = drawn.figure.axes
    with h5py.File(project / "features.h5") as file:
        n_tiles = np.diff(file["first_tile"][:])
    assert sum(bar.get_height() for bar in histogram.patches) == len(n_tiles)
    edges = np.array([bar.get_x() for bar in histogram.patches])
    assert np.all(edges % 1 == 0.5)  # bins of whole numbers
    text = " ".join(box.get_text() for box in flow.texts)
    for words in (f"{len(n_tiles)} slides", f"{n_tiles.sum():,} tiles", "30 patients", "5 × 5 folds", "uni2-h",
                  "3 cell types", "60 outputs"):
        assert words in text
    table = pd.read_csv(project / "deconvolution" / "target_genes.csv").set_index("cell_type")
    assert bars(filters) == table.loc[row_names(filters)].to_numpy().T.tolist()


def test_a_filter_that_removed_nothing_is_in_the_caption_alone():
    axis = plt.figure().add_subplot()
    table = pd.DataFrame({"genes": [9, 9], "in the list": [9, 9], "confident": [9, 4]}, index=["CAFs", "PVL"])
    _, words = overview.genes_by_filter(axis, table)
    assert [container.get_label() for container in axis.containers] == ["Genes", "Confident"]
    assert "removed nothing are not shown: in the list." in words


@pytest.mark.parametrize("n_tiles, row", [([5, 0, 7, 9, 8], 2), ([3], 0), ([4, 4, 0], 0)])
def test_the_slide_that_is_shown_has_the_median_number_of_tiles(n_tiles, row):
    assert overview.typical(np.array(n_tiles)) == row


def test_overview_shows_a_slide_its_kept_tiles_and_one_of_them(tmp_path):
    project = planted_models.write(tmp_path / "project")
    n_rows, n_columns, side = planted_models.N_ROWS, planted_models.N_COLUMNS, mask_file.THUMBNAIL_PX
    with h5py.File(project / "features.h5", "r+") as file:
        file["level0_width"] = np.full(4, n_columns * planted_models.EDGE_PX, float)
        file["level0_height"] = np.full(4, n_rows * planted_models.EDGE_PX, float)
    grey = np.repeat(np.arange(n_rows * n_columns, dtype=np.uint8) * 10, side * side * 3)
    mosaic = grey.reshape(n_rows, n_columns, side, side, 3).swapaxes(1, 2).reshape(n_rows * side, -1, 3)
    mask = mask_file.path_of(project, "S1")
    mask.parent.mkdir(parents=True, exist_ok=True)
    slide_mask.write_mask(mask, mosaic, 255 - mosaic, ["S1", "two lines"])
    drawn = overview.overview(project)
    pictures = [axis.images[0].get_array() for axis in drawn.figure.axes if axis.images]
    assert [picture.shape[:2] for picture in pictures[:2]] == [mosaic.shape[:2]] * 2
    kept = [i for i in range(n_rows * n_columns) if i not in planted_models.GLASS]
    shown = kept[len(kept) // 2] * 10
    assert abs(np.mean(pictures[2]) - shown) < 3 and abs(np.mean(pictures[3]) - (255 - shown)) < 3
    assert "b, Slide S1, which has the median number of tiles, with the grid of 4 × 6 tiles" in drawn.caption
    assert overview.slide_shown(project) == [mask]


def test_overview_of_imported_data_does_without_filters_and_results(project, tmp_path):
    (tmp_path / "features.h5").write_bytes((project / "features.h5").read_bytes())
    assert len(overview.overview(tmp_path).figure.axes) == 2


def test_counts_medians_and_quartiles_are_those_of_the_tables(project):
    drawn = predictability.predictability(project)
    left, middle, right, paired = drawn.figure.axes
    summary = pd.read_csv(project / "results" / "summary.csv").set_index("target")
    model = summary[summary["model"] == "slide-ex"]
    order = [name.rpartition(" (")[0] for name in row_names(left)]
    assert order == model.loc[list(CELL_TYPES), "median_r"].sort_values(ascending=False).index.tolist()
    assert bars(middle) == model.loc[order].filter(like="n_r_above_").to_numpy().T.tolist()
    shown = points(right)
    assert list(shown) == [mark.label for name, mark in marks.MARKS.items() if name in {
        *summary["model"], "slide-ex in folds"}]
    in_folds = model.loc[order, ["median_r_in_folds", "median_r_in_folds_low", "median_r_in_folds_high"]]
    assert np.allclose(shown["SLIDE-EX in folds"], in_folds.T)
    for axis, statistic in ((right, "median_r"), (paired, "minus_colour")):
        for name, of_model in summary.loc[order].groupby("model"):
            if of_model[statistic].notna().any():
                columns = [statistic, f"{statistic}_low", f"{statistic}_high"]
                assert np.allclose(points(axis)[marks.of(name).label], of_model.loc[order, columns].T)
    assert "Mean colour" not in points(paired)
    assert middle.collections[0].get_segments()[0][:, 0].tolist() == model.loc[
        order[0], ["n_r_0.40_low", "n_r_0.40_high"]].tolist()
    violins = [line for line in left.lines if line.get_marker() == "|"]
    for line, cell_type in zip(violins, order, strict=True):  # one each: there are fewer than 1,000 genes
        r = genes_of(project / "results", cell_type)["pearson_r"]
        assert line.get_xdata() == pytest.approx(np.percentile(r, [25, 50, 75]))
    assert f"{order[0]} {model.loc[order[0], 'median_r']:.2f} (20 genes)" in drawn.caption


def test_more_genes_than_the_best_thousand_have_two_halves(monkeypatch, project):
    monkeypatch.setattr(predictability, "N_BEST_GENES", 5)
    left = predictability.predictability(project).figure.axes[0]
    _, best = [line for line in left.lines if line.get_marker() == "|"][:2]
    cell_type = row_names(left)[0].rpartition(" (")[0]
    r = genes_of(project / "results", cell_type)["pearson_r"]
    assert best.get_xdata() == pytest.approx(np.percentile(r.nlargest(5), [25, 50, 75]))


def test_examples_are_the_best_and_the_middle_robust_gene(project):
    axes = iter(examples.examples(project).figure.axes)
    summary = pd.read_csv(project / "results" / "summary.csv")
    medians = summary[summary["model"] == "slide-ex"].set_index("target")["median_r"]
    with h5py.File(project / "results" / "predictions.h5") as file:
        for cell_type in medians[list(CELL_TYPES)].sort_values(ascending=False).index:
            r = genes_of(project / "results", cell_type)["pearson_r"].sort_values(ascending=False)
            robust = r[r > 0.4]
            for gene, why in ((r.index[0], "best"), (robust.index[len(robust) // 2], "middle")):
                axis, column = next(axes), int(gene.removeprefix("GENE"))
                group = file[f"expression/{cell_type}"]
                assert np.array_equal(axis.collections[0].get_offsets(),
                                      np.stack([group["labels"][:, column], group["predictions"][:, column]], 1))
                assert f"{cell_type}\n{gene}\nR = {r[gene]:.2f} ({why})" == axis.get_title("left")
                assert axis.get_xlim() == axis.get_ylim() and axis.get_xticks().tolist() == axis.get_yticks().tolist()


def test_each_gene_is_shown_once():
    table = pd.DataFrame({"gene": ["A", "B", "C"], "pearson_r": [0.1, 0.41, 0.3]})
    assert [(why, row.name) for why, row in examples.genes_of(table)] == [("best", "B")]
    assert [row.name for _, row in examples.genes_of(table.assign(pearson_r=[0.5, 0.6, 0.3]))] == ["B", "A"]


def test_external_cohorts_show_counts_and_overlap(project, external):
    drawn = external_cohorts.external_cohorts(project, external)
    axis, *venns = drawn.figure.axes
    there = external["hospital2"] / "predictions" / "cohort"
    order = row_names(axis)
    for (values, lows, _), folder in zip(points(axis).values(), (project / "results", there)):
        assert values == [(genes_of(folder, cell_type)["pearson_r"] > 0.4).sum() for cell_type in order]
        summary = pd.read_csv(folder / "summary.csv")
        summary = summary[summary["model"] == "slide-ex"].set_index("target")
        assert lows == summary.loc[order, "n_r_0.40_low"].tolist()
    overlap = pd.read_csv(there / "overlap.csv").set_index("cell_type").loc[order]
    overlap = overlap[overlap[["n_robust_training", "n_robust_here"]].min(axis=1) >= 10]
    assert len(venns) == len(overlap) > 0
    for venn, (cell_type, row) in zip(venns, overlap.iterrows()):
        first, second, both = row[["n_robust_training", "n_robust_here", "n_both"]]
        assert [text.get_text() for text in venn.texts] == [
            f"{first - both:.0f}", f"{both:.0f}", f"{second - both:.0f}", "q = 1 × 10⁻⁴"]
        assert venn.get_title().replace("\n", " ") == cell_type


def test_cell_types_without_robust_genes_take_no_room(tmp_path):
    project = simulated_results.write(tmp_path / "cohort", CELL_TYPES, 3)
    external = simulated_results.write_external(tmp_path / "hospital2", project)
    for folder in (project / "results", external / "predictions" / "cohort"):
        table = pd.read_csv(folder / "summary.csv")
        table.loc[table["target"] == "CAFs", "n_r_above_0.40"] = 0
        table.to_csv(folder / "summary.csv", index=False)
    drawn = external_cohorts.external_cohorts(project, {"hospital2": external})
    axis, = drawn.figure.axes  # no diagram of fewer than ten genes
    assert "CAFs" not in row_names(axis) and len(row_names(axis)) == 2
    assert "No gene in any cohort: CAFs." in drawn.caption and "fewer than 10 robust genes: " in drawn.caption


@pytest.mark.parametrize("first, second, both", [(100, 60, 20), (50, 50, 50), (30, 80, 30), (40, 10, 0), (7, 0, 0),
                                                 (0, 0, 0), (4208, 3772, 3000)])
def test_circles_have_the_areas_of_their_numbers(first, second, both):
    axis = plt.figure().add_subplot()
    external_cohorts.venn(axis, pd.Series({"n_robust_training": first, "n_robust_here": second, "n_both": both,
                                          "p_benjamini_hochberg": 0.1}), ("blue", "orange"))
    assert axis.texts[-1].get_text() == ("q = 0.1" if first and second else "not tested")
    one, other = axis.patches
    assert np.pi * one.radius ** 2 * second == pytest.approx(np.pi * other.radius ** 2 * first)
    # independent of the formula: count points of a fine grid
    x, y = np.meshgrid(np.linspace(-2.1, 2.1, 1501), np.linspace(-1.1, 1.1, 801))
    inside = [(x - circle.center[0]) ** 2 + y ** 2 < circle.radius ** 2 for circle in (one, other)]
    if first:
        assert (inside[0] & inside[1]).sum() / inside[0].sum() == pytest.approx(both / first, abs=0.005)


def test_abundance_points_and_titles_are_those_of_the_tables(project, external):
    drawn = abundance.abundance(project, external)
    *scatters, axis = drawn.figure.axes
    table = pd.read_csv(project / "results" / "abundance.csv").set_index("cell_type")
    order = table["pearson_r"].sort_values(ascending=False).index
    with h5py.File(project / "results" / "predictions.h5") as file:
        n_below = (file["abundance/predictions"][:] < 0).sum()
        for panel, cell_type in zip(scatters, order):
            column = CELL_TYPES.index(cell_type)
            shown = panel.collections[0].get_offsets()
            assert np.array_equal(shown[:, 0], file["abundance/labels"][:, column])
            assert np.array_equal(shown[:, 1], file["abundance/predictions"][:, column])
            is_red = (panel.collections[0].get_facecolors()[:, :3] == plt.matplotlib.colors.to_rgb(marks.RED)).all(1)
            assert np.array_equal(is_red, shown[:, 1] < 0)
            row = table.loc[cell_type]
            assert panel.get_title("left") == f"{cell_type}\nR = {row['pearson_r']:.2f}, ρ = {row['spearman_rho']:.2f}"
    assert f"{n_below} of 180 predictions lie below 0" in drawn.caption and "n = 60 patients of cohort" in drawn.caption
    there = pd.read_csv(external["hospital2"] / "predictions" / "cohort" / "abundance.csv").set_index("cell_type")
    assert [values for values, *_ in points(axis).values()] == [
        table.loc[order, "pearson_r"].tolist(), there.loc[order, "pearson_r"].tolist()]


def test_response_curves_and_points_are_those_of_each_setting(project, external):
    drawn = response.response(project, external)
    folders = project / "response" / "out_of_fold", external["hospital2"] / "response" / "cohort"
    assert len(drawn.figure.subfigs) == len(folders)
    for part, folder in zip(drawn.figure.subfigs, folders):
        curves, areas, precisions = part.axes
        table = pd.read_csv(folder / "comparison.csv").set_index("features")
        scores = pd.read_csv(folder / "scores.csv")
        shown = row_names(areas)
        names = {response.name_of(name): name for name in KINDS}
        assert sorted(shown) == sorted(names) and shown[0] == "CAFs + Endothelial" and shown[-1] == "Direct"
        for axis, metric in ((areas, "auc"), (precisions, "average_precision")):
            for kind, (values, lows, highs) in points(axis).items():
                of_kind = table.loc[[names[name] for name in shown]].query("kind == @kind")
                columns = [metric, f"{metric}_low", f"{metric}_high"]
                assert np.allclose([values, lows, highs], of_kind[columns].T)
        best = table.sort_values("auc").groupby("kind").tail(1)
        for line in curves.lines[:-1]:
            name, area = line.get_label().rsplit(", ", 1)
            features = names[name.removesuffix("*").replace("\n", " ")]
            assert features in best.index and area == f"{table.loc[features, 'auc']:.2f}"
            assert name.endswith("*") == (KINDS[features] == "cell type")  # the only kind with two sets
            assert auc(*line.get_data()) == pytest.approx(roc_auc_score(scores["response"], scores[features]))
    assert "chosen on the patients that are shown" in drawn.caption


def test_the_triple_chosen_in_training_stands_for_the_ensembles():
    table = pd.DataFrame({"features": ["a + b", "top triple", "Bulk"], "kind": ["ensemble", "ensemble", "bulk"],
                          "auc": [0.9, 0.6, 0.7]})
    assert [(row["features"], of_many) for row, of_many in response.best_of_kinds(table)] == [
        ("top triple", False), ("Bulk", False)]
    assert response.best_of_kinds(table[table["features"] != "top triple"])[0][0]["features"] == "a + b"


def test_p_against_the_direct_model_stands_beside_the_auc(tmp_path):
    simulated_results.write_response(tmp_path / "response" / "out_of_fold", {"CAFs": "cell type", "direct": "direct"})
    path = tmp_path / "response" / "out_of_fold" / "comparison.csv"
    pd.read_csv(path).assign(p_delong_direct=[2e-7, np.nan]).to_csv(path, index=False)
    areas = response.response(tmp_path, {}).figure.axes[1]
    assert [text.get_text() for text in areas.texts] == ["p = 2 × 10⁻⁷"]


def test_of_many_ensembles_the_best_are_shown_and_the_others_counted(tmp_path):
    pairs = {f"pair {i}": "ensemble" for i in range(8)}
    simulated_results.write_response(tmp_path / "response" / "out_of_fold", {"direct": "direct", **pairs})
    figure = response.response(tmp_path, {}).figure
    table = pd.read_csv(tmp_path / "response" / "out_of_fold" / "comparison.csv").set_index("features")["auc"]
    assert row_names(figure.axes[1]) == [*map(response.name_of, table.drop("direct").nlargest(5).index), "Direct"]
    assert "without 3 weaker ensembles" in figure.subfigs[0].get_suptitle()


def test_without_settings_the_direct_model_is_shown_alone(tmp_path):
    project = simulated_results.write(tmp_path / "cohort", CELL_TYPES[:2], 3)
    curves, areas, _ = response.response(project, {}).figure.axes
    table = pd.read_csv(project / "results" / "direct.csv")
    assert auc(*curves.lines[0].get_data()) == pytest.approx(table["auc"][0])
    assert points(areas)["direct"][0] == table["auc"].tolist()


def test_enrichment_bars_and_clustered_heat_map_are_those_of_the_table(project):
    drawn = enrichment.enrichment(project)
    table = pd.read_csv(project / "results" / "enrichment.csv")
    axis, _, _, _, heat, *_ = drawn.figure.axes
    blocks = [text.get_text().strip() for text in axis.texts]
    assert sorted(blocks) == sorted(CELL_TYPES)
    first = table.groupby("cell_type").head(enrichment.N_TERMS).set_index("cell_type").loc[blocks]  # lowest p first
    assert bars(axis)[0] == pytest.approx((-np.log10(first["p_benjamini_hochberg"])).tolist())
    assert first["p_benjamini_hochberg"].groupby(level=0).min().loc[blocks].is_monotonic_increasing
    odds, q = (table.pivot(index="term", columns="cell_type", values=column) for column in (
        "odds_ratio", "p_benjamini_hochberg"))
    columns = [label.get_text().replace("\n", " ") for label in heat.get_xticklabels()]
    in_words = enrichment.words_of(CELL_TYPES)
    terms = {in_words(term)[-2:]: term for term in odds.index}  # numbered
    rows = [terms[name[-2:]] for name in row_names(heat)]
    assert sorted(rows) == sorted(first["term"].unique())
    assert np.allclose(heat.images[0].get_array(), np.log2(odds.loc[rows, columns]).clip(-5, 5))
    y, x = np.nonzero(q.loc[rows, columns] < 0.05)
    assert sorted(map(tuple, heat.collections[0].get_offsets())) == sorted(zip(x, y))


@pytest.mark.parametrize("term, words", [
    ("GOBP_COLLAGEN_FIBRIL_ORGANIZATION", "GOBP collagen fibril organization"), ("STROMA_IN_CAFS", "Stroma in CAFs"),
    ("HALLMARK_IL2_STAT5_SIGNALING", "HALLMARK IL2 STAT5 signaling"), ("My own Set", "My own Set"),
    ("DNA_REPAIR", "DNA repair")])
def test_gene_sets_are_written_in_sentence_case(term, words):
    assert enrichment.words_of(["CAFs", "PVL"])(term) == words


def test_long_gene_sets_keep_their_beginning_and_end():
    words = "x" * 40 + "y" * 40
    assert enrichment.shortened(words, 64) == "x" * 40 + "y" * 2 + "…" + "y" * 21 or \
        len(enrichment.shortened(words, 64)) == 64
    assert enrichment.shortened(words[:64], 64) == words[:64]


def test_what_is_alike_stands_side_by_side(tmp_path):
    (tmp_path / "results").mkdir()
    odds = {"B-cells": [9, .1, 8, .1], "PVL": [.1, 9, .1, 9], "T-cells": [8, .1, 9, .1]}  # alike: first and last
    pd.DataFrame([{"cell_type": cell_type, "term": f"SET{i}", "p": 0.01, "p_benjamini_hochberg": 0.02,
                   "odds_ratio": value} for cell_type, values in odds.items() for i, value in enumerate(values)]
                 ).to_csv(tmp_path / "results" / "enrichment.csv", index=False)
    heat = enrichment.enrichment(tmp_path).figure.axes[4]
    columns, rows = [label.get_text() for label in heat.get_xticklabels()], row_names(heat)
    assert abs(columns.index("B-cells") - columns.index("T-cells")) == 1
    assert abs(rows.index("SET0") - rows.index("SET2")) == 1 and abs(rows.index("SET1") - rows.index("SET3")) == 1


def test_one_term_in_one_cell_type_needs_no_tree(tmp_path):
    results = tmp_path / "results"
    results.mkdir()
    pd.DataFrame([{"cell_type": "CAFs", "term": "MATRIX", "p": 0, "p_benjamini_hochberg": 0, "odds_ratio": 1}]
                 ).to_csv(results / "enrichment.csv", index=False)
    axis = enrichment.enrichment(tmp_path).figure.axes[0]
    assert bars(axis) == [[300]]  # p that underflowed to 0


def test_training_curves_are_the_histories_and_a_last_best_epoch_is_marked(project):
    path = project / "results" / "CAFs_preds" / "result_0_0" / "history.csv"
    before = path.read_text()
    history = pd.read_csv(path)
    history["valid_r"] = np.linspace(0, 0.4, len(history))  # best at the end
    history.to_csv(path, index=False)
    drawn = training.training(project)
    path.write_text(before)
    axes = drawn.figure.axes
    assert [axis.get_title("left").split("\n")[0] for axis in axes] == [*CELL_TYPES, "Abundance", "Response, direct"]
    assert axes[0].get_title("left") == "CAFs\n4 networks, 1 at the end" and "CAFs 1 of 4" in drawn.caption
    last, curve, best = axes[0].lines[1:4]
    assert last.get_marker() == "^" and best.get_marker() == "." and last.get_xdata() == len(history)
    history = pd.read_csv(project / "results" / "CAFs_preds" / "result_1_0" / "history.csv")
    assert np.array_equal(curve.get_ydata(), history["valid_r"])
    assert (best.get_xdata(), best.get_ydata()) == (history["valid_r"].argmax() + 1, history["valid_r"].max())


def test_calibration_has_the_share_its_interval_and_the_number_of_each_bin(project):
    drawn = quality.calibration(project)
    curve, counts = drawn.figure.axes
    with h5py.File(project / "results" / "predictions.h5") as file:
        table = pd.DataFrame({"pcr": file["direct/labels"][:], "p": file["direct/predictions"][:].astype(float)})
    ranked = table.sort_values("p", ignore_index=True)
    bins = ranked.groupby(pd.qcut(ranked["p"], 6))  # 60 patients, at least ten a bin
    assert curve.lines[1].get_ydata() == pytest.approx(bins["pcr"].mean().tolist())
    assert curve.lines[1].get_xdata() == pytest.approx(bins["p"].mean().tolist())
    assert [text.get_text() for text in curve.texts] == [str(n) for n in bins.size()]
    intervals = np.array([segment[:, 1] for segment in curve.collections[0].get_segments()])
    for (low, high), k, n in zip(intervals, bins["pcr"].sum(), bins.size()):  # Wilson's formula
        z = 1.959964
        middle, half = (k + z * z / 2) / (n + z * z), z / (n + z * z) * np.sqrt(k * (n - k) / n + z * z / 4)
        assert (low, high) == pytest.approx((max(middle - half, 0), min(middle + half, 1)), abs=1e-6)
    tops = np.array([bar.get_y() + bar.get_height() for bar in counts.containers[1]])
    assert tops.sum() == len(table)


@pytest.mark.parametrize("probabilities", [[0.5] * 30, [0.2] * 15 + [0.7] * 15, [0.1, 0.9]])
def test_calibration_bins_hold_every_patient_and_keep_equal_ones_together(probabilities):
    bins = quality.calibration_bins(np.arange(len(probabilities)) % 2, np.array(probabilities))
    assert bins["n"].sum() == len(probabilities) and len(bins) <= len(set(probabilities))
    assert (bins["low"] <= bins["observed"]).all() and (bins["observed"] <= bins["high"]).all()


def test_confidence_boxes_are_those_of_the_tables(project):
    drawn = quality.confidence(project)
    for axis in drawn.figure.axes:
        table = genes_of(project / "results", axis.get_title("left").split("\n")[0])
        for label, place in zip(axis.get_xticklabels(), axis.get_xticks()):
            low, high = map(float, label.get_text().split(" ")[0].split("–"))
            r = table["pearson_r"][(table["confidence"] >= low) & (table["confidence"] < high)]
            assert label.get_text().endswith(f" ({len(r)})")
            if len(r) < quality.FEW_GENES:
                shown = next(line for line in axis.lines if line.get_marker() == "." and line.get_xdata()[0] == place)
                assert shown.get_ydata().tolist() == r.tolist()
            else:
                median = [line for line in axis.lines if line.get_linewidth() == 1 and len(line.get_xdata()) == 2
                          and np.mean(line.get_xdata()) == place]
                assert median[0].get_ydata()[0] == pytest.approx(r.median())


def with_everything(folder, cell_types, n_genes, run_script, name_of_set):
    """A project with all that figures show, and two external cohorts beside it."""
    project = simulated_results.write(folder / "cohort", cell_types, n_genes=n_genes)
    kinds = {**dict.fromkeys(cell_types, "cell type"), " + ".join(cell_types[:3]): "ensemble", "top triple": "ensemble",
             "Bulk": "bulk", "abundance": "abundance", "direct": "direct", "mean colour": "mean colour"}
    simulated_results.write_response(project / "response" / "out_of_fold", kinds)
    simulated_results.write_survival(project / "survival" / "Event_out_of_fold", kinds)
    simulated_results.write_external(folder / "a_hospital_with_a_longer_name", project)
    simulated_results.write_external(folder / "hospital3", project, seed=4)
    sets = simulated_results.write_gene_sets(folder / "sets.gmt", n_genes)
    sets.write_text(sets.read_text().replace("GOBP_INVENTED_PROCESS_WITH_A_RATHER_LONG_NAME", name_of_set))
    assert run_script("prediction/enrich_genes.py", project, "--gmt", sets, "--min-genes", 2).returncode == 0
    return project


@pytest.fixture(scope="module")
def nine(tmp_path_factory, run_script):
    """As large as a figure gets, but for the number of genes: nine cell types, two external cohorts."""
    return with_everything(tmp_path_factory.mktemp("nine"), simulated_results.CELL_TYPES, 30, run_script, "GOBP_SHORT")


@pytest.fixture(scope="module")
def four(tmp_path_factory, run_script):
    """The longest of names: four cell types, gene sets of 60 letters."""
    names = ("Cancer-associated fibroblasts, inflammatory", "Tumour-infiltrating lymphocytes (CD8+)",
             "Perivascular-like cells", "Cancer Epithelial")
    return with_everything(tmp_path_factory.mktemp("four"), names, 24, run_script,
                           "GOBP_NEGATIVE_REGULATION_OF_EPITHELIAL_CELL_MIGRATION_AND_X")


@pytest.mark.parametrize("name", figures.FIGURES)
@pytest.mark.parametrize("size", ["four", "nine"])
def test_at_journal_width_no_text_is_cut_or_covered_or_smaller_than_6_points(request, monkeypatch, size, name):
    project = request.getfixturevalue(size)
    external = {path.name: path for path in project.parent.iterdir() if (path / "predictions").is_dir()}
    drawn = figures.FIGURES[name].drawn(project, external)
    figure, margins_mm = drawn.figure, 2 * style.MARGIN_IN * 25.4
    width_mm = figure.get_figwidth() * 25.4 + margins_mm
    assert margins_mm == pytest.approx(4) and (width_mm == pytest.approx(180) or width_mm == pytest.approx(88))
    assert figure.get_figheight() * 25.4 + margins_mm <= 247  # of a page
    style.lay_out(drawn)
    texts = []
    monkeypatch.setattr(plt.Text, "draw", lambda text, renderer: texts.append(text))  # no ticks outside the limits
    figure.draw_without_rendering()
    texts = list(dict.fromkeys(text for text in texts if text.get_text().strip() and text.get_visible()))
    width, height = figure.bbox.size
    boxes = np.array([text.get_window_extent().extents for text in texts])
    assert len(texts) and min(text.get_fontsize() for text in texts) >= 6
    assert boxes[:, :2].min() >= -1 and boxes[:, 2].max() <= width + 1 and boxes[:, 3].max() <= height + 1
    low, high = (compare(boxes[:, None, part], boxes[None, :, part]) for compare, part in (
        (np.maximum, slice(0, 2)), (np.minimum, slice(2, 4))))
    covered = np.argwhere(np.triu((high - low > 1).all(axis=2), 1))
    assert [(texts[i].get_text(), texts[j].get_text()) for i, j in covered] == []
    letters = [text.get_text() for text in figure.texts if len(text.get_text()) == 1]
    assert letters == (list("abcdefghij"[:len(drawn.panels)]) if len(drawn.panels) > 1 else [])
    for letter in letters:
        assert f"\n{letter}, " in drawn.caption
    assert "n = " in drawn.caption or "n: " in drawn.caption or name == "fig1_overview" or name == "fig5_enrichment" \
        or name == "fig7_survival"


def test_marks_of_one_figure_differ_in_shape_too_and_colours_are_told_apart():
    models = ("slide-ex", "network", "low-rank", "blend", "ridge", "bulk target", "mean colour", "shuffled labels")
    for names in (models, marks.KINDS, ("low", "middle", "high")):
        drawn = [marks.MARKS[name] for name in names]
        assert len({(mark.marker, mark.filled) for mark in drawn}) == len({mark.colour for mark in drawn}) == len(names)
    assert len({str(marks.MARKS[name].line) for name in marks.KINDS}) >= len(marks.KINDS) - 1
    cohorts = marks.of_cohorts("abcdefg").values()
    assert len({mark.marker for mark in cohorts}) == len({mark.colour for mark in cohorts}) == 7
    assert marks.of("unheard of").colour == marks.GREY and marks.of("unheard of").label == "unheard of"


@pytest.mark.parametrize("p, words", [(0.0312, "p = 0.031"), (1, "p = 1"), (1.8e-87, "p = 2 × 10⁻⁸⁷"),
                                      (0, "p < 10⁻³⁰⁰"), (np.nan, "not tested")])
def test_p_values_are_written_as_in_a_journal(p, words):
    assert captions.p_value(p) == words


def test_script_draws_what_there_is_then_only_what_changed(project, run_script):
    first = run_script("prediction/figures.py", project)
    assert first.returncode == 0, first.stderr
    assert "fig2_external: not drawn, there is no predictions/" in first.stdout
    folder, external = project / "figures", project.parent / "hospital2"
    files = {f"{name}.{suffix}" for suffix in ("pdf", "png", "txt") for name in figures.FIGURES}
    assert {path.name for path in folder.iterdir()} == {"figures.json"} | {
        name for name in files if not name.startswith("fig2_external")}
    margin_px = int(style.MARGIN_IN * style.PNG_DPI)
    for path in folder.glob("*.png"):
        picture = plt.imread(path)[..., :3]
        picture[margin_px:-margin_px, margin_px:-margin_px] = 1
        assert picture.min() == 1, path  # nothing within 2 mm of the edge
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


def test_a_figure_that_cannot_be_drawn_is_named_and_the_others_are_drawn(tmp_path, run_script):
    project = simulated_results.write(tmp_path / "cohort", CELL_TYPES[:2], 3)
    (project / "results" / "abundance.csv").write_text("cell_type\nCAFs\n")
    done = run_script("prediction/figures.py", project)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert re.match(r"error: 1 of \d+ figures could not be drawn: fig3_abundance: \w+: ", done.stderr)
    drawn = {path.stem for path in (project / "figures").iterdir()}
    assert {"fig2_predictability", "fig6_calibration"} <= drawn and not {"fig3_abundance", "figures"} & drawn


@pytest.fixture
def draw_calibration(tmp_path, monkeypatch):
    """Runs the script with one figure, in given formats; returns the folder of figures."""
    project = simulated_results.write(tmp_path / "cohort", CELL_TYPES[:2], 3)
    monkeypatch.setattr(figures, "FIGURES", {"fig6_calibration": figures.FIGURES["fig6_calibration"]})

    def draw(*formats):
        figures.main(argparse.Namespace(project_path=project, external=[], overwrite=False, format=list(formats)))
        return project / "figures"
    return draw


def test_formats_are_those_asked_for_and_their_text_is_text(draw_calibration):
    folder = draw_calibration("svg")
    assert {path.name for path in folder.iterdir()} == {"figures.json", "fig6_calibration.svg", "fig6_calibration.txt"}
    svg = folder / "fig6_calibration.svg"
    written = svg.read_bytes()
    assert b">Calibration of the direct model, out of fold<" in written
    svg.unlink()
    draw_calibration("svg", "pdf")
    assert svg.read_bytes() == written  # no date in it
    assert "Calibration of the direct model" in pypdf.PdfReader(svg.with_suffix(".pdf")).pages[0].extract_text()
    state = result_states.figures(folder.parent, to_predict_only=False)
    assert state.options == ["--format", "svg", "pdf"] and state.status == "done"
    svg.unlink()
    assert "not there: fig6_calibration" in result_states.figures(folder.parent, to_predict_only=False).about


def test_pictures_in_another_format_that_show_something_else_are_removed(draw_calibration):
    folder = draw_calibration("svg")
    draw_calibration("png")
    assert (folder / "fig6_calibration.svg").is_file()  # shows the same
    table = folder.parent / "results" / "direct.csv"
    table.write_text(table.read_text() + "\n")
    draw_calibration("png")
    assert not (folder / "fig6_calibration.svg").is_file() and (folder / "fig6_calibration.png").is_file()


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
