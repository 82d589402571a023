"""Spatial truth: spots find their tiles, statistics follow plain loops, planted truth is found and none is made up."""
import json
import shutil

import numpy as np
import pandas as pd
import pytest
import validate_spatial
from scipy import sparse
from scipy.ndimage import gaussian_filter
from sklearn.linear_model import LinearRegression

import planted_models
from maps import choice, tile_predictions
from spatial import comparison, spots

SCRIPT = "prediction/validate_spatial.py"
EDGE = planted_models.EDGE_PX
KEPT = [i for i in range(planted_models.N_ROWS * planted_models.N_COLUMNS) if i not in planted_models.GLASS]
QUICK = ("--block-tiles", 1, "--bootstrap", 200)


def spots_of_truth(seed=0, n_in_tile=6):
    """Six spots a tile of which MARK is high on the painted marks; HLA-A is noise; totals vary. DataFrame of counts."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in KEPT:
        for x, y in np.array(planted_models.corner(i)) + rng.uniform(0, EDGE, (n_in_tile, 2)):
            depth, is_marked = rng.uniform(500, 5000), i in planted_models.MARKED
            counts = rng.poisson(depth * np.array([.02 if is_marked else .002, .01, .5, .4]))
            rows.append([x, y, *counts, .6 + .3 * is_marked + .02 * rng.normal(), .2])
    return pd.DataFrame(rows, columns=["x", "y", "MARK", "HLA-A", "OTHER", "MORE", "CAFs", "T-cells"])


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return planted_models.write(tmp_path_factory.mktemp("planted") / "project")


@pytest.fixture(scope="module")
def validated(project, tmp_path_factory, run_script):
    path = tmp_path_factory.mktemp("spots") / "spots.csv"
    spots_of_truth().to_csv(path, index=False)
    done = run_script(SCRIPT, project, "S0", "--spots", path, *QUICK)
    assert done.returncode == 0 and not done.stderr, done.stderr
    return project / "spatial" / "S0", path, done.stdout


def test_planted_truth_is_found_and_noise_is_not(validated):
    folder, _, said = validated
    genes = pd.read_csv(folder / "genes.csv").set_index("output")
    assert sorted(path.name for path in folder.iterdir()) == ["cell_types.csv", "genes.csv", "maps.pdf", "maps.png",
                                                              "spatial.json"]
    assert genes.pearson_r["MARK"] > .7 and genes.pearson_r_low["MARK"] > 0 and genes.pearson_r_tiles["MARK"] > .75
    assert genes.minus_position["MARK"] > .5 and genes.minus_total["MARK"] > .4 and .0 <= genes.r_total["MARK"] < .3
    assert genes.pearson_r_low["HLA-A"] < 0 < genes.pearson_r_high["HLA-A"]
    assert (genes.n_spots == 6 * len(KEPT)).all() and (genes.n_tiles == len(KEPT)).all()
    assert "OTHER" not in genes.index and genes.r_colour.isna().all()    # which nobody recorded for these features
    fractions = pd.read_csv(folder / "cell_types.csv").set_index("output")
    assert fractions.pearson_r["CAFs"] > .8 and np.isnan(fractions.pearson_r["T-cells"])
    assert "CAFs: median R" in said and "120 of 120 spots lie in 20 tiles" in said


def test_the_correlation_is_that_of_spots_with_their_tiles(project, validated):
    """Against a loop: the tile that a spot lies in, its prediction, log counts per 10,000."""
    table = spots_of_truth()
    features = planted_models.features_file.read_slides(project / "features.h5")
    target, folds, _ = tile_predictions.read_own(project, ["CAFs"], features, "P0")["CAFs"]
    of_tiles = tile_predictions.predict(features.read_tiles("features", 0), target, folds,
                                        [choice.Wanted("CAFs", "MARK", ("MARK",), "")])[:, 0]
    total = table[["MARK", "HLA-A", "OTHER", "MORE"]].sum(axis=1)
    predicted = [of_tiles[KEPT.index(int(y // EDGE) * planted_models.N_COLUMNS + int(x // EDGE))]
                 for x, y in table[["x", "y"]].to_numpy()]
    expected = np.corrcoef(predicted, np.log2(1e4 * table["MARK"] / total + 1))[0, 1]
    genes = pd.read_csv(validated[0] / "genes.csv").set_index("output")
    assert genes.pearson_r["MARK"] == pytest.approx(expected, abs=1e-5)


def validate(project, *words):
    validate_spatial.main(validate_spatial.arguments([str(project), *map(str, words), *map(str, QUICK)]))


def test_a_second_run_is_finished_and_other_spots_are_refused(project, validated, tmp_path, caplog):
    with caplog.at_level("INFO"):
        validate(project, 0, "--spots", validated[1])
    assert "S0: finished" in caplog.text
    spots_of_truth(seed=1).to_csv(tmp_path / "spots.csv", index=False)
    with pytest.raises(ValueError, match="spots_sha256 was"):
        validate(project, 0, "--spots", tmp_path / "spots.csv")
    with pytest.raises(ValueError, match="no models of Myeloid: there are CAFs, abundance"):
        validate(project, 0, "--spots", validated[1], "--cell-type", "Myeloid")
    assert json.loads((validated[0] / "spatial.json").read_text())["slide_id"] == "S0"


def test_anndata_gives_the_same(project, validated, run_script, tmp_path):
    anndata = pytest.importorskip("anndata", reason="anndata is optional: prediction/requirements-maps.txt")
    table = spots_of_truth()
    genes = ["MARK", "HLA-A", "OTHER", "MORE"]
    obs = table[["CAFs", "T-cells"]].assign(in_tissue=1)
    data = anndata.AnnData(sparse.csr_matrix(table[genes].to_numpy(np.float32)), obs.set_axis(obs.index.astype(str)),
                           pd.DataFrame(index=genes), obsm={"spatial": table[["x", "y"]].to_numpy()})
    outside = data[:5].copy()
    outside.obs["in_tissue"] = 0
    outside.obs_names = [f"o{i}" for i in range(5)]
    anndata.concat([data, outside]).write_h5ad(tmp_path / "spots.h5ad")
    copy = shutil.copytree(project, tmp_path / "p")
    done = run_script(SCRIPT, copy, "S0", "--spots", tmp_path / "spots.h5ad", *QUICK, "--overwrite")
    assert done.returncode == 0, done.stderr
    assert "left out: 5 of 125" in done.stdout
    for name in ("genes.csv", "cell_types.csv"):
        pd.testing.assert_frame_equal(pd.read_csv(copy / "spatial" / "S0" / name), pd.read_csv(validated[0] / name),
                                      rtol=1e-3, atol=1e-5)


def test_spots_of_several_slides_in_one_file_are_refused(tmp_path):
    anndata = pytest.importorskip("anndata", reason="anndata is optional: prediction/requirements-maps.txt")
    anndata.AnnData(np.ones((3, 1)), obsm={"spatial": np.ones((3, 2))}, uns={"spatial": {"a": {"n": 1}, "b": {"n": 1}}}
                    ).write_h5ad(tmp_path / "two.h5ad")
    with pytest.raises(ValueError, match=r"holds spots of 2 slides \(a, b\)"):
        spots.read(tmp_path / "two.h5ad", ["MARK"], [])


@pytest.mark.parametrize("change, message", [
    (lambda t: t.assign(x=t.x / 4, y=t.y / 4), "spots lie in tiles of the slide: spots reach from"),
    (lambda t: t.rename(columns={"x": "column"}), "has no column x: give an .h5ad, or a table"),
    (lambda t: t[["x", "y", "OTHER"]], "is a gene that is predicted: genes are named by symbols"),
    (lambda t: t.assign(MARK=np.where(t.index == 3, np.nan, t.MARK)), r"no numbers in 1 \(MARK\)"),
    (lambda t: t.iloc[:5], "5 of 5 spots lie in tiles"),
    (lambda t: pd.concat([t] * 170), "20,400 spots, more than 20,000")])
def test_what_are_no_spots(tmp_path, change, message):
    change(spots_of_truth()).to_csv(tmp_path / "spots.csv", index=False)
    with pytest.raises(ValueError, match=message):
        found = spots.read(tmp_path / "spots.csv", ["MARK", "HLA-A"], ["CAFs", "T-cells"])
        spots.in_tiles(found, np.array([planted_models.corner(i) for i in KEPT]), EDGE)


def test_columns_that_describe_spots_are_no_genes(tmp_path, caplog):
    """A table of tissue_positions.csv and counts: the totals are those of the genes, spots on glass are left out."""
    table = spots_of_truth()
    table.to_csv(tmp_path / "plain.csv", index=False)
    position = np.arange(len(table))
    described = table.assign(barcode=[f"A{i}-1" for i in position], in_tissue=1, array_row=position % 78,
                             array_col=position, pxl_row_in_fullres=table.y, pxl_col_in_fullres=table.x,
                             total_counts=5000, n_genes_by_counts=900, nCount_Spatial=5000, leiden=position % 5)
    glass = described.iloc[:7].assign(in_tissue=0)
    pd.concat([glass, described]).to_csv(tmp_path / "described.csv", index=False)
    with caplog.at_level("INFO"):
        plain, found = (spots.read(tmp_path / f"{name}.csv", ["MARK", "HLA-A"], ["CAFs", "T-cells"])
                        for name in ("plain", "described"))
    pd.testing.assert_frame_equal(found.expression, plain.expression)
    pd.testing.assert_frame_equal(found.fractions, plain.fractions)
    np.testing.assert_array_equal(found.log_total, plain.log_total)
    assert "do not lie in tissue, left out: 7 of 127" in caplog.text
    assert "no genes, left out: 9 (in_tissue" in caplog.text


def test_exchanged_places_are_told(tmp_path, caplog):
    coords = np.array([planted_models.corner(i) for i in KEPT])
    for columns, said in ((["x", "y"], False), (["y", "x"], True)):
        spots_of_truth().rename(columns=dict(zip("xy", columns))).to_csv(tmp_path / "spots.csv", index=False)
        caplog.clear()
        with caplog.at_level("INFO"):
            spots.in_tiles(spots.read(tmp_path / "spots.csv", ["MARK"], []), coords, EDGE)
        assert ("with x and y exchanged 100% would" in caplog.text) == said
        assert (caplog.records[-1].levelname == "WARNING") == said


def test_fractions_that_are_none(tmp_path):
    anndata = pytest.importorskip("anndata", reason="anndata is optional: prediction/requirements-maps.txt")
    for values, message in (([.1, .2, np.nan], "fractions that are not finite"), (["a", "b", "c"], "CAFs.* fractions")):
        obs = pd.DataFrame({"CAFs": values}, ["0", "1", "2"])
        anndata.AnnData(np.ones((3, 1)), obs, pd.DataFrame(index=["MARK"]), obsm={"spatial": np.ones((3, 2))}
                        ).write_h5ad(tmp_path / "spots.h5ad")
        with pytest.raises(ValueError, match=message):
            spots.read(tmp_path / "spots.h5ad", ["MARK"], ["CAFs"])


def test_tiles_of_a_grid_and_others():
    coords = np.array([[0, 0], [64, 0], [128, 64]])
    place = np.array([[0, 0], [63.9, 10], [64, 0], [128, 63], [190, 127], [-1, 5.]])
    assert spots.tiles_of(place, coords, 64).tolist() == [0, 0, 1, -1, 2, -1]
    assert spots.tiles_of(place + 7, coords + 7, 64).tolist() == [0, 0, 1, -1, 2, -1]


def test_values_that_are_no_counts_are_taken_as_they_are(tmp_path):
    table = spots_of_truth().assign(MARK=lambda t: t.MARK / 7)
    table.to_csv(tmp_path / "spots.csv", index=False)
    found = spots.read(tmp_path / "spots.csv", ["MARK"], ["CAFs"])
    np.testing.assert_allclose(found.expression["MARK"], table.MARK)
    assert np.isnan(found.log_total).all() and list(found.fractions) == ["CAFs"]
    table[["x", "y", "CAFs"]].to_csv(tmp_path / "fractions.csv", index=False)
    pd.testing.assert_frame_equal(spots.read(tmp_path / "fractions.csv", ["MARK"], ["CAFs"]).fractions, found.fractions)


# Statistics

def field(rng, n=24, sigma=2):
    """A smooth random field, (n * n, 1)."""
    return gaussian_filter(rng.normal(size=(n, n)), sigma, mode="wrap").reshape(-1, 1)


GRID = np.stack(np.meshgrid(np.arange(24), np.arange(24)), axis=-1).reshape(-1, 2) + .5


def test_r_of_resampled_blocks_is_that_of_the_rows():
    rng = np.random.default_rng(0)
    predicted, values = rng.normal(size=(90, 2)), rng.normal(5, 1, size=(90, 2))
    blocks = np.repeat(np.arange(9), 10)
    r, drawn = comparison.correlations(predicted, values, blocks, 20, 1)
    for column in range(2):
        assert r[column] == pytest.approx(np.corrcoef(predicted[:, column], values[:, column])[0, 1])
        for counts, of_draw in zip(comparison.resampling.draws(9, 20, 1), drawn[:, column]):
            rows = np.concatenate([np.flatnonzero(blocks == block) for block in np.repeat(np.arange(9), counts)])
            assert of_draw == pytest.approx(np.corrcoef(predicted[rows, column], values[rows, column])[0, 1])
    assert np.isnan(comparison.correlations(predicted, values, blocks % 3, 20, 1)[1]).all()    # too few blocks
    assert np.isnan(comparison.correlations(predicted, np.full((90, 2), .1), blocks, 20, 1)[0]).all()


def test_blocks_hold_zero_where_spots_alone_do_not():
    """Two smooth fields that know nothing of each other: intervals of single spots are far too narrow."""
    rng, held = np.random.default_rng(3), {1: 0, 6: 0}
    for _ in range(100):
        one, other = field(rng), field(rng)
        for side in held:
            low, high = comparison.intervals(comparison.correlations(
                one, other, comparison.blocks_of(GRID, side), 200, 0)[1])[0]
            held[side] += low <= 0 <= high
    assert held[1] < 40 and held[6] > 60


def test_opponents_are_what_they_say():
    rng = np.random.default_rng(1)
    place, tile = rng.uniform(0, 100, (60, 2)), np.repeat(np.arange(20), 3)
    values = rng.normal(size=(60, 2))
    smooth = comparison.by_position(place, tile, values, 20.)
    for i in (0, 31):
        weights = np.array([0 if tile[j] == tile[i] else np.exp(-((place[j] - place[i]) ** 2).sum() / 800)
                            for j in range(60)])
        np.testing.assert_allclose(smooth[i], weights @ values / weights.sum())
    colours = rng.normal(size=(60, 3))
    predicted, expected = comparison.by_regression(colours, values), LinearRegression().fit(colours, values)
    np.testing.assert_allclose(predicted, expected.predict(colours))
    assert np.isnan(comparison.by_regression(colours * np.nan, values)).all()
    own = comparison.by_position(place, tile, np.where(tile[:, None] == 4, 1e6, 0.), 20.)
    assert (own[tile == 4] == 0).all()     # a tile's own spots say nothing of it
