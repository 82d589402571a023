"""Regions of slides: which points are inside, what QuPath, TRIDENT and pictures write, what does not fit a slide."""
import json

import numpy as np
import pandas as pd
import pytest
from matplotlib.path import Path as Outline
from PIL import Image
from pypdf import PdfReader
from test_extraction import MeanColour
from test_slide_scale import SETTINGS, row_of

import painted_slides
from slide_ex.project import feature_file, metadata_file
from tiles import regions, slide_files, slide_mask, tiling

SIZE = (2000, 1000)
ALL = (0, 0, *SIZE)


def square(left, top, side):
    return [[left, top], [left + side, top], [left + side, top + side], [left, top + side], [left, top]]


def feature(*rings, kind="Polygon", **properties):
    return {"type": "Feature", "geometry": {"type": kind, "coordinates": list(rings)}, "properties": properties}


def tumour(*rings, name="Tumor", **properties):
    return feature(*rings, objectType="annotation", classification={"name": name, "color": [200, 0, 0]}, **properties)


def written(path, content):
    path.write_text(json.dumps(content))
    return path


def read(tmp_path, content, classes=(), bounds=ALL):
    return regions.read(written(tmp_path / "m.geojson", content), SIZE, bounds, classes)


def picture(tmp_path, pixels, mode=None, classes=(), bounds=ALL):
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(np.asarray(pixels, np.uint8), mode)
    image.save(tmp_path / "m.png")
    return regions.read(tmp_path / "m.png", SIZE, bounds, classes)


def holds(region, x, y):
    return bool(region.holds(np.array([x]), np.array([y]))[0, 0])


def star(rng, x, y, radius):
    """A ring of 30 points around a centre, neither convex nor without crossings."""
    angle = np.cumsum(rng.random(30)) * 4 * np.pi / 15
    return np.c_[x + radius * rng.random(30) * np.cos(angle), y + radius * rng.random(30) * np.sin(angle)]


def test_inside_is_inside_by_matplotlib():
    rng = np.random.default_rng(0)
    polygons = [[star(rng, *rng.random(2) * 1000, 400) for _ in range(n)] for n in (1, 2, 3)]
    x, y = np.sort(rng.random(60) * 1000), rng.random(50) * 1000
    points = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    expected = np.zeros(len(points), bool)
    for rings in polygons:
        expected |= np.logical_xor.reduce([Outline(np.r_[ring, ring[:1]], closed=True).contains_points(points)
                                           for ring in rings])
    found = regions.Polygons(polygons).holds(x, y)
    assert .05 < expected.mean() < .8
    np.testing.assert_array_equal(found.ravel(), expected)


def test_neighbours_share_no_point_and_leave_none_out():
    x = y = np.arange(0, 40, 5.)
    parts = [regions.Polygons([[np.array(square(left, top, 20), float)]]).holds(x, y)
             for left in (0, 20) for top in (0, 20)]
    assert (sum(part.astype(int) for part in parts) == 1).all()


RING, HOLE = square(100, 100, 400), square(200, 200, 100)


@pytest.mark.parametrize("content", [
    feature(RING, HOLE), [tumour(RING, HOLE)], {"type": "FeatureCollection", "features": [tumour(RING, HOLE)]},
    {"type": "Polygon", "coordinates": [RING, HOLE]}, feature([RING, HOLE], [square(900, 10, 5)], kind="MultiPolygon"),
    {"type": "GeometryCollection", "geometries": [feature(RING, HOLE)["geometry"], {"type": "Point",
                                                                                    "coordinates": [1, 1]}]},
    [feature([[*point, 0.] for point in RING], [[*point, 0.] for point in HOLE], tissue_id=0)],
    [tumour(RING, HOLE), {"type": "Feature", "geometry": None, "properties": None}]])
