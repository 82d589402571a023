"""Maps: tiles average to the slide's prediction, land where the marks are painted, and are refused for bad input."""
import dataclasses
import json
import re
import shutil

import h5py
import map_slide
import matplotlib
import numpy as np
import openslide
import pandas as pd
import pytest

import painted_slides
import planted_models
from maps import choice, exports, slide_map, slide_tiles, tile_predictions
from slide_ex.project import features_file

COLUMN = "CAFs MARK [log2(TPM + 1)]"


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return planted_models.write(tmp_path_factory.mktemp("planted") / "project")


@pytest.fixture
def project(original, tmp_path):
    return shutil.copytree(original, tmp_path / "project")


@pytest.fixture(scope="module")
def mapped(original, run_script):
    """Folder of the maps of slide 0."""
    done = run_script("prediction/map_slide.py", original, 0, "--cell-type", "CAFs", "--gene", "MARK", "--abundance",
                      "T-cells")
    assert done.returncode == 0, done.stderr
    return original / "maps" / "S0"


@pytest.fixture
def draw_maps(caplog):
    """Call the script in this process, which spares the imports; gives what it logs."""
    def call(project, *arguments):
        caplog.clear()
        with caplog.at_level("INFO"):
            map_slide.main(map_slide.arguments([str(project), *map(str, arguments)]))
        return caplog.text
    return call


def values_of(project, row, name, outputs):
    """Tile values of all outputs of a target, (n_tiles, n_outputs), and the slides."""
    slides = features_file.read_slides(project / "features.h5")
    target, folds, _ = tile_predictions.read_own(project, [name], slides, slides.patient_ids[row])[name]
    wanted = [choice.Wanted(name, output, (output,), "log2(TPM + 1)") for output in outputs]
    return tile_predictions.predict(slides.read_tiles("features", row), target, folds, wanted)


@pytest.mark.parametrize("name, outputs", [("CAFs", planted_models.GENES), ("abundance", planted_models.CELL_TYPES)])
def test_tiles_average_to_the_prediction_of_the_slide(original, name, outputs):
    for row in range(4):
        expected = planted_models.slide_predictions(original, name, len(outputs), outer=row % 2)[row]
        assert values_of(original, row, name, outputs).mean(0) == pytest.approx(expected, abs=1e-5)


def test_a_patient_of_no_fold_is_judged_by_all_models(project):
    splits = json.loads((project / "splits.json").read_text())
    splits["patients"].remove("P3")
    splits["outer"][1]["test"].remove("P3")
    splits["outer"][0]["inner"] = [{"train": [], "valid": []}] * 2
    (project / "splits.json").write_text(json.dumps(splits))
    expected = np.mean([planted_models.slide_predictions(project, "CAFs", 3, outer)[3] for outer in range(2)], axis=0)
    assert values_of(project, 3, "CAFs", planted_models.GENES).mean(0) == pytest.approx(expected, abs=1e-5)


def test_another_cohort_is_judged_by_all_models_of_a_project_or_a_bundle(original, tmp_path, draw_maps, run_script):
    trained = planted_models.write(tmp_path / "trained", n_slides=30, prefix="T")
    exported = run_script("prediction/export_model.py", trained, tmp_path / "bundle", "--cell-types", "CAFs")
    assert exported.returncode == 0, exported.stderr
    expected = np.mean([planted_models.slide_predictions(original, "CAFs", 3, outer)[1, 0] for outer in range(2)])
    for models in ("trained", "bundle"):
        said = draw_maps(original, 1, "--cell-type", "CAFs", "--gene", "MARK", "--name", models, "--models",
                         tmp_path / models)
        record = json.loads((original / "maps" / "S1" / f"{models}.json").read_text())
        assert record["maps"][0]["slide_mean"] == pytest.approx(expected, rel=1e-5) and "S1: 20 tiles" in said
        assert record["models"] == "CAFs: 4 models of trained"
    with pytest.raises(ValueError, match="trained was trained on patients of this cohort: 30"):
        draw_maps(trained, 1, "--cell-type", "CAFs", "--gene", "MARK", "--models", tmp_path / "bundle")


