"""features/<Slide.ID>.h5, the features of one slide.

    features   float32 or float16 (n_tiles, n_features)   zero rows when no tile is tissue
    coords     int32 (n_tiles, 2)      x, y of the top-left corner, pixels of level 0, row by row
        attributes as TRIDENT names them: patch_size (px of a tile as encoded), patch_size_level0,
        level0_magnification, target_magnification, overlap, name, level0_width, level0_height
    mean_rgb   float32 (n_tiles, 3)    mean colour of each tile as scanned, 0..255
    measures   float32 (n_tiles, 4)    of each tile as scanned: sharpness, share of pixels with an H&E hue, of pen
                                       colours, of glass (slide_processing/tiles/quality.py); told, not used
    unreadable int32 (n_unreadable, 2) corners of tiles that could not be decoded
    mean_features float32 (n_features,), slide_rgb float32 (3,)    means of features and mean_rgb over the tiles, summed
               in float64; NaN without tiles. Files of earlier versions have none: `read_summary` computes them
    attributes of each slide (OWN) what the slide says of its scale (slide_says_power, slide_says_mpp_x, _y; NaN: it
               does not), what was made of it (slide_magnification, magnification_source, scale_choice,
               scale_difference between power and resolution), its quality (he_share, median; blurred_share and
               pen_share, of tiles; n_dropped), its mask (mask_file, mask_sha256; "" without; n_outside,
               tissue tiles that it leaves out), its files (`files.identity`), the grid
               what decides the numbers alike in all slides (DECIDING), content_sha256 of the three arrays, and
               sums_sha256 of the checksums of their blocks (hdf5.sums_sha256), which is compared without reading them

`now_of` is the one place that says what of a slide and its row in metadata.csv decides the numbers.
"""
import contextlib
import dataclasses
import hashlib
import math
from pathlib import Path

import numpy as np

from slide_ex import checksums, hdf5
from slide_ex.project import metadata_file
from slide_ex.slides import files, scale

MADE_BY = "slide_processing/1main_processing.py"
FOLDER = "features"
DECIDING = ("encoder", "weights", "weights_seed", "weights_sha256", "precision", "normalisation", "tile_px",
            "magnification", "drop", "mask_class")    # alike in all slides of a cohort
DEFAULTS = {"drop": "", "mask_class": "", "mask_file": "", "mask_sha256": ""}     # of what earlier versions lack
OWN = ("slide_id", "patient_id", "slide_index", "filename", "slide_bytes", "slide_files_sha256", "slide_middles_sha256",
       "slide_says_power", "slide_says_mpp_x", "slide_says_mpp_y", "slide_magnification", "magnification_source",
       "scale_choice", "scale_difference", "level0_tile_px", "level0_width", "level0_height", "n_rows", "n_columns",
       "n_tiles_total", "n_dropped", "n_outside", "mask_file", "mask_sha256", "he_share", "blurred_share", "pen_share")
MIN_HE_SHARE = 0.5      # median share of tissue with an H&E hue; below it a slide is stained otherwise
ARRAYS = "features", "coords", "mean_rgb"
MANY = 0.1              # share of a slide's tiles that are blurred, or under pen, from which on it is told
SAYS = {"power": "slide_says_power", "mpp_x": "slide_says_mpp_x", "mpp_y": "slide_says_mpp_y"}    # Said, attributes


@dataclasses.dataclass(frozen=True)
class Summary:
    """What a collection of slides takes from the file of one."""
    path: Path
    attributes: dict            # as read_attributes, without n_tiles, n_features
    shape: tuple                # n_tiles, n_features
    dtype: np.dtype             # of the features
    mean_features: np.ndarray   # float (n_features,)
    mean_rgb: np.ndarray        # float (3,)
    sums_sha256: str            # "" where earlier versions wrote no checksums


def path_of(project_path, slide_id):
    return project_path / FOLDER / f"{slide_id}.h5"


def attributes_of(said, of_scale, choice):
    """What a slide says of its scale (Said), what was made of it (Scale) and the choice of --scale, as attributes."""
    return {SAYS[name]: value for name, value in dataclasses.asdict(said).items()} | {
        "slide_magnification": of_scale.power, "magnification_source": of_scale.source, "scale_choice": choice,
        "scale_difference": of_scale.difference}


