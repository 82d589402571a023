"""Which files a slide consists of. Most are one file; some formats spread a slide over several:

    MIRAX           x.mrxs, a stub, and the folder x/ beside it
    DICOM           the instances of one series in one folder; any of them opens all
    Hamamatsu VMS   x.vms (or .vmu), a text that names the others
    a folder        that holds one slide of any of these kinds
"""
import re
import struct
import unicodedata

from slide_ex import checksums
from slide_ex.ids import some

SLIDES = (".svs", ".tif", ".tiff", ".ndpi", ".vms", ".vmu", ".scn", ".mrxs", ".svslide", ".bif", ".czi")
VMS_KEYS = re.compile(r"(ImageFile|MapFile|OptimisationFile|MacroImage)", re.IGNORECASE)
SERIES_UID = (0x0020, 0x000E)
LONG_VRS = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
UNDEFINED = 0xFFFFFFFF      # length of a sequence that ends with a delimiter
DICOM_HEADER_BYTES = 1 << 20


def find(folder, filename):
    """Path of a slide by its name, the same letters composed or decomposed (NFC, NFD); it need not exist."""
    path = folder / filename
    if not filename or path.exists():
        return path
    found = folder
    for part in filename.split("/"):
        near = [one for one in found.iterdir() if nfc(one.name) == nfc(part)] if found.is_dir() else []
        if not near:
            return path
        found = near[0]
    return found


def nfc(text):
    """A name with composed letters."""
    return unicodedata.normalize("NFC", text)


def entry(path):
    """The file to open for a slide: itself, or in a folder the one slide that it holds. ValueError for another number.
    """
    if not path.is_dir():
        return path
    inside = sorted(one for one in path.iterdir() if one.is_file() and not one.name.startswith("."))
    slides = [one for one in inside if one.suffix.lower() in SLIDES]
    series = {}
    for one in inside:
        if one not in slides and (uid := series_of(one)):
            series.setdefault(uid, one)
    found = slides + list(series.values())
    if len(found) != 1:
        raise ValueError(f"the folder {path} holds {len(found)} slides or DICOM series"
                         + (f" ({some([one.name for one in found], 3)})" if found else "")
                         + ": a folder as Filename holds the files of one slide")
    return found[0]


def of_slide(path):
    """All files that belong to a slide, sorted; FileNotFoundError, ValueError where some are not there."""
    path = entry(path)
    if path.is_symlink() and not path.exists():
        raise FileNotFoundError(f"{path} is a link to {path.readlink()}, which is not there: bring that back, or link "
                                "the slide again")
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: check Filename in metadata.csv")
    if path.suffix.lower() == ".mrxs":
        return sorted([path, *(one for one in data_folder(path).rglob("*") if one.is_file())])
    if path.suffix.lower() in (".vms", ".vmu"):
        return sorted([path, *named_in(path)])
    uid = series_of(path)
    if uid:
        return sorted(one for one in path.parent.iterdir() if one.is_file() and series_of(one) == uid)
    return [path]


def to_link(path):
    """What has to be linked, beside one another, so that a slide opens elsewhere: files, or folders as a whole."""
    if path.is_dir():
        of_slide(path)      # says what is missing
        return [path]
    return [path, data_folder(path)] if path.suffix.lower() == ".mrxs" else of_slide(path)


def data_folder(path):
    """The folder x/ of x.mrxs."""
    folder = find(path.parent, path.stem)
    if not folder.is_dir():
        raise FileNotFoundError(f"the folder {path.stem}/ that belongs to {path.name} is not beside it ({path}): "
                                "copy or link both")
    return folder


def named_in(path):
    """The files that a .vms or .vmu names."""
    lines = (line.split("=", 1) for line in path.read_text(encoding="latin-1").splitlines() if "=" in line)
    names = [name.strip() for key, name in lines if VMS_KEYS.match(key.strip()) and name.strip()]
    files = [find(path.parent, name) for name in names]
    absent = [name for name, file in zip(names, files) if not file.is_file()]
    if absent:
        raise FileNotFoundError(f"{len(absent)} files that belong to {path.name} are not beside it: {some(absent, 3)} "
                                f"({path}): copy or link all")
    return files


def identity(path):
    """What tells a slide from another without reading all of it (dict): bytes of its files, SHA-256 of their names and
    sizes, and of what is in the middle of each."""
    files = of_slide(path)
    return {"slide_bytes": sum(one.stat().st_size for one in files), "slide_files_sha256": checksums.of_sizes(files),
            "slide_middles_sha256": checksums.of_middles(files)}


def series_of(path):
    """SeriesInstanceUID of a DICOM file, "" of any other: its data elements up to that one are read."""
    with open(path, "rb") as file:
        if file.read(132)[128:] != b"DICM":
            return ""
        content = file.read(DICOM_HEADER_BYTES)
    at, is_implicit = 0, False
    try:
        while True:
            group, element = struct.unpack_from("<HH", content, at)
            start, length = element_at(content, at, is_implicit and group != 2)
            if (group, element) == (0x0002, 0x0010):
                is_implicit = content[start:start + length].rstrip(b"\0 ") == b"1.2.840.10008.1.2"
            if (group, element) == SERIES_UID:
                return content[start:start + length].rstrip(b"\0 ").decode("ascii", "replace")
            at = after_sequence(content, start, is_implicit) if length == UNDEFINED else start + length
    except struct.error:    # the header ends
        return ""


def element_at(content, at, is_implicit):
    """First byte and length of the value of the data element at a place."""
    if is_implicit or content[at:at + 2] == b"\xfe\xff":    # items and delimiters have no type
        return at + 8, struct.unpack_from("<I", content, at + 4)[0]
    kind = content[at + 4:at + 6]
    if kind in LONG_VRS:
        return at + 12, struct.unpack_from("<I", content, at + 8)[0]
    return at + 8, struct.unpack_from("<H", content, at + 6)[0]


def after_sequence(content, at, is_implicit):
    """The place behind a sequence, or an item, of undefined length whose content begins at `at`."""
    while True:
        tag = struct.unpack_from("<HH", content, at)
        start, length = element_at(content, at, is_implicit)
        if tag in ((0xFFFE, 0xE0DD), (0xFFFE, 0xE00D)):     # end of the sequence, of the item
            return start
        at = after_sequence(content, start, is_implicit) if length == UNDEFINED else start + length