def test_polygons_of_high_values_lie_on_the_painted_marks(mapped):
    collection = json.loads((mapped / "CAFs MARK, abundance T-cells.geojson").read_text())
    assert collection["type"] == "FeatureCollection" and collection["note"] == slide_map.NOTE
    assert len(collection["features"]) == 24 - len(planted_models.GLASS)
    values, darkness = [], []
    with openslide.OpenSlide(mapped.parents[1] / "slides" / "S0.svs") as slide:
        for feature in collection["features"]:
            assert feature["type"] == "Feature" and feature["properties"]["objectType"] == "tile"
            ring = np.array(feature["geometry"]["coordinates"][0])
            assert feature["geometry"]["type"] == "Polygon" and (ring[0] == ring[-1]).all() and len(ring) == 5
            size = ring.max(0) - ring.min(0)
            assert (size == planted_models.EDGE_PX).all()
            region = slide.read_region(tuple(ring.min(0)), 0, tuple(size)).convert("L")
            darkness.append(np.asarray(region).mean() < planted_models.DARK + 10)
            values.append(feature["properties"]["measurements"][COLUMN])
    high = np.array(values) > np.median(values) + 15  # a mark adds 30, other features a few units
    assert high.sum() == len(planted_models.MARKED) and (high == darkness).all()


def test_polygons_are_geojson_to_other_parsers(mapped):
    geojson = pytest.importorskip("geojson", reason="geojson is optional here: pip install geojson shapely")
    shapely = pytest.importorskip("shapely", reason="shapely is optional here: pip install geojson shapely")
    text = (mapped / "CAFs MARK, abundance T-cells.geojson").read_text()
    collection = geojson.loads(text)
    assert isinstance(collection, geojson.FeatureCollection) and collection.is_valid, collection.errors()
    polygons = shapely.from_geojson(text).geoms
    assert len(polygons) == len(collection["features"])
    assert all(polygon.is_valid and polygon.area == planted_models.EDGE_PX ** 2 and polygon.exterior.is_ccw
               for polygon in polygons)
    assert shapely.union_all(polygons).area == sum(polygon.area for polygon in polygons)  # none lies on another


def test_squidpy_draws_the_tiles_on_the_slide(mapped):
    squidpy = pytest.importorskip("squidpy", reason="squidpy is optional here: pip install squidpy")
    anndata = pytest.importorskip("anndata", reason="anndata is optional (prediction/requirements-maps.txt)")
    data = anndata.read_h5ad(mapped / "CAFs MARK, abundance T-cells.h5ad")
    axis = squidpy.pl.spatial_scatter(data, library_id="S0", color="CAFs MARK", shape="square", return_ax=True)
    picture, tiles = axis.images[0].get_array(), axis.collections[0]
    assert len(tiles.get_paths()) in (1, data.n_obs) and picture.shape == data.uns["spatial"]["S0"]["images"][
        "hires"].shape


def test_polygons_count_from_the_corner_that_qupath_counts_from(tmp_path):
    path = tmp_path / "leica.scn"
    painted_slides.write_scn(path, painted_slides.slide_picture(2, 2), left=700, top=300, width=3000, height=2000)
    picture = slide_tiles.read_picture(path, 200)
    assert picture.origin_px == (700, 300) and picture.size_px == (3000, 2000)
    layout = slide_tiles.Layout(np.array([(700, 300), (1212, 812)]), 512, picture.size_px)
    wanted = choice.Wanted("CAFs", "G", ("G",), "log2(TPM + 1)")
    drawn = slide_map.SlideMaps("S", "P", layout, picture, [(wanted, np.ones(2))], "")
    exports.write_geojson(tmp_path / "map.geojson", drawn)
    corners = [feature["geometry"]["coordinates"][0][0]
               for feature in json.loads((tmp_path / "map.geojson").read_text())["features"]]
    assert corners == [[0, 0], [512, 512]]


def test_table_and_anndata_hold_the_same_values_in_the_same_frame(mapped):
    table = pd.read_csv(mapped / "CAFs MARK, abundance T-cells.csv")
    measured = [feature["properties"]["measurements"] for feature in json.loads(
        (mapped / "CAFs MARK, abundance T-cells.geojson").read_text())["features"]]
    assert table[COLUMN].tolist() == [one[COLUMN] for one in measured]
    assert list(table) == ["slide_id", "x_level0_px", "y_level0_px", "tile_level0_px", COLUMN,
                           "abundance T-cells [fraction]", "note"]
    assert set(table["slide_id"]) == {"S0"} and set(table["note"]) == {slide_map.NOTE}
    anndata = pytest.importorskip("anndata", reason="anndata is optional (prediction/requirements-maps.txt)")
    data = anndata.read_h5ad(mapped / "CAFs MARK, abundance T-cells.h5ad")
    assert data.var_names.tolist() == ["CAFs MARK", "abundance T-cells"] and data.uns["note"] == slide_map.NOTE
    assert data.X[:, 0].tolist() == pytest.approx(table[COLUMN].tolist(), rel=1e-5)
    assert (data.obsm["spatial"] == table[["x_level0_px", "y_level0_px"]] + planted_models.EDGE_PX / 2).all(axis=None)
    spatial = data.uns["spatial"]["S0"]
    assert spatial["scalefactors"]["spot_diameter_fullres"] == planted_models.EDGE_PX
    x, y = (data.obsm["spatial"] * spatial["scalefactors"]["tissue_hires_scalef"]).astype(int).T
    dark = spatial["images"]["hires"][y, x].mean(1) < planted_models.DARK + 10
    assert (dark == (table[COLUMN] > table[COLUMN].median() + 15)).all()