def now_of(project_path, slide, made, choice=None):
    """What of a slide and its row in metadata.csv decides the numbers, as it is now, in the names of attributes.

    Two ways of saying the same scale are alike: what is compared is the side of a tile in pixels of level 0. A slide
    that is not there any more is not compared; one that is older than its features is not opened for what it says.

    Parameters
    ----------
    slide : row of `metadata_file.read`
    made : dict or Series
        Attributes of the slide's feature file.
    choice : str or None
        As `prefer` of `scale.decide`; None takes that of the file.
    """
    now = {"patient_id": slide.patient_id, "filename": slide.filename} | mask_now(project_path, slide, made)
    if files.nfc(slide.filename) == files.nfc(made.get("filename", slide.filename)):
        now["filename"] = made.get("filename", slide.filename)
    source, is_old = files.find(project_path / "slides", slide.filename), False
    said = scale.Said(*(made.get(name, math.nan) for name in SAYS.values()))
    try:
        if slide.filename and source.exists():
            found = files.identity(source)
            now |= {name: value for name, value in found.items() if name in made}
            is_old = newest(source) <= path_of(project_path, slide.slide_id).stat().st_mtime_ns
            if not (is_old and SAYS["power"] in made):
                said = said_now(source, said)
        elif SAYS["power"] not in made and "metadata.csv" not in made.get("magnification_source", ""):
            said = scale.Said(made.get("slide_magnification", math.nan), math.nan, math.nan)
        prefer = made.get("scale_choice", "") if choice is None else choice
        power = scale.decide(said, slide.magnification, slide.mpp, prefer).power
        now["level0_tile_px"] = scale.level0_tile_px(power, made["tile_px"], made["magnification"])
        if now["level0_tile_px"] != made["level0_tile_px"]:
            now["slide_magnification"] = power  # says why
    except (ValueError, OSError) as error:
        now["level0_tile_px"] = f"unknown ({error})"
    return now


def mask_now(project_path, slide, made):
    """Which regions of a slide count now, in the names of attributes; a mask that is not there is not compared."""
    path = metadata_file.mask_of(project_path, slide)
    if path is not None and not path.is_file():
        return {"mask_file": slide.mask_file}
    sha256 = checksums.of_file(path) if path else ""
    is_the_same = path is not None and sha256 == made.get("mask_sha256")      # under another name
    return {"mask_file": made["mask_file"] if is_the_same else slide.mask_file, "mask_sha256": sha256}


def newest(source):
    """Time of the last change of a slide's files, ns."""
    return max(path.stat().st_mtime_ns for path in files.of_slide(source))


def said_now(source, otherwise):
    """What a slide says of its scale (Said), or what it said before, where it cannot be opened now."""
    from slide_ex.slides import opening  # and OpenSlide with it, which takes a moment
    try:
        with opening.open_slide(source) as slide:
            return scale.said_by(slide.properties)
    except (ValueError, OSError, opening.OpenSlideError):
        return otherwise


def refuse_not_finite(values, slide_id):
    """ValueError where a feature is NaN or infinite."""
    if not np.isfinite(values).all():
        n_bad = int((~np.isfinite(values)).any(axis=1).sum())
        raise ValueError(f"features of {slide_id} are not all finite (NaN in {n_bad} of {len(values)} tiles): use "
                         "--precision bf16 or fp32, or extract them again")


def stored(values, dtype, slide_id):
    """Features as they are stored, array of `dtype`; ValueError where a number is not finite, before or after."""
    refuse_not_finite(values, slide_id)
    with np.errstate(over="ignore"):
        narrowed = np.ascontiguousarray(values, dtype)
    if narrowed.dtype != values.dtype and not np.isfinite(narrowed).all():
        raise ValueError(f"features of {slide_id} do not fit {np.dtype(dtype)}: the largest is "
                         f"{np.abs(values).max():.6g}, the type ends at {np.finfo(dtype).max:.6g}; use float32")
    return narrowed


def oddities(made):
    """What is odd about a slide's tiles, in words (list), from the attributes of its feature file or a like table."""
    lines = ["not stained with H&E"] if made.get("he_share", 1) < MIN_HE_SHARE else []
    return lines + [f"{made[name]:.0%} of its tiles {what}" for name, what in
                    (("blurred_share", "blurred"), ("pen_share", "under pen")) if made.get(name, 0) > MANY]


