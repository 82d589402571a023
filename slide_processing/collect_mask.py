"""All masks in one PDF to scroll through, one page a slide, slide ids as bookmarks.

Reads   <project>/metadata.csv, <project>/mask/<Slide.ID>.pdf, <project>/features/<Slide.ID>.h5
Writes  <project>/mask.pdf   of the slides that are there; slides that are missing, failed or empty are listed

    python slide_processing/collect_mask.py my_project
"""
import logging

from pypdf import PdfReader, PdfWriter
from tqdm import tqdm

from slide_ex.project import metadata_file
from slide_ex.script import parser, run, whole
from tiles import slide_status


def main(args):
    slides = metadata_file.read_slides(args.project_path)
    status = slide_status.of_slides(args.project_path, slides)
    there = status[status.has_mask]
    if there.empty:
        raise FileNotFoundError(f"no masks in {args.project_path / 'mask'}: run slide_processing/1main_processing.py")
    with whole(args.project_path / "mask.pdf") as part, PdfWriter() as merged:
        for slide_id in tqdm(there.slide_id, unit="slide", disable=None):
            merged.append(PdfReader(args.project_path / "mask" / f"{slide_id}.pdf"), outline_item=slide_id)
        merged.write(part)
    logging.info("mask.pdf: %d of %d slides", len(there), len(slides))
    for line in slide_status.report(status):
        logging.info(line)
    if len(there) < len(slides):
        missing = status.index[~status.has_mask]
        raise ValueError(f"{len(missing)} of {len(slides)} slides have no mask: "
                         f"run 1main_processing.py with slide index {metadata_file.format_indexes(missing)}")


if __name__ == "__main__":
    run(main, parser(__doc__).parse_args(), "collect_mask")
