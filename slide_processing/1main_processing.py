"""Slides to tiles to features: tissue tiles of 512 px at 20x, stain-normalised, encoded.

Pathology encoders take the tiles that their model cards state, see slide_processing/encoding/encoders.py.

Reads   <project>/metadata.csv and <project>/slides/, <project>/regions/ (masks of its column Mask)
Writes  <project>/features/<Slide.ID>.h5   features and level-0 coordinates of the tissue tiles
        <project>/mask/<Slide.ID>.pdf      the slide, and the tiles that were kept
        <project>/logs/slide_processing.csv   one row for each slide that was tried

    python slide_processing/1main_processing.py my_project 0-9,12
"""
import argparse
import dataclasses
import functools
import logging

from slide_ex.script import parser, run

from tqdm import tqdm

from encoding import encoder_weights, encoders, own_encoder
from encoding.encoders import ENCODERS
from slide_ex import claim
from slide_ex.ids import format_indexes, parse_indexes
from slide_ex.project import metadata_file
from slide_ex.slides import scale
from tiles import quality, slide_files, slide_status, tiling

RANDOM = ": random convolution features"


def arguments():
    p = parser(__doc__)
    p.add_argument("slide_index", help="row of metadata.csv from 0, ranges such as 0-9,12, Slide.ID, or all")
    p.add_argument("--encoder", default="resnet50", type=encoder_name, metavar="NAME",
                   help=f"{', '.join(ENCODERS)}, or FILE.py:FUNCTION of your own (docs/own-data.md); default "
                        "%(default)s")
    p.add_argument("--weights", default="imagenet", help="imagenet (default), random, or the path of a state dict")
    p.add_argument("--seed", type=int, default=0, help="of random weights, default %(default)s")
    p.add_argument("--precision", default="fp32", choices=["fp32", "bf16", "fp16"],
                   help="of the network, default %(default)s; on a GPU fp32 lets convolutions use TF32. The type in "
                        "which features are kept is --dtype of collect_features.py")
    p.add_argument("--tile-px", type=positive(int), metavar="PX",
                   help="side of a tile, default as published (512) or as the encoder's model card states")
    p.add_argument("--magnification", type=positive(float), metavar="POWER",
                   help="of the tiles (20: 0.5 um per pixel), default as published (20) or of the model card")
    p.add_argument("--normalisation", choices=tiling.NORMALISATIONS,
                   help="of the stains, default as published (macenko) or of the model card")
    p.add_argument("--drop", nargs="+", default=[], choices=quality.DROPS,
                   help="leave out tissue tiles that are blurred or under pen; default: none, as published")
    p.add_argument("--mask-class", nargs="+", default=[], metavar="NAME",
                   help="classes (of a PNG: grey values) of the regions in the slides' masks that are kept; needed "
                        "where a mask has several")
    p.add_argument("--scale", default="", choices=scale.PREFERENCES, metavar="power|mpp",
                   help="which statement of a slide counts where its objective power and MPP contradict each other; "
                        "without it such slides fail")
    p.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"],
                   help="auto (default) takes a GPU where there is one")
    p.add_argument("--max-unreadable", type=float, default=0.0, metavar="SHARE",
                   help="accept slides of which this share of the tiles cannot be decoded, default %(default)s")
    p.add_argument("--allow-upsampling", action="store_true", help="accept slides scanned at 10x or coarser")
    p.add_argument("--status", action="store_true", help="only say how many slides are done, failed and missing")
    return p.parse_args()


def encoder_name(text):
    """A type of option: a name of the table of encoders, or a file and function of the user's own."""
    if text not in ENCODERS and not own_encoder.is_own(text):
        raise argparse.ArgumentTypeError(f"there is no encoder {text!r}: choose {', '.join(ENCODERS)}, or give "
                                         "FILE.py:FUNCTION of your own")
    return text


def positive(kind):
    """A type of option: a number above 0."""
    def parsed(text):
        if not 0 < (value := kind(text)) < float("inf"):
            raise ValueError
        return value
    parsed.__name__ = f"positive {kind.__name__}"
    return parsed


def tile_settings(args):
    """What a tile is: as the encoder's row says, where no option says otherwise; a line where they differ."""
    row = encoders.row_of(args.encoder)
    given = {name: getattr(args, name) for name in ("tile_px", "magnification", "normalisation")}
    wanted = dataclasses.replace(row.tiles, **{name: value for name, value in given.items() if value is not None})
    if wanted != row.tiles and not own_encoder.is_own(args.encoder):
        logging.warning("%s was trained on other tiles (%s; now %s): its features will differ from those elsewhere",
                        row.name, described(row.tiles), described(wanted))
    split = [name for name in args.mask_class if ";" in name]
    if split:
        raise ValueError(f"--mask-class {split[0]!r}: semicolons separate classes in what is recorded, so a class "
                         "cannot have one in its name: rename it in the masks")
    return dataclasses.replace(wanted, drop=",".join(sorted(set(args.drop))),
                               mask_class=";".join(sorted(set(args.mask_class))))


def described(tiles):
    return f"{tiles.tile_px} px at {tiles.magnification:g}x, normalisation {tiles.normalisation}"


def main(args):
    slides = metadata_file.read(args.project_path, needs_files=True)
    indexes = parse_indexes(args.slide_index, slides.slide_id)
    if args.status:
        for line in slide_status.report(slide_status.of_slides(args.project_path, slides.loc[indexes])):
            logging.info(line)
        return
    wanted = tile_settings(args)
    settings = (encoder_weights.settings(args.encoder, args.weights, args.seed, args.precision)
                | dataclasses.asdict(wanted))

    def is_finished(i):
        return slide_files.is_finished(args.project_path, slides.loc[i], settings, args.overwrite, args.scale)

    def features_of(i):
        return slide_files.paths(args.project_path, slides.slide_id[i])[-1]

    todo = [i for i in indexes if not is_finished(i)]
    for i in set(indexes) - set(todo):
        claim.forget(features_of(i))
    logging.info("%d of %d slides are finished", len(indexes) - len(todo), len(indexes))
    if not todo:
        return
    from encoding.tile_encoder import TileEncoder  # and torch with it, which takes seconds

    encoder = TileEncoder(args.encoder, args.weights, args.seed, args.precision, args.device,
                          wanted.normalisation)
    logging.info("encoder %s, weights %s%s, %s on %s", args.encoder, encoder.settings["weights"],
                 RANDOM if args.weights == "random" else "", args.precision, encoder.device)
    failed = []
    for i in tqdm(todo, unit="slide", disable=None):
        slide = slides.loc[i]
        to_do = claim.left_to_do(features_of(i), f"slide {i} {slide.slide_id}", functools.partial(is_finished, i))
        with slide_files.attempt(args.project_path, slide) as attempt, to_do as is_left:
            if is_left:
                attempt.update(slide_files.process(args.project_path, slide, encoder, args.allow_upsampling,
                                                   args.max_unreadable, wanted, args.scale))
        if attempt["status"] == "failed":
            failed.append(i)
    for line in slide_status.remarks(args.project_path, slides.loc[todo]):
        logging.info(line)
    if failed:
        raise ValueError(f"{len(failed)} of {len(todo)} slides failed (logs/slide_processing.csv says why); "
                         f"when that is fixed, run again with {format_indexes(failed)}")


if __name__ == "__main__":
    run(main, arguments(), "slide_processing")
