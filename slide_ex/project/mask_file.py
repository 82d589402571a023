"""mask/<Slide.ID>.pdf, the quality-control page of a slide, and mask.pdf, all of them.

A page is one picture: lines of text, below them two mosaics of THUMBNAIL_PX a tile, left the slide as scanned, right
the kept, normalised tiles on white, both with a grid; GAP_PX of white are left of and between them, two below.
mask.pdf has an entry MADE_FROM in its properties: the SHA-256 of the pages' names and sizes.
"""
import numpy as np

from slide_ex import checksums

THUMBNAIL_PX = 32  # side of a tile, pixels: 1/16 of the published tile
GAP_PX = 16        # white space
NAME = "mask.pdf"
MADE_FROM = "/MadeFrom"


def path_of(project, slide_id):
    """The page of a slide."""
    return project / "mask" / f"{slide_id}.pdf"


def read_mosaics(path, n_rows, n_columns):
    """Both mosaics of a slide's page; uint8 (n_rows * THUMBNAIL_PX, n_columns * THUMBNAIL_PX, 3) each.

    ValueError for a page that is damaged or of another number of tiles.
    """
    from pypdf import PdfReader
    from pypdf.errors import PyPdfError
    try:
        page = np.asarray(PdfReader(path).pages[0].images[0].image.convert("RGB"))
    except (PyPdfError, OSError, IndexError) as error:
        raise ValueError(f"{path} is damaged ({error}): process the slide again with --overwrite") from None
    height, width = n_rows * THUMBNAIL_PX, n_columns * THUMBNAIL_PX
    top = len(page) - 2 * GAP_PX - height
    if top < 0 or page.shape[1] < 2 * width + 3 * GAP_PX:
        raise ValueError(f"{path} is not the page of a slide of {n_rows} x {n_columns} tiles: process the slide again "
                         "with --overwrite")
    return tuple(page[top:top + height, left:left + width] for left in (GAP_PX, width + 2 * GAP_PX))


def sha256_of(pages):
    """What mask.pdf is made from, for a list of paths of the slides' pages, in order."""
    return checksums.of_sizes(pages)


def made_from(path):
    """The checksum in the properties of a mask.pdf; None of one that is damaged or was made by something else."""
    from pypdf import PdfReader
    from pypdf.errors import PyPdfError
    try:
        return (PdfReader(path).metadata or {}).get(MADE_FROM)
    except (PyPdfError, OSError, ValueError):
        return None
