"""Regions of a slide whose tiles are kept: polygons in GeoJSON (QuPath, TRIDENT's contours), or a PNG of any size.

A tile is inside when its centre is. Polygons are in level-0 pixels as OpenSlide counts them; those of QuPath, which
counts from the corner of what was scanned, are moved by that corner. A PNG covers level 0, or what was scanned of it.
"""
import json
import warnings
from dataclasses import dataclass

import numpy as np
from PIL import Image

from slide_ex.ids import some, with_near_matches

NO_CLASS = "without class"
PNG = b"\x89PNG"
OF_QUPATH = {"objectType", "isLocked"}      # properties by which objects of QuPath are known
NOT_REGIONS = ("cell", "detection")         # kinds of QuPath's objects
OLD_KINDS = {"PathCellObject": "cell", "PathDetectionObject": "detection"}    # ids, before QuPath 0.4
MAX_OVERHANG = 0.01         # share of the slide's side by which a region may reach beyond it
MAX_ASPECT = 0.01           # relative difference of the aspect ratios of a PNG and its slide; a pixel is always allowed
MIN_TISSUE_SHARE = 0.5      # of the tiles inside; below it the mask may be in coordinates of another level
COARSER = (2, 4, 8, 16, 32, 64)     # downsamples of levels that masks are drawn at by mistake


@dataclass(frozen=True)
class Polygons:
    """Regions by their outlines."""
    polygons: list      # of lists of rings, float64 (n_points, 2), x and y in level-0 pixels; odd-even in a polygon
    notes: tuple = ()   # what of the file was left out, in words

    def holds(self, x, y):
        """Whether points of a grid are inside: bool (n_y, n_x) for level-0 coordinates x (n_x,), ascending, y (n_y,).

        A point on an edge belongs to what lies right of it or below, so that of two regions side by side one has it.
        """
        inside = np.zeros((len(y), len(x)), bool)
        for rings in self.polygons:
            x1, y1 = np.concatenate(rings).T
            x2, y2 = np.concatenate([np.roll(ring, -1, axis=0) for ring in rings]).T
            for row in np.flatnonzero((y >= y1.min()) & (y <= y1.max())):
                crossed = (y1 <= y[row]) != (y2 <= y[row])
                a, b = (x1[crossed], y1[crossed]), (x2[crossed], y2[crossed])
                at = np.sort(a[0] + (y[row] - a[1]) / (b[1] - a[1]) * (b[0] - a[0]))
                inside[row] |= np.searchsorted(at, x, side="right") % 2 == 1
        return inside

    def extent(self):
        """Left, top, right, bottom, level-0 pixels."""
        points = np.concatenate([ring for rings in self.polygons for ring in rings])
        return (*points.min(axis=0), *points.max(axis=0))


@dataclass(frozen=True)
class Picture:
    """Regions by the pixels of a picture that covers the slide, or a part of it."""
    marked: np.ndarray  # bool (height, width)
    covers: tuple       # left, top, width, height in level-0 pixels
    notes: tuple = ()

    def holds(self, x, y):
        """As `Polygons.holds`."""
        left, top, width, height = self.covers
        column = np.floor((np.asarray(x) - left) * self.marked.shape[1] / width).astype(int)
        row = np.floor((np.asarray(y) - top) * self.marked.shape[0] / height).astype(int)
        n_rows, n_columns = self.marked.shape
        known = ((row >= 0) & (row < n_rows))[:, None] & ((column >= 0) & (column < n_columns))
        return known & self.marked[np.ix_(row.clip(0, n_rows - 1), column.clip(0, n_columns - 1))]


