"""features.h5, the features of all slides, slide after slide.

    features        float32 or float16 (n_tiles_of_all_slides, n_features)   slides in the order of metadata.csv. As
                    collected a virtual dataset of HDF5 over features/<Slide.ID>.h5, by paths from this file; NaN where
                    such a file is not there. In a copy (--copy, imports) numbers; its attribute sums_sha256: of the
                    checksums of its blocks (hdf5.record_sums)
    coords          int32 (n_tiles_of_all_slides, 2)    virtual or numbers, as features; -1 where a file is not there
    slide_sums      str (n_slides,)     sums_sha256 of each slide's file, by which another one is noticed; not in a copy
    slide_ids       str (n_slides,)
    patient_ids     str (n_slides,)
    first_tile      int64 (n_slides + 1,)       tiles of slide i are rows first_tile[i]:first_tile[i + 1]
    mean_features   float32 (n_slides, n_features)    mean over the tiles of a slide, summed in float64; NaN without
    mean_rgb        float32 (n_slides, 3)             mean over the tiles of a slide; NaN without tiles
    patch_size_level0, overlap, level0_width, level0_height, level0_mpp, scale_difference
                    float64 (n_slides,)       of each slide: side of its tiles, pixels of level 0; overlap of its tiles,
                                              px at their magnification; size of level 0; microns per pixel of level 0,
                                              by which the tiles were cut; difference between power and resolution of
                                              the slide; and he_share, blurred_share, pen_share, its quality as in
                                              its own file. NaN where nobody recorded it: nothing is inferred
    attributes: those of the slides' files that all slides share (encoder, weights, weights_sha256, precision,
                normalisation, tile_px, magnification, ...), content_sha256 (of all slides in order), missing_slide_ids
                (JSON list, with --allow-missing); of imported features source, the script, and coords of -1, mean_rgb
                of NaN and weights "imported" where nobody recorded them

It is written by features_writing, and read here. Tiles of a virtual file are read from the slides' files themselves,
never through HDF5: it says nothing where it cannot open one (absent, or more of them than a process may have open) and
gives other numbers in its place.
"""
import contextlib
import dataclasses
import json
import logging
from pathlib import Path

import numpy as np
import pandas as pd

from slide_ex import checksums, hdf5, ids
from slide_ex.project import feature_file

NAME = "features.h5"
MADE_BY = "slide_processing/collect_features.py"
OF_SLIDES = ("patch_size_level0", "overlap", "level0_width", "level0_height", "level0_mpp", "scale_difference",
             "he_share", "blurred_share", "pen_share")
MEAN_RTOL = 3e-7     # by which means of float32 differ that were summed in another order
KINDS = {"features": "f", "mean_features": "f", "mean_rgb": "f", "coords": "iu", "first_tile": "iu"}   # of numbers
WEIGHTS_OF_IMPORTS = {"weights": "imported", "weights_sha256": "", "weights_seed": -1}


@dataclasses.dataclass(frozen=True)
class Slides:
    """Slides with tissue, in the order of features.h5."""
    path: Path                 # features.h5
    slide_ids: np.ndarray      # str (n_slides,)
    patient_ids: np.ndarray    # str (n_slides,)
    slide_indexes: np.ndarray  # int64 (n_slides,)   row of metadata.csv
    first_tile: np.ndarray     # int64 (n_slides,)   rows first_tile : first_tile + n_tiles of `features`
    n_tiles: np.ndarray        # int64 (n_slides,)   at least 1
    mean_features: np.ndarray  # float32 (n_slides, n_features)
    mean_rgb: np.ndarray       # float32 (n_slides, 3)
    attributes: dict           # encoder, weights, ...
    sha256: str                # of ids, tile counts, mean features, attributes (with content_sha256 of all tiles) and
    #                            what `changed_tiles` says: any changed tile changes it
    sums: np.ndarray | None = None  # str (n_slides,), of the slides' files that hold the tiles; None of a copy

    def rows_of(self, patients):
        """Row numbers of the slides of some patients, ascending; int64 (n_rows,)."""
        return np.flatnonzero(np.isin(self.patient_ids, list(patients)))

    def row_of(self, slide_id):
        """Row of a slide; ValueError when it has no tiles."""
        rows = np.flatnonzero(self.slide_ids == slide_id)
        if len(rows) == 0:
            raise ValueError(f"{slide_id} is not in {self.path}, or has no tissue tile")
        return rows[0]

    def read_tiles(self, name, row):
        """The rows of one slide in the dataset `features` or `coords`, as stored; no other slide is read."""
        with self.opened(name) as read:
            return read(row)

    @contextlib.contextmanager
    def opened(self, name):
        """Give a function that reads rows of the dataset `features` or `coords`, as stored: those of one slide, of its
        row here, or with `tiles` (numbers from 0, ascending) some of them."""
        if self.sums is not None:
            yield lambda row, tiles=slice(None): self.read_source(name, row, tiles)
            return
        with hdf5.reading(self.path, MADE_BY) as file:
            def read(row, tiles=None):
                first = self.first_tile[row]
                return file[name][first:first + self.n_tiles[row]] if tiles is None else file[name][first + tiles]
            yield read

    def read_source(self, name, row, tiles):
        """The same from the slide's own file, which must be the one that was collected."""
        with feature_file.reading_tiles(feature_file.path_of(self.path.parent, self.slide_ids[row])) as (file, now):
            values = file[name][tiles] if now == self.sums[row] else None
        refuse_others(self.path, {self.slide_ids[row]: now}, {self.slide_ids[row]: self.sums[row]})
        return values

    def stored_dtype(self):
        """Type of the features as they are stored."""
        with hdf5.reading(self.path, MADE_BY) as file:
            return file["features"].dtype


