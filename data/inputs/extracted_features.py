"""Feature files of other tools, one a slide; a layout that is not listed here is refused with the names it holds.

    TRIDENT   .h5   features (n_tiles, n_features), coords (n_tiles, 2) of level 0, whose attributes say patch_size,
                    patch_size_level0, overlap, level0_width, level0_height, level0_magnification, target_magnification;
                    newer versions name the encoder in those of features. A slide without tissue has features of shape
                    (0,) and no attributes
    CLAM      .h5   features (also (1, n_tiles, n_features)), coords of level 0; patches/*.h5 say the size of the tiles
              .pt   a tensor (n_tiles, n_features), in the order of patches/*.h5
    STAMP     .h5   feats, coords in um; attributes extractor, unit, tile_size_um, tile_size_px
"""
import dataclasses
import math
import re

import h5py
import numpy as np

from slide_ex.ids import some, with_near_matches
from slide_ex.slides import files, scale

ENDINGS = (".h5", ".pt")
ENDING = re.compile(r"\.[A-Za-z0-9]+$")
OF_COORDS = {"patch_size": "tile_px", "target_magnification": "magnification"}  # TRIDENT's name and ours
OF_SLIDE = ("patch_size_level0", "overlap", "level0_width", "level0_height")    # by TRIDENT's names, which are ours
NOT_A_SLIDE_SAYS = scale.Said(math.nan, math.nan, math.nan)


@dataclasses.dataclass(frozen=True)
class Bag:
    """The features of one slide, as its file has them."""
    features: np.ndarray        # (n_tiles, n_features), a floating type; (0, 0) of an empty slide
    coords: np.ndarray | None   # int32 (n_tiles, 2), x, y of level 0; None where nobody recorded them
    shared: dict                # encoder, tile_px, magnification, as far as the file says them
    recorded: dict              # of this slide, features_file.OF_SLIDES


def find_files(slides, folder):
    """Path of the feature file of each slide, None where there is none; ValueError where a name means two."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder: give the folder with one .h5 a slide")
    by_stem = {files.nfc(path.stem): path for ending in reversed(ENDINGS) for path in sorted(folder.glob(f"*{ending}"))}
    if not by_stem:
        below = sorted({path.parent for ending in ENDINGS for path in folder.rglob(f"*{ending}")})
        raise FileNotFoundError(f"no .h5 in {folder}" + (f", but in {some(below)}" if below else "")
                                + ": give the folder with one .h5 (or .pt) a slide")
    found = [file_of(slide, by_stem) for slide in slides.itertuples()]
    owners = {}
    for slide_id, path in zip(slides["slide_id"], found):
        if path is not None and (other := owners.setdefault(path, slide_id)) != slide_id:
            raise ValueError(f"{path} would be the features of {other} and of {slide_id}, whose slide files have the "
                             "same name: name the feature files <Slide.ID>.h5")
    return found


def file_of(slide, by_stem):
    """The file of one slide (row): named by its id, or as its slide file without folder and ending."""
    name = files.nfc(slide.filename.split("/")[-1])
    stems = [files.nfc(slide.slide_id), ENDING.sub("", name), re.sub(r"\.ome$", "", ENDING.sub("", name))]
    paths = list(dict.fromkeys(by_stem[stem] for stem in stems if stem in by_stem))
    if len(paths) > 1:
        raise ValueError(f"{some([path.name for path in paths])} could both be the features of {slide.slide_id}: take "
                         "one away")
    return paths[0] if paths else None


def about_missing(slide_ids, folder):
    """Which slides have no feature file, each with the file that looks most like it."""
    return (f"no features of {len(slide_ids)} slides in {folder}: "
            + with_near_matches(slide_ids, [path.stem for ending in ENDINGS for path in folder.glob(f"*{ending}")]))


def read(slide, clam_patches=None, tile_level0_px=None):
    """The Bag of a slide (row with path, magnification, mpp).

    clam_patches : Path or None
        Folder patches/ of CLAM, which says the size of the tiles and, for .pt files, where they lie.
    tile_level0_px : float or None
        Side of the tiles in pixels of level 0, where the files do not say it.
    """
    bag = read_tensor(slide.path) if slide.path.suffix == ".pt" else read_hdf5(slide)
    if not len(bag.features):
        return bag
    if clam_patches is not None:
        bag = with_patches(bag, slide, clam_patches)
    if tile_level0_px is not None and "patch_size_level0" not in bag.recorded:
        bag = dataclasses.replace(bag, recorded=bag.recorded | {"patch_size_level0": tile_level0_px})
    return bag


def read_tensor(path):
    """A bag of CLAM's pt_files: features only."""
    import torch
    try:
        features = torch.load(path, map_location="cpu", weights_only=True)
        features = np.asarray(features.detach() if features.dtype != torch.bfloat16 else features.float())
    except Exception:
        raise ValueError(f"{path} is no tensor that loads safely: write it again as torch.save(features, path), a "
                         "tensor (n_tiles, n_features)") from None
    return Bag(unwrapped(features), None, {}, {})


