"""The feature file of one slide. This module owns the format.

    <slide_id>.h5
        features   float32 or float16 (n_tiles, n_features)   contiguous; zero rows when no tile is tissue
        coords     int32 (n_tiles, 2)      x, y of the top-left corner, pixels of level 0, row by row
            attributes as TRIDENT names them: patch_size (px of a tile as encoded), patch_size_level0,
            level0_magnification, target_magnification, overlap, name, level0_width, level0_height
        mean_rgb   float32 (n_tiles, 3)    mean colour of each tile as scanned, 0..255
        unreadable int32 (n_unreadable, 2) corners of tiles that could not be decoded
        attributes slide_id, patient_id, slide_index, n_rows, n_columns, n_tiles_total, slide_magnification,
                   magnification_source, level0_tile_px, level0_width, level0_height, filename, slide_bytes,
                   what decides the numbers (encoder, weights, weights_seed, weights_sha256, precision,
                   normalisation, tile_px, magnification), and content_sha256 of the three arrays
"""
import hashlib
import re

import h5py
import numpy as np

SHA256 = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{52}\b")  # shown in messages by its first digits


def write_features(path, features, coords, mean_rgb, unreadable, attributes):
    """Write one file; `attributes` are those of the docstring above, save content_sha256."""
    arrays = {"features": np.ascontiguousarray(features), "coords": np.asarray(coords, np.int32),
              "mean_rgb": np.asarray(mean_rgb, np.float32)}
    digest = hashlib.sha256()
    for array in arrays.values():
        digest.update(array.tobytes())
    with h5py.File(path, "w", driver="core", backing_store=False) as file:
        for name, array in arrays.items():
            file[name] = array
        file["unreadable"] = np.asarray(unreadable, np.int32)
        file.attrs.update(attributes | {"content_sha256": digest.hexdigest()})
        file["coords"].attrs.update({
            "patch_size": attributes["tile_px"], "patch_size_level0": attributes["level0_tile_px"],
            "level0_magnification": attributes["slide_magnification"],
            "target_magnification": attributes["magnification"], "overlap": 0, "name": attributes["slide_id"],
            "level0_width": attributes["level0_width"], "level0_height": attributes["level0_height"]})
        file.flush()
        path.write_bytes(file.id.get_file_image())  # one plain write: a full disk is an ordinary error


def check_settings(path, expected):
    """Refuse a feature file of which an attribute differs from `expected` (dict)."""
    with opened(path) as file:
        found = dict(file.attrs)
    for name, value in sorted(expected.items()):  # weights before weights_seed, which follows from them
        if found.get(name) != value:
            made, wanted = (SHA256.sub(r"\1...", str(given)) for given in (found.get(name), value))
            raise ValueError(f"{path} was made with {name} = {made}, not {wanted}: use --overwrite, or another project "
                             "folder")


def count_tiles(path):
    """Number of tissue tiles in a feature file."""
    with opened(path) as file:
        return len(file["features"])


def opened(path):
    """A feature file, open for reading."""
    try:
        return h5py.File(path)
    except OSError as error:
        raise OSError(f"{path} is no feature file ({error}): delete it, and process the slide again") from None