def read_index(path):
    """slide_ids, patient_ids (str arrays), first_tile (int64), the shape of `features` and the attributes (dict).

    ValueError where they do not fit one another or are of another kind than the docstring of this module says.
    """
    with hdf5.reading(path, MADE_BY) as file:
        slide_ids, patient_ids = (hdf5.strings(file, name) for name in ("slide_ids", "patient_ids"))
        kinds = {name: file[name].dtype.kind for name in KINDS if name in file}
        odd = [f"{name} of type {file[name].dtype}" for name, kind in kinds.items() if kind not in KINDS[name]]
        if odd:
            raise ValueError(", ".join(odd))
        first_tile, shape = file["first_tile"][:], file["features"].shape if "features" in file else (None, None)
        n_rows = {len(file[name]) for name in ("features", "coords") if name in file}
        fits = (len(slide_ids) == len(patient_ids) == len(first_tile) - 1 == len(file["mean_features"])
                and first_tile[0] == 0 and (np.diff(first_tile.astype(np.int64)) >= 0).all() and len(shape) == 2
                and n_rows <= {first_tile[-1]} and len(set(slide_ids)) == len(slide_ids))
        if not fits:
            raise ValueError(f"{path} is damaged (slides, tiles and means are not as many as it says, or a slide is "
                             f"there twice): make it again with {MADE_BY} --overwrite")
        return slide_ids, patient_ids, first_tile, shape, hdf5.attributes(file)


def read_slides(path, with_sources=True):
    """Read the file except its tiles; slides without tissue tiles are left out with a note.

    Raises ValueError for slides of different encoders, features that are not finite and no slide with tissue; unless
    not `with_sources`, which is for those who look at them anyway, also where the slides' files of a virtual file are
    not those that were collected, and FileNotFoundError where they are not there.
    """
    slide_ids, patient_ids, first_tile, _, attributes = read_index(path)
    with hdf5.reading(path, MADE_BY) as file:
        if "encoder" not in attributes or "weights_sha256" not in attributes:
            raise ValueError(f"the slides of {path} come from different encoders or weights: run "
                             "slide_processing/1main_processing.py with --overwrite and one --encoder for all")
        means, rgb = file["mean_features"][:].astype(np.float32), file["mean_rgb"][:].astype(np.float32)
        if means.ndim != 2 or rgb.shape != (len(means), 3):
            raise ValueError(f"means of shape {means.shape}, mean colours of shape {rgb.shape}")
        changed = changed_tiles(path, file, first_tile, means) if "features" in file else ""
        sums = hdf5.strings(file, "slide_sums") if is_virtual(file) else None
    if sums is not None and with_sources:
        check_sources(path, slide_ids, sums)
    n_tiles = np.diff(first_tile)
    kept = n_tiles > 0
    if not kept.all():
        logging.info(f"left out, no tissue tiles: {ids.counted(slide_ids[~kept])}")
    if not kept.any():
        raise ValueError(f"no slide of {path} has a tissue tile: look at mask.pdf")
    if not np.isfinite(means[kept]).all():
        broken = slide_ids[kept][~np.isfinite(means[kept]).all(1)]
        raise ValueError(f"{path} has features that are not finite in {ids.counted(broken)}: process them again with "
                         "slide_processing/1main_processing.py --overwrite")
    content = [slide_ids[kept], patient_ids[kept], n_tiles[kept], means[kept], attributes]
    sha256 = checksums.of_content(*content, changed) if changed else checksums.of_content(*content)
    return Slides(path, slide_ids[kept], patient_ids[kept], np.flatnonzero(kept), first_tile[:-1][kept], n_tiles[kept],
                  means[kept], rgb[kept], attributes, sha256, None if sums is None else sums[kept])


