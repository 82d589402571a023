"""Slides to tiles to features: tissue tiles of 512 px at 20x, stain-normalised, encoded.

Reads   <project>/metadata.csv and <project>/slides/
Writes  <project>/features/<Slide.ID>.h5   features and level-0 coordinates of the tissue tiles
        <project>/mask/<Slide.ID>.pdf      the slide, and the tiles that were kept
        <project>/logs/slide_processing.csv   one row for each slide that was tried

    python slide_processing/1main_processing.py my_project 0-9,12
"""
import logging

from tqdm import tqdm

from encoding import encoder_weights
from encoding.encoders import ENCODERS
from slide_ex.ids import format_indexes, parse_indexes
from slide_ex.project import metadata_file
from slide_ex.script import parser, run
from tiles import slide_files, slide_status

RANDOM = ": random convolution features"


def arguments():
    p = parser(__doc__)
    p.add_argument("slide_index", help="row of metadata.csv from 0, ranges such as 0-9,12, Slide.ID, or all")
    p.add_argument("--encoder", default="resnet50", choices=list(ENCODERS), help="default %(default)s")
    p.add_argument("--weights", default="imagenet", help="imagenet (default), random, or the path of a state dict")
    p.add_argument("--seed", type=int, default=0, help="of random weights, default %(default)s")
    p.add_argument("--precision", default="fp32", choices=["fp32", "bf16", "fp16"],
                   help="of the network, default %(default)s; on a GPU fp32 lets convolutions use TF32")
    p.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"],
                   help="auto (default) takes a GPU where there is one")
    p.add_argument("--max-unreadable", type=float, default=0.0, metavar="SHARE",
                   help="accept slides of which this share of the tiles cannot be decoded, default %(default)s")
    p.add_argument("--allow-upsampling", action="store_true", help="accept slides scanned at 10x or coarser")
    p.add_argument("--status", action="store_true", help="only say how many slides are done, failed and missing")
    return p.parse_args()


def main(args):
    slides = metadata_file.read(args.project_path, needs_files=True)
    indexes = parse_indexes(args.slide_index, slides.slide_id)
    if args.status:
        for line in slide_status.report(slide_status.of_slides(args.project_path, slides.loc[indexes])):
            logging.info(line)
        return
    settings = encoder_weights.settings(args.encoder, args.weights, args.seed, args.precision)
    todo = [i for i in indexes
            if not slide_files.is_finished(args.project_path, slides.loc[i], settings, args.overwrite)]
    logging.info("%d of %d slides are finished", len(indexes) - len(todo), len(indexes))
    if not todo:
        return
    from encoding.tile_encoder import TileEncoder  # and torch with it, which takes seconds

    encoder = TileEncoder(args.encoder, args.weights, args.seed, args.precision, args.device)
    logging.info("encoder %s, weights %s%s, %s on %s", args.encoder, args.weights, RANDOM * (args.weights == "random"),
                 args.precision, encoder.device)
    failed = []
    for i in tqdm(todo, unit="slide", disable=None):
        with slide_files.attempt(args.project_path, slides.loc[i]) as attempt:
            attempt.update(slide_files.process(args.project_path, slides.loc[i], encoder, args.allow_upsampling,
                                               args.max_unreadable))
        if attempt["status"] == "failed":
            failed.append(i)
    if failed:
        raise ValueError(f"{len(failed)} of {len(todo)} slides failed (logs/slide_processing.csv says why); "
                         f"when that is fixed, run again with {format_indexes(failed)}")


if __name__ == "__main__":
    run(main, arguments(), "slide_processing")