def test_forms_of_geojson(tmp_path, content):
    region = read(tmp_path, content)
    assert [holds(region, *point) for point in ((150, 150), (250, 250), (350, 350), (600, 150))] == [
        True, False, True, False]


def test_overlapping_regions_are_one(tmp_path):
    region = read(tmp_path, [tumour(RING, HOLE), tumour(square(190, 190, 150))])
    assert holds(region, 250, 250) and holds(region, 450, 450)


def test_classes_of_qupath(tmp_path):
    several = [tumour(RING), tumour(square(600, 100, 100), name="Stroma"), feature(square(800, 100, 100)),
               {**tumour(square(900, 100, 50)), "properties": {"classification": {"names": ["Tumor", "Positive"]}}}]
    assert holds(read(tmp_path, several, ("Stroma",)), 650, 150)
    assert not holds(read(tmp_path, several, ("Stroma",)), 150, 150)
    assert holds(read(tmp_path, several, ("Tumor: Positive",)), 910, 110)
    both = read(tmp_path, several, ("Stroma", "Tumor", "of another slide"))
    assert holds(both, 650, 150) and holds(both, 150, 150) and not holds(both, 850, 150)
    with pytest.raises(ValueError, match=r"4 classes \(Tumor, Stroma, without class, Tumor: Positive\): choose with"):
        read(tmp_path, several)
    with pytest.raises(ValueError, match=r"no region of class tumor \(Tumor\?\); its classes are Tumor, Stroma"):
        read(tmp_path, several, ("tumor",))


def test_cells_and_points_are_no_regions_and_are_counted(tmp_path):
    cells = [feature(square(900, 500, 9), objectType="cell")] * 3
    point = {"type": "Feature", "geometry": {"type": "Point", "coordinates": [5, 5]}, "properties": {}}
    region = read(tmp_path, [tumour(RING), *cells, point])
    assert region.notes == ("3 cells or detections of m.geojson are no regions", "1 points or lines of m.geojson are "
                            "no regions") and not holds(region, 905, 505)
    with pytest.raises(ValueError, match=r"holds no polygon \(of 4 objects\)"):
        read(tmp_path, [*cells, point])


def test_older_versions_of_qupath_name_cells_by_their_id(tmp_path):
    old = {"isLocked": False, "classification": {"name": "Tumor", "colorRGB": -3670016}}
    objects = [{**feature(square(900, 500, 9), **old), "id": "PathCellObject"},
               {**feature(square(950, 500, 9), **old), "id": "PathDetectionObject"},
               {**feature(RING, **old), "id": "PathAnnotationObject"}]
    region = read(tmp_path, objects)
    assert region.notes == ("2 cells or detections of m.geojson are no regions",)
    assert holds(region, 150, 150) and not holds(region, 905, 505) and not holds(region, 955, 505)


@pytest.mark.parametrize("kind", ["Polygon", "MultiPolygon"])
def test_a_polygon_without_rings_is_no_region(tmp_path, kind):
    assert holds(read(tmp_path, [tumour(RING), feature(kind=kind)]), 150, 150)
    assert holds(read(tmp_path, feature([RING], [], kind="MultiPolygon")), 150, 150)
    with pytest.raises(ValueError, match=r"holds no polygon \(of 1 objects\)"):
        read(tmp_path, feature(kind=kind))


def test_qupath_counts_from_what_was_scanned(tmp_path):
    bounds = (300, 200, 1800, 900)
    by_qupath, by_others = read(tmp_path, [tumour(RING)], bounds=bounds), read(tmp_path, feature(RING), bounds=bounds)
    assert by_qupath.extent() == (400, 300, 800, 700) and by_others.extent() == (100, 100, 500, 500)