def is_virtual(file):
    """Whether an open features.h5 has its tiles in the slides' files."""
    return "features" in file and file["features"].is_virtual


def copied_as(path):
    """Type of the tiles of a features.h5 that has them itself, and needs no file of a slide; "" where it does."""
    with hdf5.reading(path, MADE_BY) as file:
        return "" if is_virtual(file) else str(file["features"].dtype)


def check_sources(path, slide_ids, sums):
    """refuse_others for slides, of their files as they are now."""
    now = {slide_id: feature_file.read_sums(feature_file.path_of(path.parent, slide_id)) for slide_id in slide_ids}
    refuse_others(path, now, dict(zip(slide_ids, sums)))


def refuse_others(path, now, collected):
    """FileNotFoundError and ValueError that name the slides whose files are not there, or are not those collected.

    now, collected : dict of slide_id to sums_sha256, None where there is no file
    """
    absent = [slide_id for slide_id, sums_sha256 in now.items() if sums_sha256 is None]
    changed = [slide_id for slide_id, sums_sha256 in now.items() if sums_sha256 not in (None, collected[slide_id])]
    if absent:
        raise FileNotFoundError(f"{path} has its tiles in {path.parent / feature_file.FOLDER}, where those of "
                                f"{ids.counted(absent)} are not: bring them back, process the slides again, or "
                                "collect without them; a features.h5 to be moved alone is made with --copy")
    if changed:
        raise ValueError(f"{path} was collected from other features of {ids.counted(changed)} than those in "
                         f"{path.parent / feature_file.FOLDER}: run {MADE_BY} with --overwrite")


def changed_tiles(path, file, first_tile, means):
    """"" where the tiles of an open file are those that were collected, else a checksum of what they are now.

    The sums that HDF5 keeps of its chunks are compared. Files of earlier versions have none: all their tiles are read,
    and those that do not have the mean of their slide any more count as changed. Of a virtual file, whose tiles are
    elsewhere, `check_sources` says it.
    """
    tiles = file["features"]
    if tiles.is_virtual:
        return ""
    if hdf5.SUMS in tiles.attrs:
        now = hdf5.sums_sha256(path, tiles)
        return "" if now == tiles.attrs[hdf5.SUMS] else now
    changed = [slide for slide, (start, stop) in enumerate(zip(first_tile, first_tile[1:])) if start < stop
               and not np.allclose(feature_file.mean_of(tiles[start:stop], tiles.shape[1]), means[slide], MEAN_RTOL,
                                   MEAN_RTOL, equal_nan=True)]
    of_changed = (tiles[first_tile[slide]:first_tile[slide + 1]] for slide in changed)
    return checksums.of_content(*of_changed) if changed else ""


def read_geometry(path):
    """What is recorded of each slide: DataFrame, index slide_id, columns OF_SLIDES, NaN where nothing is."""
    with hdf5.reading(path, MADE_BY) as file:
        slide_ids = hdf5.strings(file, "slide_ids")
        columns = {name: file[name][:] if name in file else np.full(len(slide_ids), np.nan) for name in OF_SLIDES}
        return pd.DataFrame(columns, index=slide_ids)


def index_sha256(path):
    """Checksum of slides, patients, tile counts and encoder: what pictures of the cohort show of it."""
    slide_ids, patient_ids, first_tile, shape, attributes = read_index(path)
    names = (np.char.encode(of_slides, "utf-8") for of_slides in (slide_ids, patient_ids))
    return checksums.of_content(*names, first_tile, shape, str(attributes.get("encoder")))


def missing_slides(attributes):
    """Ids of the slides that the file was collected without (--allow-missing)."""
    return json.loads(attributes.get("missing_slide_ids", "[]"))
