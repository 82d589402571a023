"""mask/<Slide.ID>.pdf, the quality-control page of a slide, and mask.pdf, all of them.

mask.pdf has an entry MADE_FROM in its properties: the SHA-256 of the pages' names and sizes.
"""
from slide_ex import checksums

NAME = "mask.pdf"
MADE_FROM = "/MadeFrom"


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
