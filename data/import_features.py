"""Start at the prediction stage: features that TRIDENT or CLAM extracted become features.h5.

A slide's file is <Slide.ID>.h5, or has the name of its slide file; it holds features (n_tiles, n_features) and coords.
Colours of tiles are not in such files: the baseline "mean colour" does not exist for them.

Reads   <project_path>/metadata.csv (of prepare_tcga.py, prepare_cohort.py or your own), --features-from: folder of .h5
        (TRIDENT: <job>/20x_512px_0px_overlap/features_<encoder>; CLAM: h5_files)
Writes  <project_path>/features.h5

    python data/import_features.py brca --features-from trident/20x_512px_0px_overlap/features_uni_v2 --encoder uni_v2
"""
import logging
from pathlib import Path

from inputs import extracted_features
from slide_ex import checksums, record
from slide_ex.project import features_file, metadata_file
from slide_ex.script import parser, run, whole


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
    slides = slides[slides["path"].notna()]
    attributes = extracted_features.shared_attributes(slides, args.features_from, args.encoder)
    attributes |= {"source": "import_features.py", "sources_sha256": checksums.of_sizes(slides["path"])}

    def made():
        found = features_file.read_index(out)[-1]
        return {name: found.get(name) for name in attributes}
    if record.is_finished([out], made, attributes, args.overwrite, remedy="replace it with --overwrite"):
        logging.info("%s is finished: skipped", out)
        return
    with whole(out) as part:
        n_tiles = features_file.write(part, slides, extracted_features.bags(slides),
                                      features_file.WEIGHTS_OF_IMPORTS | attributes)
    logging.info("features.h5: %d slides of %d patients, %d tiles, %s", len(slides), slides["patient_id"].nunique(),
                 n_tiles.sum(), attributes["encoder"])


if __name__ == "__main__":
    p = parser(__doc__)
    p.add_argument("--features-from", type=Path, required=True, metavar="DIR", help="folder of .h5 files")
    p.add_argument("--encoder", help="name of the encoder, where the files do not tell it")
    p.add_argument("--allow-missing", action="store_true", help="leave out slides of metadata.csv without features")
    run(main, p.parse_args(), "import_features")