def write(path, features, coords, mean_rgb, unreadable, attributes, measures=None):
    """Write one file; `attributes` are those of the docstring above, save content_sha256."""
    arrays = {"features": stored(features, features.dtype, attributes["slide_id"]),
              "coords": np.asarray(coords, np.int32),
              "mean_rgb": np.asarray(mean_rgb, np.float32)}
    with hdf5.writing(path) as file:
        for name, array in arrays.items():
            hdf5.write_array(file, name, array)
        if measures is not None:
            hdf5.write_array(file, "measures", measures, np.float32)
        hdf5.write_array(file, "unreadable", unreadable, np.int32)
        hdf5.write_array(file, "mean_features", mean_of(features, arrays["features"].shape[1]), np.float32)
        hdf5.write_array(file, "slide_rgb", mean_of(arrays["mean_rgb"], 3), np.float32)
        file.flush()
        file.attrs.update(attributes | {"content_sha256": content_sha256(arrays.values()),
                                        hdf5.SUMS: sums_of(path, file)})
        file["coords"].attrs.update({
            "patch_size": attributes["tile_px"], "patch_size_level0": attributes["level0_tile_px"],
            "level0_magnification": attributes["slide_magnification"],
            "target_magnification": attributes["magnification"], "overlap": 0, "name": attributes["slide_id"],
            "level0_width": attributes["level0_width"], "level0_height": attributes["level0_height"]})


def mean_of(values, n_columns):
    """Mean over rows, summed in float64; NaN without rows."""
    return np.full(n_columns, np.nan) if values is None or not len(values) else values.mean(axis=0, dtype=np.float64)


def sums_of(path, file):
    """hdf5.sums_sha256 of the three arrays of an open file; "" where they have no checksums."""
    arrays = [file[name] for name in ARRAYS]
    return hdf5.sums_sha256(path, *arrays) if all(array.fletcher32 or not array.size for array in arrays) else ""


def content_sha256(arrays):
    """SHA-256 of the values of features, coords and mean_rgb."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()


def reading(path):
    """The open file (context manager); errors say what is wrong with it, by name."""
    return hdf5.reading(path, MADE_BY)


def read_arrays(path):
    """features, coords, mean_rgb, arrays of n_tiles rows; ValueError where they are not as they were written."""
    with reading(path) as file:
        arrays = tuple(file[name][:] for name in ARRAYS)
        if content_sha256(arrays) != file.attrs["content_sha256"]:
            raise ValueError("its arrays are not those of its content_sha256")
    return arrays


def read_attributes(path):
    """Its attributes, and n_tiles, without reading a tile."""
    with hdf5.outline(path, MADE_BY) as file:
        return attributes_in(file)


def attributes_in(file):
    """The same of an open file, or an hdf5.Outline."""
    arrays = [file[name] for name in ARRAYS]
    shapes, kinds = [array.shape for array in arrays], "".join(array.dtype.kind for array in arrays)
    n_tiles, n_features = shapes[0]
    if kinds != "fif" or shapes[1:] != [(n_tiles, 2), (n_tiles, 3)]:
        raise ValueError(f"features, coords and mean_rgb of shape {shapes[0]}, {shapes[1]}, {shapes[2]}")
    found = {name: value for name, value in hdf5.attributes(file).items() if name != hdf5.SUMS}
    return DEFAULTS | found | {"n_tiles": n_tiles, "n_features": n_features}


def read_n_tiles(path):
    """Number of tiles, and nothing else."""
    with hdf5.outline(path, MADE_BY, is_compared=False) as file:
        return file["features"].shape[0]


@contextlib.contextmanager
def reading_tiles(path):
    """Give the open file for its arrays alone, and sums_of it as it is now; twice None where it is not there.

    Names and attributes of a file without its seal are not compared, which takes ten times longer: the sums say whether
    the arrays are those that somebody knows.
    """
    if not path.is_file():
        yield None, None
        return
    with hdf5.reading(path, MADE_BY, is_compared=False) as file:
        yield file, sums_of(path, file)


def read_sums(path):
    """sums_of a file as it is now, None where it is not there; no number of it is read."""
    with reading_tiles(path) as (_, sums):
        return sums


def read_summary(path):
    """Summary of a file. No tile is read where it has its means, and the checksums of its blocks are as it says; of
    earlier versions all are. ValueError for another file."""
    with hdf5.outline(path, MADE_BY) as known, reading_tiles(path) as (file, sums):
        attributes, means = attributes_in(known), None
        shape = attributes.pop("n_tiles"), attributes.pop("n_features")
        dtype = file["features"].dtype
        if "mean_features" in file:
            if sums != known.attrs[hdf5.SUMS]:
                raise ValueError("its arrays are not those of its sums_sha256")
            means = file["mean_features"][:], file["slide_rgb"][:]
    if means is None:
        features, _, colours = read_arrays(path)
        means = mean_of(features, shape[1]), mean_of(colours, 3)
    return Summary(path, attributes, shape, dtype, *means, sums)


def read_colours(path):
    """mean_rgb, float32 (n_tiles, 3)."""
    with reading(path) as file:
        return file["mean_rgb"][:]