def read_hdf5(slide):
    """A bag of TRIDENT, CLAM or STAMP."""
    with open_file(slide.path) as file:
        if "feats" in file:
            return of_stamp(file, slide)
        features, coords = unwrapped(file["features"][:]), unwrapped(file["coords"][:])
        said = dict(file["coords"].attrs)
        name = text(file["features"].attrs.get("encoder", ""))
    if not len(features):
        return Bag(np.empty((0, 0), np.float32), np.empty((0, 2), np.int32), {}, {})
    shared = {"encoder": name} if name else {}
    numbers = {name: number(said[name], name, slide.path) for name in (*OF_COORDS, *OF_SLIDE, "level0_magnification")
               if text(said.get(name, "None")) != "None"}
    shared |= {ours: numbers[theirs] for theirs, ours in OF_COORDS.items() if theirs in numbers}
    recorded = {theirs: numbers[theirs] for theirs in OF_SLIDE if theirs in numbers}
    if "level0_magnification" in numbers:
        recorded["level0_mpp"] = scale.MPP_TIMES_POWER / numbers["level0_magnification"]
    return Bag(features, np.asarray(coords, np.int32), shared, recorded)


def of_stamp(file, slide):
    """A bag of STAMP: its coords in um become pixels where metadata.csv says the scale of the slide."""
    features, um, said = file["feats"][:], file["coords"][:], dict(file.attrs)
    if text(said.get("unit", "um")) != "um" or "tile_size_um" not in said and "tile_size" not in said:
        raise ValueError(f"{slide.path} is of a layout of STAMP without tile_size_um and coords in um: extract the "
                         "slide with STAMP 2")
    if not len(features):
        return Bag(np.empty((0, 0), np.float32), np.empty((0, 2), np.int32), {}, {})
    tile_um = number(said.get("tile_size_um", said.get("tile_size")), "tile_size_um", slide.path)
    shared = {"encoder": text(said["extractor"])} if "extractor" in said else {}
    if "tile_size_px" in said:
        tile_px = number(said["tile_size_px"], "tile_size_px", slide.path)
        shared |= {"tile_px": tile_px, "magnification": scale.MPP_TIMES_POWER * tile_px / tile_um}
    if math.isnan(slide.mpp) and math.isnan(slide.magnification):
        return Bag(features, None, shared, {})
    mpp = scale.decide(NOT_A_SLIDE_SAYS, slide.magnification, slide.mpp).mpp
    return Bag(features, np.round(um / mpp).astype(np.int32), shared,
               {"patch_size_level0": tile_um / mpp, "overlap": 0, "level0_mpp": mpp})