def read(path, size, bounds, classes=()):
    """The regions of a slide (Polygons or Picture).

    Parameters
    ----------
    path : Path of a GeoJSON or PNG file, whatever its ending
    size : width and height of the slide, level-0 pixels
    bounds : left, top, right, bottom of what was scanned, level-0 pixels
    classes : names (of a PNG: grey values) of the regions that count; () where the file has only one

    Raises
    ------
    FileNotFoundError, ValueError
        The file is absent or neither; it has none of the classes, or several and none was chosen; it does not fit the
        slide.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: check Mask in metadata.csv")
    with open(path, "rb") as file:
        is_png = file.read(4) == PNG
    return picture_in(path, size, bounds, classes) if is_png else polygons_in(path, size, bounds, classes)


# GeoJSON

def polygons_in(path, size, bounds, classes):
    try:
        objects = list(features_in(json.loads(path.read_text(encoding="utf-8-sig"))))
        regions = [(class_of(properties), polygon_arrays(geometry)) for geometry, properties in objects
                   if properties.get("objectType") not in NOT_REGIONS]
    except (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError):
        raise ValueError(f"{path} is neither GeoJSON nor PNG, or damaged: export regions from QuPath as GeoJSON, or "
                         "write a PNG") from None
    by_class = {}
    for name, polygons in regions:
        by_class.setdefault(name, []).extend(polygons)
    by_class = {name: polygons for name, polygons in by_class.items() if polygons}
    if not by_class:
        raise ValueError(f"{path} holds no polygon (of {len(objects)} objects): draw regions that have an area")
    polygons = [polygon for name in chosen(by_class, classes, path) for polygon in by_class[name]]
    if any(OF_QUPATH & set(properties) for _, properties in objects):
        polygons = [[ring + bounds[:2] for ring in rings] for rings in polygons]
    left_out = {"cells or detections": len(objects) - len(regions),
                "points or lines": sum(not polygons_of_one for _, polygons_of_one in regions)}
    found = Polygons(polygons, tuple(f"{n} {what} of {path.name} are no regions" for what, n in left_out.items() if n))
    refuse_beyond(found.extent(), size, path)
    return found


def features_in(content):
    """(geometry, properties) of everything in a GeoJSON document: a collection, an array, a feature, a geometry."""
    if isinstance(content, list):
        for one in content:
            yield from features_in(one)
    elif content["type"] == "FeatureCollection":
        yield from features_in(content["features"])
    elif content["type"] == "Feature":
        kind = OLD_KINDS.get(str(content.get("id")))
        yield content["geometry"], ({"objectType": kind} if kind else {}) | (content.get("properties") or {})
    else:
        yield content, {}


def class_of(properties):
    """The class of an object of QuPath: {"name": ...}, {"names": [...]} of a derived one, or plain text."""
    found = properties.get("classification") or ""
    if isinstance(found, dict):
        found = found.get("name") or ": ".join(found.get("names", ()))
    return found or NO_CLASS


def polygon_arrays(geometry):
    """The polygons of a geometry, each a list of rings, float64 (n_points, 2); [] of points and lines."""
    if geometry is None:
        return []
    if geometry["type"] == "GeometryCollection":
        return [polygon for one in geometry["geometries"] for polygon in polygon_arrays(one)]
    nested = {"Polygon": [geometry.get("coordinates")], "MultiPolygon": geometry.get("coordinates")}
    polygons = [[np.array([point[:2] for point in ring], float) for ring in rings]
                for rings in nested.get(geometry["type"], []) if rings]     # an empty one has no rings
    if not all(len(ring) > 2 and np.isfinite(ring).all() for rings in polygons for ring in rings):
        raise ValueError("a ring without area")
    return polygons


def refuse_beyond(extent, size, path):
    """ValueError for regions that reach beyond the slide: they are of another slide, or in other units."""
    left, top, right, bottom = extent
    over = MAX_OVERHANG * np.array(size)
    if left < -over[0] or top < -over[1] or right > size[0] + over[0] or bottom > size[1] + over[1]:
        raise ValueError(f"{path} reaches from ({left:g}, {top:g}) to ({right:g}, {bottom:g}), the slide is {size[0]} "
                         f"x {size[1]} px: give the mask of this slide, in level-0 pixels")


# PNG

def picture_in(path, size, bounds, classes):
    values = grey_values(path)
    by_value = {str(value): value for value in np.unique(values) if value > 0}
    if not by_value:
        raise ValueError(f"{path} marks nothing: pixels above 0 are regions")
    marked = np.isin(values, [by_value[name] for name in chosen(by_value, classes, path)])
    whole, scanned = (0, 0, *size), (*bounds[:2], bounds[2] - bounds[0], bounds[3] - bounds[1])
    fitting = [one for one in dict.fromkeys((whole, scanned)) if has_aspect(marked.shape, one)]
    if len(fitting) != 1:
        raise ValueError(f"{path} is {marked.shape[1]} x {marked.shape[0]} px, level 0 of the slide {size[0]} x "
                         f"{size[1]}, {scanned[2]} x {scanned[3]} of it scanned: " +
                         ("it fits both; draw the regions as GeoJSON" if fitting else
                          "give a mask of the whole slide, with its aspect ratio"))
    return Picture(marked, *fitting)


def grey_values(path):
    """Whole numbers (height, width): grey values of a PNG, indexes of a palette of colours; 0 where transparent."""
    try:
        with warnings.catch_warnings(), Image.open(path) as image:
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            palette = np.array(image.getpalette("RGB") or [0, 0, 0]).reshape(-1, 3) if image.mode == "P" else None
            if palette is not None and (palette == palette[:, :1]).all():    # shades of grey
                image = image.convert("L")
            pixels = np.asarray(image)
            pixels = pixels.astype(np.uint8) if pixels.dtype == bool else pixels
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} cannot be read ({error}): write a smaller PNG of the slide, any size will do"
                         ) from None
    if pixels.ndim == 2:
        return pixels
    has_alpha = pixels.shape[2] in (2, 4)
    colours = pixels[..., :-1] if has_alpha else pixels
    if (colours != colours[..., :1]).any():
        raise ValueError(f"{path} is coloured: write it in black and white, or one shade of grey a class")
    return colours[..., 0] * (pixels[..., -1] > 0) if has_alpha else colours[..., 0]


def has_aspect(shape, covers):
    """Whether a picture (height, width) has the aspect ratio of an area, up to a pixel."""
    (rows, columns), (_, _, width, height) = shape, covers
    return (abs(columns - rows * width / height) <= max(1, MAX_ASPECT * columns)
            or abs(rows - columns * height / width) <= max(1, MAX_ASPECT * rows))


# Both

def chosen(there, classes, path):
    """The names among those of a file (`there`) that count; ValueError where none does, or it is not said which."""
    if not classes and len(there) > 1:
        raise ValueError(f"{path} has regions of {len(there)} classes ({some(there, 8)}): choose with --mask-class")
    found = [name for name in there if not classes or name in classes]
    if not found:
        raise ValueError(f"{path} has no region of class {with_near_matches(classes, there)}; its classes are "
                         f"{some(there, 8)}")
    return found


def tiles_inside(region, grid):
    """Which tiles of a tiling.Grid have their centre inside, bool (n_tiles,); ValueError where none has."""
    inside = region.holds(*grid.centres).ravel()
    if not inside.any():
        raise ValueError(f"no tile ({grid.level0_tile_px} level-0 px) has its centre inside the mask: its regions are "
                         "too small, or not in level-0 pixels")
    return inside


def refuse_misplaced(region, inside, is_tissue, grid):
    """ValueError for a mask that misses the tissue, or looks as if its coordinates were those of another level.

    Parameters
    ----------
    inside, is_tissue : bool (n_tiles,)
        Whether a tile has its centre in the region, whether it is tissue.
    """
    share = is_tissue[inside].mean()
    hint = at_coarser_level(region, grid, is_tissue, share) if share < MIN_TISSUE_SHARE else ""
    if not share or hint:
        raise ValueError(f"the mask misses the tissue: of {inside.sum()} tiles inside, {(inside & is_tissue).sum()} "
                         f"are tissue (of all {is_tissue.sum()}): give the mask of this slide, in level-0 pixels{hint}")


def at_coarser_level(region, grid, is_tissue, share):
    """In words at which downsample of the regions more than `share` of the tiles inside is tissue; "" at none."""
    if not isinstance(region, Polygons):
        return ""
    (x, y), (right, bottom), edge = grid.centres, region.extent()[2:], grid.level0_tile_px
    best_share, best_downsample = share, None
    for downsample in COARSER:
        if right * downsample > (grid.n_columns + 1) * edge or bottom * downsample > (grid.n_rows + 1) * edge:
            break
        inside = region.holds(x / downsample, y / downsample).ravel()
        if inside.any() and is_tissue[inside].mean() > best_share:
            best_share, best_downsample = is_tissue[inside].mean(), downsample
    return f" (at a downsample of {best_downsample} they would fit)" if best_downsample else ""