def drawn_of(project, row, picture=True):
    slides = features_file.read_slides(project / "features.h5")
    layout = slide_tiles.read_layout(project, slides, row)
    wanted = [choice.Wanted("CAFs", gene, (gene,), "log2(TPM + 1)") for gene in planted_models.GENES]
    values = values_of(project, row, "CAFs", planted_models.GENES)
    shown = slide_tiles.read_picture(project / "slides" / f"S{row}.svs", 500, 0.5) if picture else None
    return slide_map.SlideMaps(f"S{row}", f"P{row}", layout, shown, list(zip(wanted, values.T)), "2 models")


def test_figure_shows_the_values_at_their_place(original):
    drawn = drawn_of(original, 0)
    figure = slide_map.draw(drawn)
    alone, *panels = [axis for axis in figure.axes if axis.images]
    for axis, (wanted, values) in zip(panels, drawn.maps, strict=True):
        tiles = axis.collections[0]
        assert (tiles.get_array() == values).all()
        outlines = np.array([path.vertices for path in tiles.get_paths()])[:, :4]
        assert (outlines.min(1) == drawn.layout.coords).all()
        assert (outlines.max(1) == drawn.layout.coords + planted_models.EDGE_PX).all()
        assert axis.images[0].get_extent() == [0, 6 * 64, 4 * 64, 0]
        assert axis.get_title(loc="left") == f"Predicted {wanted.name} in CAFs\nmean of the slide {values.mean():.3g}"
        assert tiles.get_clim() == (values.min(), values.max())
    assert {axis.get_xlabel() for axis in figure.axes} == {"", "log2(TPM + 1)"}
    assert slide_map.NOTE in figure.get_supxlabel()
    bar, = alone.lines
    assert np.ptp(bar.get_xdata()) * 0.5 == 50 and alone.texts[0].get_text() == "50 µm"  # 0.5 um per pixel


def test_without_the_slide_file_maps_are_drawn_on_white(project, draw_maps):
    assert "S3.svs is not there, so maps are drawn on white" in draw_maps(project, 3, "--abundance", "CAFs")
    figure = slide_map.draw(drawn_of(project, 3, picture=False))
    assert not any(axis.images or axis.lines for axis in figure.axes)  # nobody recorded microns per pixel
    assert "the slide's file is not here" in figure.get_supxlabel()


def test_on_white_a_recorded_scale_has_its_bar(original):
    drawn = drawn_of(original, 3, picture=False)
    scaled = dataclasses.replace(drawn, layout=dataclasses.replace(drawn.layout, mpp=0.5))
    assert [text.get_text() for text in slide_map.draw(scaled).axes[0].texts] == ["50 µm"]


FRACTIONS = np.array([-0.2, 0, 0.1, 0.5])


@pytest.mark.parametrize("values, limits, clim, extend, words", [
    (FRACTIONS, None, (0, 0.5), "min", "fraction\n1 of 4 tiles below 0"), (-FRACTIONS - 0.6, None, (0, 1), "min",
                                                                         "fraction\n4 of 4 tiles below 0"),
    (FRACTIONS + 0.2, None, (0, 0.7), "neither", "fraction"), (FRACTIONS, [0, 0.3], (0, 0.3), "both", None),
    (FRACTIONS, [-1, 1], (-1, 1), "neither", None)])
def test_fractions_start_at_0_and_what_lies_outside_the_colours_is_shown(values, limits, clim, extend, words):
    layout = slide_tiles.Layout(np.array([(0, 0), (9, 0), (0, 9), (9, 9)]), 9, (18, 18))
    wanted = choice.Wanted("abundance", "CAFs", ("CAFs",), "fraction")
    axis, bar = slide_map.draw(slide_map.SlideMaps("S", "P", layout, None, [(wanted, values)], "", limits)).axes
    tiles = axis.collections[0]
    assert tiles.get_clim() == pytest.approx(clim)
    assert axis.get_title(loc="left").startswith("Predicted fraction of CAFs\n")
    tiles.update_scalarmappable()
    vermilion = matplotlib.colors.to_rgb(slide_map.BELOW_ZERO)
    shown = [tuple(colour[:3]) == pytest.approx(vermilion) for colour in tiles.get_facecolors()]
    assert shown == [value < 0 and clim[0] == 0 for value in values]
    colours = bar._colorbar
    assert colours.extend == extend and colours.cmap(0.3)[3] == 1  # opaque: no seams
    assert words is None or bar.get_xlabel() == words


