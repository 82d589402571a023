"""Opening a slide with OpenSlide; what cannot be opened is said in words, with the cure."""
import openslide
from openslide import OpenSlideError  # of those who open slides here

from slide_ex.slides import files

RESAMPLED = "RESAMPLED"     # fourth value of ImageType of a DICOM level that was made from a finer one
STARTS = (  # first bytes of files that are no slides, what they are, and the cure
    (b"version https://git-lfs", "is a Git LFS pointer, not the slide", "run git lfs pull where it came from"),
    (b"<!doctype html", "is a web page, not the slide", "download it again, logged in where that is needed"),
    (b"<html", "is a web page, not the slide", "download it again, logged in where that is needed"),
    (b"\x89PNG", "is a plain image (PNG)", "get the scanner's file, or make a tiled TIFF of it (vips tiffsave --tile)"),
    (b"\xff\xd8\xff", "is a plain image (JPEG)",
     "get the scanner's file, or make a tiled TIFF of it (vips tiffsave --tile)"),
    (b"BM", "is a plain image (BMP)", "get the scanner's file, or make a tiled TIFF of it (vips tiffsave --tile)"),
    (b"PK\x03\x04", "is a ZIP archive", "unpack it"), (b"\x1f\x8b", "is compressed (gzip)", "unpack it"))
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def open_slide(path):
    """The open slide (openslide.OpenSlide) that a path, a file or a folder, stands for.

    Raises
    ------
    FileNotFoundError, OSError, ValueError
        The slide, or a file that belongs to it, is not there, or is no slide; with the cure.
    OpenSlideError
        It can be opened by OpenSlide, but not now.
    """
    path = files.entry(path)
    files.of_slide(path)    # says what is missing
    try:
        slide = openslide.OpenSlide(path)
    except openslide.OpenSlideUnsupportedFormatError:
        raise ValueError(f"{path} is no whole-slide image that OpenSlide can open: it {why_not(path)}") from None
    except OpenSlideError as error:
        if cut := cut_off(path):
            raise OSError(f"{path} cannot be opened: it {cut}") from None
        raise error
    if slide.properties.get("dicom.ImageType[3]") == RESAMPLED:
        slide.close()
        raise ValueError(f"{path} is a coarse level of its DICOM series, and the finest is not in its folder: put all "
                         "instances of the series there")
    return slide


def why_not(path):
    """Why OpenSlide knows no slide in a file, and the cure, in words."""
    with open(path, "rb") as file:
        start = file.read(64)
    if not start:
        return "is empty (0 bytes): copy or download it again"
    for magic, what, cure in STARTS:
        if start.lower().startswith(magic.lower()):
            return f"{what}: {cure}"
    if start.startswith(TIFF):
        return cut_off(path) or ("is a TIFF in strips, not in tiles: get the scanner's file, or make it tiled (vips "
                                 "tiffsave --tile --pyramid)" if is_striped(path) else
                                 "is a TIFF that OpenSlide does not know: make a tiled one of it (vips tiffsave --tile "
                                 "--pyramid)")
    return "begins like no format of slides: copy it again, or convert it to a tiled TIFF"


def cut_off(path):
    """In words that a TIFF ends before the pixels that it speaks of, as half a download does; "" where it does not."""
    n_bytes, needed = path.stat().st_size, needed_bytes(path)
    if needed is None or needed <= n_bytes:
        return ""
    return f"is cut off ({n_bytes:,} bytes, needed are at least {needed:,}): download or copy it again"


def needed_bytes(path):
    """Bytes that a TIFF has when it is whole, as far as its directories say; None for what is no TIFF."""
    import tifffile  # which takes a moment, and is needed for bad files only
    with open(path, "rb") as file:
        if not file.read(4).startswith(TIFF):
            return None
    try:
        with tifffile.TiffFile(path) as tiff:
            return max(offset + size for page in tiff.pages for offset, size in
                       zip(page.dataoffsets, page.databytecounts))
    except Exception:   # the first directory itself lies behind the end, or is no directory
        return first_directory(path)


def first_directory(path):
    """The place of a TIFF's first directory, which the file has to reach."""
    with open(path, "rb") as file:
        start = file.read(16)
    order = "little" if start.startswith(b"II") else "big"
    is_big = start[2:4] in (b"+\0", b"\0+")
    return int.from_bytes(start[8:16] if is_big else start[4:8], order) + 2


def is_striped(path):
    import tifffile
    try:
        with tifffile.TiffFile(path) as tiff:
            return not tiff.pages[0].is_tiled
    except Exception:
        return False
