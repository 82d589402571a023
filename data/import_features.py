"""Start at the prediction stage: features that TRIDENT, CLAM or STAMP extracted become features.h5.

A slide's file is <Slide.ID>.h5 (or .pt), or has the name of its slide file. What it says of size, overlap and place of
the tiles is kept; nothing is inferred. Colours of tiles are not in such files: the baseline "mean colour" does not
exist for them.

Reads   <project_path>/metadata.csv (of prepare_tcga.py, prepare_cohort.py or your own), --features-from: folder of one
        file a slide (TRIDENT: <job>/20x_512px_0px_overlap/features_<encoder>; CLAM: h5_files or pt_files; STAMP)
Writes  <project_path>/features.h5

    python data/import_features.py brca --features-from trident/20x_512px_0px_overlap/features_uni_v2 --encoder uni_v2
"""
import logging
from pathlib import Path

from slide_ex.script import parser, run, whole

import numpy as np

from inputs import extracted_features
from slide_ex import checksums, record
from slide_ex.ids import some
from slide_ex.project import features_file, features_writing, metadata_file


def main(args):
    out = args.project_path / "features.h5"
    slides = metadata_file.read(args.project_path)
    slides["path"] = extracted_features.find_files(slides, args.features_from)
    missing = slides.loc[slides["path"].isna(), "slide_id"]
    if len(missing):
        message = extracted_features.about_missing(missing, args.features_from)
        if not args.allow_missing or len(missing) == len(slides):
            raise FileNotFoundError(f"{message}; extract them, or go on without them with --allow-missing")
        logging.info(message)
    if (slides["mask_file"] != "").any():
        logging.warning("masks (column Mask of metadata.csv) are not applied to features that are imported")
    slides = slides[slides["path"].notna()]
    def bags():
        return (extracted_features.read(slide, args.clam_patches, args.tile_level0_px) for slide in slides.itertuples())

    attributes, dtype, n_features, recorded = extracted_features.survey(bags(), slides, args.features_from,
                                                                        args.encoder)
    attributes |= {"source": "import_features.py", "sources_sha256": checksums.of_sizes(slides["path"]),
                   "tiles_sha256": checksums.of_text(record.as_text(dict(zip(slides["slide_id"], recorded))))}

    def made():
        found = features_file.read_index(out)[-1]
        return {name: found.get(name) for name in attributes}
    if record.is_finished([out], made, attributes, args.overwrite, remedy="replace it with --overwrite"):
        logging.info("%s is finished: skipped", out)
        return
    with whole(out) as part:
        n_tiles = features_writing.write(part, slides, arrays(bags(), n_features),
                                         features_file.WEIGHTS_OF_IMPORTS | attributes, dtype, geometry=recorded)
    sizeless = [slide_id for slide_id, one, n in zip(slides["slide_id"], recorded, n_tiles)
                if n and "patch_size_level0" not in one]
    if sizeless:
        logging.info("no maps of %d slides (%s): the files do not say the size of their tiles; give --tile-level0-px, "
                     "--clam-patches, or for STAMP MPP in metadata.csv", len(sizeless), some(sizeless, 3))
    logging.info("features.h5: %d slides of %d patients, %d tiles, %s", len(slides), slides["patient_id"].nunique(),
                 n_tiles.sum(), attributes["encoder"])


def arrays(bags, n_features):
    """Features, coords and colours (None: not recorded) of bags; empty slides with as many columns as others."""
    for bag in bags:
        yield (bag.features if bag.features.size else np.empty((0, n_features), np.float32)), bag.coords, None


if __name__ == "__main__":
    p = parser(__doc__)
    p.add_argument("--features-from", type=Path, required=True, metavar="DIR", help="folder of one file a slide")
    p.add_argument("--clam-patches", type=Path, metavar="DIR",
                   help="CLAM's folder patches/, which says the size of the tiles")
    p.add_argument("--tile-level0-px", type=float, metavar="PX",
                   help="side of the tiles, pixels of level 0, where no file says it")
    p.add_argument("--encoder", help="name of the encoder, where the files do not tell it")
    p.add_argument("--allow-missing", action="store_true", help="leave out slides of metadata.csv without features")
    run(main, p.parse_args(), "import_features")