def test_limits_are_those_asked_for_and_another_pair_is_another_picture(project, draw_maps):
    command = project, 0, "--abundance", "CAFs", "--limits"
    draw_maps(*command, 0, 0.5)
    written = (project / "maps" / "S0" / "abundance CAFs.png").stat().st_mtime_ns
    assert "S0: finished" in draw_maps(*command, 0, 0.5)
    assert "on average" in draw_maps(*command, 0, 0.6)
    assert (project / "maps" / "S0" / "abundance CAFs.png").stat().st_mtime_ns > written
    assert json.loads((project / "maps" / "S0" / "abundance CAFs.json").read_text())["limits"] == [0, 0.6]
    with pytest.raises(ValueError, match="--limits 1 0: give the lower end first"):
        draw_maps(*command, 1, 0)


def test_size_of_tiles_is_that_of_the_slide_s_own_file_else_of_features_h5(project):
    slides = features_file.read_slides(project / "features.h5")
    assert slide_tiles.read_layout(project, slides, 0).level0_tile_px == 64
    (project / "features").mkdir()
    with h5py.File(project / "features" / "S0.h5", "w") as file:
        for name, n_columns, kind in (("features", 2, "f4"), ("coords", 2, "i4"), ("mean_rgb", 3, "f4")):
            file[name] = np.zeros((20, n_columns), kind)
        file.attrs.update(level0_tile_px=32, level0_width=400, level0_height=300)
    layout = slide_tiles.read_layout(project, slides, 0)
    assert (layout.level0_tile_px, layout.size_px) == (32, (400, 300))
    assert slide_tiles.read_layout(project, slides, 1).level0_tile_px == 64


@pytest.mark.parametrize("max_px", [384, 100])
def test_a_thumbnail_read_in_strips_is_the_thumbnail(original, monkeypatch, max_px):
    path = original / "slides" / "S0.svs"
    whole = slide_tiles.read_picture(path, max_px).rgb
    with openslide.OpenSlide(path) as slide:
        expected = np.asarray(slide.get_thumbnail((max_px, max_px)).convert("RGB")).astype(int)
    assert whole.shape == expected.shape and np.abs(whole - expected).mean() < 6  # other filters, the same picture
    monkeypatch.setattr(slide_tiles, "STRIP_PIXELS", 20_000)
    assert np.abs(slide_tiles.read_picture(path, max_px).rgb.astype(int) - whole).mean() < 2


def test_size_of_tiles_is_never_guessed(project):
    with h5py.File(project / "features.h5", "r+") as file:
        del file["patch_size_level0"]
    with pytest.raises(ValueError, match="size of the tiles of S0 is recorded nowhere.*--tile-level0-px"):
        slide_tiles.read_layout(project, features_file.read_slides(project / "features.h5"), 0)


def test_a_program_is_the_mean_of_its_genes(project, draw_maps, tmp_path):
    program = tmp_path / "my program.txt"
    program.write_text("MARK\n\nHLA-A\nNOT-THERE\nMARK\n")
    said = draw_maps(project, 0, "--cell-type", "CAFs", "--program", program)
    assert "my program: not predicted, left out: 1 (NOT-THERE)" in said
    table = pd.read_csv(project / "maps" / "S0" / "CAFs my program.csv")
    expected = values_of(project, 0, "CAFs", ["MARK", "HLA-A"]).mean(1)
    assert table["CAFs my program [log2(TPM + 1)]"].tolist() == pytest.approx(expected, rel=1e-5)


def test_finished_maps_are_skipped_and_drawn_again_for_other_models(project, draw_maps):
    command = project, 0, "--cell-type", "CAFs", "--name", "mine", "--gene"
    draw_maps(*command, "MARK")
    files = {path: path.stat().st_mtime_ns for path in (project / "maps" / "S0").iterdir()}
    assert "S0: finished" in draw_maps(*command, "MARK")
    assert all(path.stat().st_mtime_ns == written for path, written in files.items())
    with pytest.raises(ValueError, match="mine.json is about other maps: give another --name"):
        draw_maps(*command, "HLA-A")
    shutil.copy(project / "results/CAFs_preds/result_1_0/model_trained.pth",
                project / "results/CAFs_preds/result_0_0/model_trained.pth")
    assert "on average CAFs MARK" in draw_maps(*command, "MARK")