@pytest.mark.parametrize("content, message", [
    ({"a": 1}, "neither GeoJSON nor PNG"), ("text", "neither GeoJSON"), ([], "holds no polygon"),
    (feature([[0, 0], [1, 1]]), "damaged"), (feature([[0, 0], [1, None], [5, 5]]), "damaged"),
    ({"type": "Polygon", "coordinates": []} | {"coordinates": [square(1700, 10, 900)]},
     r"reaches from \(1700, 10\) to \(2600, 910\), the slide is 2000 x 1000 px"),
    (feature(square(-90, 0, 500)), "reaches from")])
def test_what_is_no_mask_of_the_slide(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        read(tmp_path, content)


def test_regions_may_reach_beyond_each_side_by_its_hundredth(tmp_path):
    """Of 2,000 x 1,000 px."""
    assert read(tmp_path, feature(square(1915, 10, 100))).extent()[2] == 2015
    assert read(tmp_path, feature(square(-15, 10, 100))).extent()[0] == -15
    for x, y in ((10, 915), (10, -15)):
        with pytest.raises(ValueError, match="reaches from"):
            read(tmp_path, feature(square(x, y, 100)))


def test_other_files_are_named(tmp_path):
    for content in (b"", b"\x89PNG\r\n", b"PK\x03\x04", "\N{SNOWMAN}".encode("utf-16")):
        (tmp_path / "m").write_bytes(content)
        with pytest.raises(ValueError, match="m (is neither GeoJSON nor PNG|cannot be read)"):
            regions.read(tmp_path / "m", SIZE, ALL)
    with pytest.raises(FileNotFoundError, match="check Mask in metadata.csv"):
        regions.read(tmp_path / "absent", SIZE, ALL)


def half(value=255, shape=(10, 20)):
    pixels = np.zeros(shape, np.uint8)
    pixels[:, shape[1] // 2:] = value
    return pixels


@pytest.mark.parametrize("shape", [(10, 20), (1000, 2000), (7, 14), (333, 667), (50, 101)])
def test_a_picture_of_any_size_is_scaled(tmp_path, shape):
    region = picture(tmp_path, half(shape=shape))
    x = np.arange(5, 2000, 10.)
    edge = shape[1] // 2 * 2000 / shape[1]
    np.testing.assert_array_equal(region.holds(x, np.array([3., 997.])), [x >= edge] * 2)


def test_kinds_of_pictures(tmp_path):
    grey = half()
    palette = Image.fromarray(grey // 255, "P")
    palette.putpalette([255, 255, 255, 0, 0, 0] + [128] * 762)      # black on white, so that index 0 is the region
    coloured = Image.fromarray(grey // 255, "P")
    coloured.putpalette([255, 0, 0, 0, 255, 0] + [0, 0, 9] * 254)
    transparent = np.dstack([np.full_like(grey, 9)] * 3 + [grey])
    for image in (grey, np.dstack([grey] * 3), transparent, transparent[..., 2:], coloured, Image.fromarray(grey > 0),
                  Image.fromarray(grey.astype(np.uint16) * 200)):
        region = picture(tmp_path, image)
        assert holds(region, 1500, 500) and not holds(region, 500, 500)
    assert holds(picture(tmp_path, palette), 500, 500) and not holds(picture(tmp_path, palette), 1500, 500)


def test_values_of_a_picture_are_its_classes(tmp_path):
    labels = half(2)
    labels[0] = 1
    assert holds(picture(tmp_path, labels, classes=("2",)), 1500, 500)
    assert holds(picture(tmp_path, labels, classes=("Tumor", "1")), 100, 50)
    with pytest.raises(ValueError, match=r"2 classes \(1, 2\): choose with --mask-class"):
        picture(tmp_path, labels)
    with pytest.raises(ValueError, match="no region of class Tumor; its classes are 1, 2"):
        picture(tmp_path, labels, classes=("Tumor",))


@pytest.mark.parametrize("pixels, message", [
    (half(0), "marks nothing"), (half(shape=(20, 20)), "20 x 20 px, level 0 of the slide 2000 x 1000"),
    (np.dstack([half(), half(0), half()]), "is coloured"),
    (np.dstack([half(), half(), half(0), half()]), "is coloured")])
def test_pictures_that_are_no_masks(tmp_path, pixels, message):
    with pytest.raises(ValueError, match=message):
        picture(tmp_path, pixels)


def test_a_picture_covers_the_slide_or_what_was_scanned(tmp_path):
    region = picture(tmp_path, half(shape=(10, 10)), bounds=(500, 100, 1300, 900))
    assert holds(region, 1000, 500) and not holds(region, 800, 500) and not holds(region, 1400, 500)
    with pytest.raises(ValueError, match="it fits both"):
        picture(tmp_path, half(), bounds=(1000, 500, 2000, 1000))


# A slide with a mask

@pytest.fixture
def project(tmp_path):
    """A slide of 3 x 4 tiles, glass but for the two columns at the right; MeanColour's features."""
    glass = [4 * row + column for row in range(3) for column in (0, 1)]
    painted_slides.write_svs(tmp_path / "slides" / "s.svs", painted_slides.slide_picture(3, 4, glass=glass))
    (tmp_path / "regions").mkdir()
    return tmp_path


def process(project, content=None, mask_class="", **options):
    if content is not None:
        written(project / "regions" / "m.geojson", content)
    slide = row_of()
    slide["mask_file"] = "m.geojson"
    wanted = tiling.TileSettings(mask_class=mask_class)
    return slide_files.process(project, slide, MeanColour(), wanted=wanted, **options)


def made_of(project):
    with feature_file.reading(project / "features" / "s.h5") as file:
        return file["features"][:], file["coords"][:].tolist(), feature_file.read_attributes(
            project / "features" / "s.h5")


def test_tiles_inside_are_kept_as_they_are(project):
    slide_files.process(project, row_of(), MeanColour())
    all_features, all_coords, unmasked = made_of(project)
    assert (len(all_coords), unmasked["mask_file"], unmasked["mask_sha256"], unmasked["n_outside"]) == (6, "", "", 0)
    counts = process(project, [tumour(square(900, 200, 900)), tumour(square(0, 0, 300), name="Stroma")], "Tumor")
    features, coords, made = made_of(project)
    assert counts == {"tiles": 12, "kept": 4, "unreadable": 0}
    assert coords == [[1024, 0], [1536, 0], [1024, 512], [1536, 512]] and made["n_outside"] == 2
    np.testing.assert_array_equal(features, [row for row, corner in zip(all_features, all_coords) if corner in coords])


def test_the_mask_decides_whether_a_slide_is_finished(project):
    def is_finished(mask_file="m.geojson", mask_class=""):
        slide = row_of()
        slide["mask_file"] = mask_file
        return slide_files.is_finished(project, slide, SETTINGS | {"drop": "", "mask_class": mask_class})
    process(project, [tumour(square(900, 200, 900))])
    assert is_finished()
    for changed, message in (({"mask_class": "Tumor"}, "mask_class was nothing, now Tumor"),
                             ({"mask_file": ""}, "mask_file was m.geojson, now nothing;")):
        with pytest.raises(ValueError, match=message):
            is_finished(**changed)
    (project / "regions" / "n.geojson").write_bytes((project / "regions" / "m.geojson").read_bytes())
    assert is_finished("n.geojson")
    written(project / "regions" / "m.geojson", [tumour(square(900, 200, 800))])
    with pytest.raises(ValueError, match="mask_sha256 was"):
        is_finished()
    (project / "regions" / "m.geojson").unlink()
    assert is_finished()    # as with a slide that is not there any more


@pytest.mark.parametrize("content, message", [
    ([tumour(square(0, 0, 600))], r"misses the tissue: of 1 tiles inside, 0 are tissue \(of all 6\)"),
    ([tumour(square(600, 200, 370))], r"misses the tissue.*\(at a downsample of 2 they would fit\)"),
    ([tumour(square(520, 0, 20))], r"no tile \(512 level-0 px\) has its centre inside the mask")])
def test_masks_that_miss(project, content, message):
    with pytest.raises(ValueError, match=message):
        process(project, content)
    assert not (project / "features").exists()


def test_regions_are_drawn(project):
    process(project, [tumour(square(768, 256, 768))])
    page = np.asarray(PdfReader(project / "mask" / "s.pdf").pages[0].images[0].image.convert("RGB")).astype(int)
    top, blue = slide_mask.GAP_PX + 3 * slide_mask.TITLE_PX, page[..., 2] - page[..., 0] > 80
    for left in (slide_mask.GAP_PX, 2 * slide_mask.GAP_PX + 4 * 32):
        area = blue[top:top + 96, left:left + 128]
        rows, columns = np.flatnonzero(area.any(1)), np.flatnonzero(area.any(0))
        assert abs(rows[[0, -1]] - [16, 63]).max() < 3 and abs(columns[[0, -1]] - [48, 95]).max() < 3
        assert not area[20:60, 52:92].any()


def test_a_cohort_with_masks(tmp_path, run_script):
    """By the scripts: one slide with a mask, one without, one whose mask is not there; what the check says."""
    pictures = {name: painted_slides.slide_picture(1, 2, seed=i) for i, name in enumerate("abc")}
    project = painted_slides.make_project(tmp_path / "p", pictures, Mask=["a.geojson", "", "absent.png"])
    (project / "regions").mkdir()
    written(project / "regions" / "a.geojson", [tumour(square(500, 0, 500))])
    (tmp_path / "mean.py").write_text("import torch\ndef build():\n    pool = torch.nn.AdaptiveAvgPool2d(1)\n"
                                      "    return torch.nn.Sequential(pool, torch.nn.Flatten()), 8, [0] * 3, [1] * 3\n")
    done = run_script("slide_processing/1main_processing.py", project, "all", "--encoder", f"{tmp_path}/mean.py:build",
                      "--mask-class", "Tumor")
    log = pd.read_csv(project / "logs" / "slide_processing.csv", index_col="slide_id")
    assert done.returncode == 1 and "1 of 3 slides failed" in done.stderr and log.kept["a"] == 1 and log.kept["b"] == 2
    assert "absent.png is missing: check Mask in metadata.csv" in log.reason["c"]
    assert "a: 1 tissue tiles outside the mask a.geojson" in done.stdout
    assert "1 of 3 slides have no Mask, all their tissue counts: b" in done.stdout
    said = run_script("data/check_project.py", project).stdout
    assert "1 masks are not in regions/: absent.png; copy them" in said and "1 slides have no Mask" in said
    assert "--mask-class Tumor" in said or "cannot start" in said
    refused = run_script("slide_processing/1main_processing.py", project, "all", "--mask-class", "Stroma; fibrous")
    assert refused.returncode == 1 and "'Stroma; fibrous': semicolons separate classes" in refused.stderr


@pytest.mark.parametrize("name", ["../a.geojson", "/a.png", "x/../../a"])
def test_masks_stay_in_their_folder(tmp_path, name):
    (tmp_path / "metadata.csv").write_text(f"Slide.ID,Patient.ID,Mask\ns,p,{name}\n")
    with pytest.raises(ValueError, match="leaves the folder regions/"):
        metadata_file.read(tmp_path)


def test_the_column_survives_writing(tmp_path):
    (tmp_path / "metadata.csv").write_text("Slide.ID,Filename,Patient.ID,Mask\ns,s.svs,p,m.png\nt,t.svs,q,\n")
    slides = metadata_file.read(tmp_path)
    metadata_file.write(tmp_path / "again.csv", slides)
    assert slides.mask_file.tolist() == ["m.png", ""]
    assert (tmp_path / "again.csv").read_text() == (tmp_path / "metadata.csv").read_text()
