"""features.h5, the features of all slides, slide after slide.

    features        float32 or float16 (n_tiles_of_all_slides, n_features)   slides in the order of metadata.csv; its
                    attribute sums_sha256: of the checksums of its blocks (hdf5.record_sums)
    coords          int32 (n_tiles_of_all_slides, 2)
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

Features are written slide by slide, so memory does not grow with the cohort.
"""
import dataclasses
import hashlib
import json
import logging
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from slide_ex import checksums, hdf5, ids
from slide_ex.project import feature_file
from slide_ex.slides import scale

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
        with hdf5.reading(self.path, MADE_BY) as file:
            return file[name][self.first_tile[row]:self.first_tile[row] + self.n_tiles[row]]


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
        n_coords = len(file["coords"]) if "coords" in file else None
        fits = (len(slide_ids) == len(patient_ids) == len(first_tile) - 1 == len(file["mean_features"])
                and first_tile[0] == 0 and (np.diff(first_tile.astype(np.int64)) >= 0).all() and len(shape) == 2
                and {shape[0], n_coords} <= {None, first_tile[-1]} and len(set(slide_ids)) == len(slide_ids))
        if not fits:
            raise ValueError(f"{path} is damaged (slides, tiles and means are not as many as it says, or a slide is "
                             f"there twice): make it again with {MADE_BY} --overwrite")
        return slide_ids, patient_ids, first_tile, shape, hdf5.attributes(file)


def read_slides(path):
    """Read the file except its tiles; slides without tissue tiles are left out with a note.

    Raises ValueError for slides of different encoders, features that are not finite and no slide with tissue.
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
    sha256 = checksums.of_content(slide_ids[kept], patient_ids[kept], n_tiles[kept], means[kept], attributes,
                                   *[changed] * bool(changed))
    return Slides(path, slide_ids[kept], patient_ids[kept], np.flatnonzero(kept), first_tile[:-1][kept], n_tiles[kept],
                  means[kept], rgb[kept], attributes, sha256)


def changed_tiles(path, file, first_tile, means):
    """"" where the tiles of an open file are those that were collected, else a checksum of what they are now.

    The sums that HDF5 keeps of its chunks are compared. Files of earlier versions have none: all their tiles are read,
    and those that do not have the mean of their slide any more count as changed.
    """
    tiles = file["features"]
    if hdf5.SUMS in tiles.attrs:
        now = hdf5.sums_sha256(path, tiles)
        return "" if now == tiles.attrs[hdf5.SUMS] else now
    changed = [slide for slide, (start, stop) in enumerate(zip(first_tile, first_tile[1:])) if start < stop
               and not np.allclose(mean_of(tiles[start:stop], tiles.shape[1]), means[slide], MEAN_RTOL, MEAN_RTOL,
                                   equal_nan=True)]
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


# Writing

def collected_sha256(slides, of_content):
    """content_sha256 of a collection of slides (table with slide_id and patient_id) with these checksums, in order."""
    return checksums.of_text("".join(f"{slide.slide_id}\t{slide.patient_id}\t{content}\n"
                                     for slide, content in zip(slides.itertuples(), of_content)))


def geometry_of(source):
    """What a slide's feature file records of it (dict, OF_SLIDES)."""
    made = feature_file.read_attributes(source)
    power = made.get("slide_magnification")
    return {"patch_size_level0": made.get("level0_tile_px"), "overlap": 0, "level0_width": made.get("level0_width"),
            "level0_height": made.get("level0_height"), "level0_mpp": power and scale.MPP_TIMES_POWER / power,
            **{name: made.get(name) for name in ("scale_difference", "he_share", "blurred_share", "pen_share")}}


def refuse_twins(slide_ids, patient_ids, contents):
    """ValueError for the same scan (equal checksums of the features) under two patients."""
    first = {}
    for slide_id, patient_id, content in zip(slide_ids, patient_ids, contents):
        other, its_patient = first.setdefault(content, (slide_id, patient_id))
        if its_patient != patient_id:
            raise ValueError(f"{other} of {its_patient} and {slide_id} of {patient_id} are the same scan (equal "
                             "features) under two patients: keep the row of the right one in metadata.csv")


def shared_attributes(sources, slides):
    """Attributes that the slides' files share, with content_sha256 of all slides in order; tiles of each slide.

    Parameters
    ----------
    sources : list of Path
        Feature files in the order of `slides` (table of metadata_file.read).

    Raises
    ------
    ValueError
        The files differ in feature_file.DECIDING, or hold another slide or patient than metadata.csv says.
    """
    shared, content, n_tiles = None, [], []
    for path, slide in zip(sources, slides.itertuples()):
        found = feature_file.read_attributes(path)
        n_tiles.append(found.pop("n_tiles"))
        for name in ("slide_id", "patient_id"):
            if found.get(name) != getattr(slide, name):
                raise ValueError(f"{path} holds {name} {found.get(name)}, metadata.csv says {getattr(slide, name)}: "
                                 "run 1main_processing.py again with --overwrite")
        shared = shared or found
        for name in feature_file.DECIDING:
            if found[name] != shared[name]:
                raise ValueError(f"{path} has {name} = {found[name]}, {sources[0].name} has {shared[name]}: "
                                 "process all slides in the same way")
        shared = {name: value for name, value in shared.items() if found.get(name) == value}
        content.append(found["content_sha256"])
    has_tiles = np.array(n_tiles) > 0
    refuse_twins(slides.slide_id[has_tiles], slides.patient_id[has_tiles], np.array(content)[has_tiles])
    shared = {name: value for name, value in shared.items() if name not in (*feature_file.OWN, "n_features")}
    return shared | {"content_sha256": collected_sha256(slides, content)}, np.array(n_tiles)


