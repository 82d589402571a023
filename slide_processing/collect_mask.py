"""All masks in one PDF to scroll through, one page a slide, slide ids as bookmarks.

Reads   <project>/metadata.csv, <project>/mask/<Slide.ID>.pdf, <project>/features/<Slide.ID>.h5
Writes  <project>/mask.pdf   of the slides that are there; slides that are missing, failed or empty are listed

    python slide_processing/collect_mask.py my_project
"""
import logging

from slide_ex.script import parser, run, whole

from pypdf import PdfReader, PdfWriter
from pypdf.errors import PyPdfError
from tqdm import tqdm

from slide_ex.ids import format_indexes
from slide_ex.project import feature_file, mask_file, metadata_file
from tiles import slide_status


def main(args):
    slides = metadata_file.read(args.project_path)
    status = slide_status.of_slides(args.project_path, slides)
    there = status[status.has_mask]
    if there.empty:
        raise FileNotFoundError(f"no masks in {args.project_path / 'mask'}: run slide_processing/1main_processing.py")
    masks = {slide_id: mask_file.path_of(args.project_path, slide_id) for slide_id in there.slide_id}
    now, out = mask_file.sha256_of(masks.values()), args.project_path / mask_file.NAME
    if out.is_file() and not args.overwrite and mask_file.made_from(out) == now:
        logging.info("mask.pdf is finished: %d of %d slides", len(there), len(slides))
    else:
        collect(out, masks, now, bookmarks_of(args.project_path, there.slide_id))
        logging.info("mask.pdf: %d of %d slides", len(there), len(slides))
    for line in slide_status.report(status):
        logging.info(line)
    if len(there) < len(slides):
        missing = status.index[~status.has_mask]
        raise ValueError(f"{len(missing)} of {len(slides)} slides have no mask: "
                         f"run 1main_processing.py with slide index {format_indexes(missing)}")


def collect(out, masks, sha256, bookmarks):
    """Write mask.pdf from dict of slide id to the path of its mask; `bookmarks` of slides that are odd say why."""
    with whole(out) as part, PdfWriter() as merged:
        for slide_id, path in tqdm(masks.items(), unit="slide", disable=None):
            try:
                merged.append(PdfReader(path), outline_item=bookmarks.get(slide_id, slide_id))
            except PyPdfError as error:
                raise ValueError(f"{path} is damaged ({error}): process the slide again with 1main_processing.py "
                                 f"{slide_id} --overwrite") from None
        merged.add_metadata({mask_file.MADE_FROM: sha256})
        merged.write(part)


def bookmarks_of(project_path, slide_ids):
    """Bookmarks (dict) of the slides whose tiles are odd: the id, and what is."""
    made = {slide_id: feature_file.path_of(project_path, slide_id) for slide_id in slide_ids}
    odd = {slide_id: feature_file.oddities(feature_file.read_attributes(path)) for slide_id, path in made.items()
           if path.is_file()}
    return {slide_id: f"{slide_id}: {', '.join(words)}" for slide_id, words in odd.items() if words}


if __name__ == "__main__":
    run(main, parser(__doc__).parse_args(), "collect_mask")
