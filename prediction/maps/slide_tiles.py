"""One slide as a map needs it: where its tiles lie, and its picture. Positions are pixels of level 0, y downwards."""
import dataclasses

import numpy as np
from PIL import Image

from slide_ex.project import feature_file, features_file, features_writing
from slide_ex.slides import files, opening, scale

STRIP_PIXELS = 1 << 26  # of a slide in memory at a time; a slide without smaller levels may have more than memory
MAX_OTHER_SIZE = 0.01       # relative difference of a slide's side from what is recorded: CLAM's is that of a level


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where the analysed tiles of a slide lie."""
    coords: np.ndarray  # int64 (n_tiles, 2)   x, y of the top-left corners
    level0_tile_px: int        # side of a tile
    size_px: tuple      # width, height of the slide; what the tiles cover where the slide's size is not recorded
    mpp: float = np.nan     # microns per pixel of level 0 by which the tiles were cut, NaN where it is not recorded
    is_size_recorded: bool = False


@dataclasses.dataclass(frozen=True)
class Picture:
    """A slide's thumbnail, with what it depicts."""
    rgb: np.ndarray  # uint8 (height, width, 3)
    size_px: tuple   # width, height of level 0
    mpp: float       # microns per pixel of level 0, NaN where the slide does not say
    origin_px: tuple = (0, 0)  # left, top of what was scanned, where level 0 is larger than that (MIRAX, Leica)


def read_layout(project, slides, row):
    """Layout of one slide; ValueError when nobody recorded where its tiles lie."""
    slide_id, coords = slides.slide_ids[row], slides.read_tiles("coords", row).astype(np.int64)
    if (coords < 0).any():
        raise ValueError(f"{slides.path} does not say where the tiles of {slide_id} lie (coords of -1, as imported): "
                         "extract its features again, with coords")
    found = recorded_of(project, slides, slide_id)
    level0_tile_px = found.get("patch_size_level0")
    if not level0_tile_px:
        raise ValueError(f"the size of the tiles of {slide_id} is recorded nowhere: for imported features run "
                         "data/import_features.py --overwrite with --clam-patches or --tile-level0-px, else process "
                         "the slide with slide_processing/1main_processing.py (level0_tile_px)")
    covered, sides = coords.max(0) + level0_tile_px, ("level0_width", "level0_height")
    size_px = tuple(int(found.get(side, of_tiles)) for side, of_tiles in zip(sides, covered))
    return Layout(coords, int(round(level0_tile_px)), size_px, found.get("level0_mpp", np.nan),
                  set(sides) <= set(found))


def read_colours(project, slides, row):
    """Mean colour of each tile of a slide, float32 (n_tiles, 3); None where features/<Slide.ID>.h5 is not there.

    ValueError when that file has another number of tiles than features.h5.
    """
    path = feature_file.path_of(project, slides.slide_ids[row])
    if not path.is_file():
        return None
    colours = feature_file.read_colours(path)
    if len(colours) != slides.n_tiles[row]:
        raise ValueError(f"{path} has {len(colours)} tiles, {slides.path} {slides.n_tiles[row]}: run "
                         "slide_processing/collect_features.py again with --overwrite")
    return colours


def recorded_of(project, slides, slide_id):
    """What is recorded of a slide (dict, features_file.OF_SLIDES): in its own feature file, else in features.h5."""
    own = feature_file.path_of(project, slide_id)
    found = features_file.read_geometry(slides.path).loc[slide_id].dropna().to_dict()
    if own.is_file():
        made = features_writing.geometry_of(feature_file.read_attributes(own))
        found |= {name: value for name, value in made.items() if value is not None}
    return found


def picture_of(project, slide, layout, max_px):
    """Thumbnail of a slide (row of metadata_file.read) with this Layout, None where its file is not there.

    ValueError where that is not of the size that the slide had when its tiles were cut: it was replaced.
    """
    path = files.find(project / "slides", slide.filename)
    picture = read_picture(path, max_px, layout.mpp, slide.magnification, slide.mpp)
    if picture and layout.is_size_recorded and not np.allclose(picture.size_px, layout.size_px, rtol=MAX_OTHER_SIZE):
        sizes = ["{} x {} px".format(*size) for size in (picture.size_px, layout.size_px)]
        raise ValueError(f"{path} is {sizes[0]}, the slide whose tiles are in features.h5 was {sizes[1]}: make its "
                         "features again with --overwrite, or take the file away to draw maps on white")
    return picture


def read_picture(path, max_px, mpp=np.nan, magnification=np.nan, table_mpp=np.nan):
    """Thumbnail of at most `max_px` a side, None where there is no such slide.

    mpp : float
        Microns per pixel by which the slide's tiles were cut (Layout.mpp); where it is not known, what decides it for
        tiles decides it here too.
    magnification, table_mpp : float
        Of the slide's row in metadata.csv, NaN where not given.
    """
    if not path.exists():
        return None
    try:
        with opening.open_slide(path) as slide:
            rgb = thumbnail(slide, max_px)
            if np.isnan(mpp):
                mpp = mpp_of(slide, magnification, table_mpp)
            origin = tuple(int(slide.properties.get(f"openslide.bounds-{axis}", 0)) for axis in "xy")
            return Picture(rgb, slide.dimensions, mpp, origin)
    except (ValueError, OSError, opening.OpenSlideError) as error:
        raise ValueError(f"{path} cannot be read by OpenSlide ({error}): fetch it again, or take it away to draw maps "
                         "on white") from None


def mpp_of(slide, magnification, table_mpp):
    """Microns per pixel of an open slide, NaN where nobody says it, or two say different things."""
    try:
        return scale.decide(scale.said_by(slide.properties), magnification, table_mpp).mpp
    except ValueError:
        return np.nan


def thumbnail(slide, max_px):
    """An open slide, at most `max_px` a side; uint8 (height, width, 3). Strips of the level that fits are read."""
    scale = max(1, max(slide.dimensions) / max_px)
    level = slide.get_best_level_for_downsample(scale)
    width, height = slide.level_dimensions[level]
    shrink = scale / slide.level_downsamples[level]
    out_width, out_height = (max(1, round(side / shrink)) for side in (width, height))
    n_strips = -(-width * height // STRIP_PIXELS)
    bounds = np.linspace(0, out_height, min(n_strips, out_height) + 1).astype(int)
    strips = []
    for top, bottom in zip(bounds, bounds[1:]):
        first, last = (round(row * height / out_height) for row in (top, bottom))
        region = slide.read_region((0, round(first * slide.level_downsamples[level])), level, (width, last - first))
        glass = Image.new("RGB", region.size, "white")
        glass.paste(region, mask=region.getchannel("A"))
        strips.append(np.asarray(glass.resize((out_width, bottom - top), Image.Resampling.BOX)))
    return np.concatenate(strips)