def with_patches(bag, slide, folder):
    """The bag with what CLAM's patches/*.h5 of the slide says; ValueError where it has other tiles."""
    path = file_of(slide, {files.nfc(one.stem): one for one in sorted(folder.glob("*.h5"))})
    if path is None:
        raise FileNotFoundError(f"no patches of {slide.slide_id} in {folder}: give CLAM's folder patches/")
    try:
        with h5py.File(path, "r", locking=False) as file:
            coords, said = np.asarray(file["coords"][:], np.int32), dict(file["coords"].attrs)
            level0_tile_px = float(said["patch_size"]) * float(np.ravel(said["downsample"])[0])
    except (OSError, KeyError) as error:
        raise ValueError(f"{path} is no file of CLAM's patches/ ({error})") from None
    same = len(coords) == len(bag.features) and (bag.coords is None or np.array_equal(coords, bag.coords))
    if not same:
        raise ValueError(f"{path} has other tiles than {slide.path} ({len(coords)} and {len(bag.features)}): give the "
                         "patches that the features were made from")
    recorded = {"patch_size_level0": level0_tile_px}
    if "level_dim" in said:
        width, height = np.ravel(said["level_dim"]) * np.ravel(said["downsample"])
        recorded |= {"level0_width": float(width), "level0_height": float(height)}
    return dataclasses.replace(bag, coords=coords, recorded=bag.recorded | recorded)


def survey(bags, slides, folder, encoder):
    """What the bags of all slides share (dict), the widest type of their features, n_features, what each records.

    Raises ValueError for files that differ, and when neither the files nor `encoder` name the encoder.
    """
    found, types, n_features, recorded = None, [], None, []
    for slide, bag in zip(slides.itertuples(), bags):
        recorded.append(bag.recorded)
        if not bag.features.size:
            continue
        name = bag.shared.get("encoder", encoder)
        if encoder and name != encoder:
            raise ValueError(f"{slide.path} was made with the encoder {name}, not {encoder}")
        own = bag.shared | {"encoder": name}
        if found is not None and own != found:
            raise ValueError(f"{slide.path} differs from the files before it ({own}, not {found}): extract all slides "
                             "in the same way")
        found, n_features = own, n_features or bag.features.shape[-1]
        types.append(bag.features.dtype)
    if found is None:
        raise ValueError(f"no slide in {folder} has a tile")
    if not found["encoder"]:
        guess = re.sub(r"^features_", "", folder.name)
        raise ValueError(f"the files do not tell their encoder: give --encoder NAME (the folder is called {guess!r})")
    dtype = np.float16 if all(one == np.float16 for one in types) else np.float32
    return {"normalisation": "imported"} | found, dtype, n_features, recorded


def text(value):
    """An attribute as text, whether it was written as text or as bytes."""
    return value.decode() if isinstance(value, bytes) else str(value)


def number(value, name, path):
    """An attribute as a number, alone or in an array; ValueError with its name where it is none."""
    try:
        return float(np.ravel(value)[0])
    except (ValueError, IndexError):
        raise ValueError(f"{path} says {name} = {value}, which is no number: extract the slide again") from None


def unwrapped(values):
    """An array (1, n, d) of older versions of CLAM as (n, d)."""
    return values[0] if values.ndim == 3 and len(values) == 1 else values


def open_file(path):
    """The open file; ValueError when it is no HDF5 file of a layout that is known here."""
    try:
        file = h5py.File(path, "r", locking=False)
    except OSError as error:
        raise ValueError(f"{path} is no readable HDF5 file ({error}): extract the slide again") from None
    needed = ("feats" if "feats" in file else "features", "coords")
    absent = [name for name in needed if name not in file]
    if absent:
        there = some(file, 6)
        file.close()
        raise ValueError(f"{path} has no {' and no '.join(absent)}, but {there or 'nothing'}: feature files of TRIDENT "
                         "and CLAM (features, coords) and of STAMP (feats, coords) are read")
    return file