def test_names_of_genes_never_leave_the_folder():
    wanted = [choice.Wanted("CAFs", "../../<x>", (), "log2(TPM + 1)")]
    assert choice.file_name(wanted, None) == "CAFs .._.._" + "_x_"
    assert choice.file_name(wanted, "../up") == "_up"
    assert choice.file_name(wanted * 5, None).endswith(" and 4 more")


def test_names_of_genes_in_exports_are_data(original, tmp_path):
    drawn = drawn_of(original, 0)
    exports.write_all(tmp_path, "maps", drawn, overwrite=False)
    measured = json.loads((tmp_path / "maps.geojson").read_text())["features"][0]["properties"]["measurements"]
    assert "CAFs <b>GENE</b> [log2(TPM + 1)]" in measured


BAD = {"no output": (0, [], "nothing to draw"),
       "gene of whom": (0, ["--gene", "MARK"], "--cell-type goes together with --gene"),
       "what of it": (0, ["--cell-type", "CAFs"], "--cell-type goes together with --gene"),
       "no cell type": (0, ["--cell-type", "direct", "--gene", "pCR"], "'direct' is no cell type"),
       "unknown cell type": (0, ["--cell-type", "CAF", "--gene", "MARK"], "it has CAFs"),
       "unknown gene": (0, ["--cell-type", "CAFs", "--gene", "MARKS"], "did you mean MARK?"),
       "unknown share": (0, ["--abundance", "B-cells"], "did you mean T-cells?"),
       "index": (4, ["--abundance", "CAFs"], "has 4 slides, 0-3"),
       "negative index": (-1, ["--abundance", "CAFs"], "has 4 slides, 0-3")}


@pytest.mark.parametrize("index, arguments, message", BAD.values(), ids=BAD)
def test_bad_command_lines_are_refused(original, draw_maps, index, arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        draw_maps(original, *arguments, "--", index)


def test_an_error_is_one_line(original, run_script):
    done = run_script("prediction/map_slide.py", original, 0, "--cell-type", "CAFs", "--gene", "MARKS")
    assert done.returncode == 1 and "did you mean MARK?" in done.stderr and done.stderr.count("\n") == 1


def spoil_models(project):
    with h5py.File(project / "features.h5", "r+") as file:
        file["mean_features"][0] += 1


def remove_model(project):
    shutil.rmtree(project / "results" / "CAFs_preds" / "result_0_1")


def remove_results(project):
    shutil.rmtree(project / "results")


def forget_coords(project):
    with h5py.File(project / "features.h5", "r+") as file:
        file["coords"][:] = -1


def spoil_slide(project):
    (project / "slides" / "S0.svs").write_text("no slide")


def replace_slide(project):
    """Another scan under the name of the slide that was processed."""
    with h5py.File(project / "features.h5", "r+") as file:
        file["level0_width"], file["level0_height"] = np.full(4, 384.), np.full(4, 256.)
    painted_slides.write_svs(project / "slides" / "S0.svs", painted_slides.tissue(300, 500))


def empty_slide(project):
    with h5py.File(project / "features.h5", "r+") as file:
        file["first_tile"][1] = 0


def leave_folder(project):
    path = project / "metadata.csv"
    path.write_text(path.read_text().replace("S0,S0.svs", "../S0,S0.svs"))


@pytest.mark.parametrize("spoil, message", [
    (spoil_models, "trained with other features"), (remove_model, "never saw P0 are missing, 1 (result_0_1)"),
    (remove_results, "no models of its own (results/): give --models"),
    (forget_coords, "does not say where the tiles of S0 lie"), (spoil_slide, "cannot be read by OpenSlide"),
    (replace_slide, "S0.svs is 500 x 300 px, the slide whose tiles are in features.h5 was 384 x 256 px: make its"),
    (empty_slide, "S0 is not in"), (leave_folder, "Slide.ID '../S0' cannot be the name of a file: use no slashes")])
def test_bad_projects_are_refused(project, draw_maps, spoil, message):
    spoil(project)
    shutil.rmtree(project / "maps", ignore_errors=True)
    with pytest.raises((ValueError, FileNotFoundError), match=re.escape(message)):
        draw_maps(project, 0, "--cell-type", "CAFs", "--gene", "MARK")
    assert not (project / "maps").exists()
