"""Feature files of other tools: one .h5 a slide with features (n_tiles, n_features) and coords (n_tiles, 2).

TRIDENT writes patch_size, patch_size_level0, level0_magnification and target_magnification into the attributes of
coords, newer versions the encoder into those of features; CLAM writes neither.
"""
import re

import h5py
import numpy as np

from slide_ex.ids import some, with_near_matches

ENDING = re.compile(r"\.[A-Za-z0-9]+$")
OF_COORDS = {"patch_size": "tile_px", "target_magnification": "magnification"}  # TRIDENT's name and ours


def find_files(slides, folder):
    """Path of the feature file of each slide, None where there is none."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder: give the folder with one .h5 a slide")
    if not any(folder.glob("*.h5")):
        below = sorted({path.parent for path in folder.rglob("*.h5")})
        raise FileNotFoundError(f"no .h5 in {folder}" + (f", but in {some(below)}" if below else "")
                                + ": give the folder with one .h5 a slide")
    candidates = ([folder / f"{one.slide_id}.h5", folder / f"{ENDING.sub('', one.filename)}.h5"]
                  for one in slides.itertuples())
    return [next((path for path in paths if path.is_file()), None) for paths in candidates]


def about_missing(slide_ids, folder):
    """Which slides have no feature file, each with the file that looks most like it."""
    return (f"no features of {len(slide_ids)} slides in {folder}: "
            + with_near_matches(slide_ids, [path.stem for path in folder.glob("*.h5")]))


def shared_attributes(slides, folder, encoder):
    """What decides the numbers, alike in all files: encoder, tile_px and magnification where the files tell them.

    Raises ValueError for files that differ, and when neither the files nor `encoder` name the encoder.
    """
    found = {}
    for slide in slides.itertuples():
        with open_file(slide.path) as file:
            own = {OF_COORDS[name]: value for name, value in file["coords"].attrs.items() if name in OF_COORDS}
            name = file["features"].attrs.get("encoder", encoder)
        if encoder and name != encoder:
            raise ValueError(f"{slide.path} was made with the encoder {name}, not {encoder}")
        own = {"encoder": name} | {key: float(value) for key, value in own.items()}
        if found and own != found:
            raise ValueError(f"{slide.path} differs from the files before it ({own}, not {found}): extract all slides "
                             "in the same way")
        found = own
    if not found["encoder"]:
        guess = re.sub(r"^features_", "", folder.name)
        raise ValueError(f"the files do not tell their encoder: give --encoder NAME (the folder is called {guess!r})")
    return {"normalisation": "imported"} | found


def bags(slides):
    """Features, coords and colours (None: nobody recorded them) of each slide."""
    for path in slides["path"]:
        with open_file(path) as file:
            features, coords = file["features"][:], file["coords"][:]
        features = features[0] if features.ndim == 3 and len(features) == 1 else features  # CLAM-like (1, n, d)
        coords = coords[0] if coords.ndim == 3 and len(coords) == 1 else coords
        yield features, np.asarray(coords, np.int32), None


def open_file(path):
    """The open file; ValueError when it is no HDF5 file with features and coords."""
    try:
        file = h5py.File(path)
    except OSError as error:
        raise ValueError(f"{path} is no readable HDF5 file ({error}): extract the slide again") from None
    absent = [name for name in ("features", "coords") if name not in file]
    if absent:
        file.close()
        raise ValueError(f"{path} has no {' and no '.join(absent)}: feature files of TRIDENT or CLAM have both")
    return file