def bags_of(sources):
    """features, coords, mean_rgb (arrays of n_tiles rows) of each feature file, as they were written."""
    for source in sources:
        yield feature_file.read_arrays(source)


def write(path, slides, bags, attributes, dtype=None, n_tiles=None, geometry=()):
    """Write the file, one slide in memory at a time.

    Parameters
    ----------
    slides : DataFrame with slide_id and patient_id
    bags : iterable, in the order of `slides`, of features (n_tiles, n_features), coords (n_tiles, 2) or None, and
        mean_rgb (n_tiles, 3) or None
    attributes : dict; without content_sha256, that of the features is added
    dtype : of the features; without it that of the first bag; `stored` refuses what does not fit
    n_tiles : int array (n_slides,), where it is known before: then room is reserved
    geometry : list of dict, what is recorded of each slide (OF_SLIDES)

    Returns
    -------
    n_tiles : int array (n_slides,). ValueError for arrays of other shapes and for numbers that are not finite.
    """
    counts, means, colours, contents, tells, datasets = [], [], [], [], [], None
    is_hashed = "content_sha256" not in attributes
    with hdf5.writing(path) as file:
        for slide, (features, coords, rgb) in zip(slides.itertuples(), tqdm(bags, total=len(slides), unit="slide",
                                                                            disable=None)):
            check_bag(features, coords, slide.slide_id, datasets and datasets[0].shape[1])
            if datasets is None:
                datasets = make_datasets(file, path, features, dtype, n_tiles)
            if is_hashed:
                contents.append(hashlib.sha256(np.ascontiguousarray(features).tobytes()).hexdigest())
                tells.append(features.size > 0 and features.min() < features.max())
            features = feature_file.stored(features, datasets[0].dtype, slide.slide_id)
            first = sum(counts)
            for dataset, values in zip(datasets, (features, -1 if coords is None else coords)):
                if n_tiles is None:
                    dataset.resize(first + len(features), axis=0)
                dataset[first:first + len(features)] = values
            counts.append(len(features))
            means.append(mean_of(features, features.shape[1]))
            colours.append(mean_of(rgb, 3))
        hdf5.record_sums(path, datasets[0])
        hdf5.write_array(file, "mean_features", means, np.float32)
        hdf5.write_array(file, "mean_rgb", colours, np.float32)
        hdf5.write_array(file, "first_tile", [0, *np.cumsum(counts)], np.int64)
        for name, values in (("slide_ids", slides.slide_id), ("patient_ids", slides.patient_id)):
            hdf5.write_strings(file, name, values)
        for name in OF_SLIDES if geometry else ():
            hdf5.write_array(file, name, [one.get(name) for one in geometry], float)
        if is_hashed:
            refuse_twins(slides.slide_id[tells], slides.patient_id[tells], np.array(contents)[tells])
            attributes = attributes | {"content_sha256": collected_sha256(slides, contents)}
        file.attrs.update(attributes)
    return np.array(counts)


def make_datasets(file, path, features, dtype, n_tiles):
    """The datasets features and coords of a new file: of the final size where it is known, else growing."""
    n_features = features.shape[1]
    dtype = np.dtype(dtype or (np.float16 if features.dtype == np.float16 else np.float32))
    if n_tiles is not None:
        hdf5.reserve(path, n_tiles.sum() * (n_features * dtype.itemsize + 8) + len(n_tiles) * 4 * (n_features + 3))
    return [hdf5.new_array(file, name, (0 if n_tiles is None else n_tiles.sum(), width), kind, grows=n_tiles is None)
            for name, width, kind in (("features", n_features, dtype), ("coords", 2, np.int32))]


def mean_of(values, n_columns):
    """Mean over rows, summed in float64; NaN without rows."""
    return np.full(n_columns, np.nan) if values is None or not len(values) else values.mean(axis=0, dtype=np.float64)


def check_bag(features, coords, slide_id, n_features):
    """ValueError unless `features` are floating numbers (n_tiles, n_features), as many as coords."""
    if features.ndim != 2 or n_features not in (None, features.shape[1]) or features.dtype.kind != "f":
        raise ValueError(f"features of {slide_id} are {features.dtype} of shape {features.shape}, needed: floating "
                         f"numbers (n_tiles, {n_features or 'n_features'}), alike for all slides")
    if coords is not None and len(coords) != len(features):
        raise ValueError(f"{slide_id} has {len(features)} features and {len(coords)} coords: extract it again")
