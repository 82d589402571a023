"""Ids: names that are safe as files, names that should match and do not, barcodes of TCGA, ranges of indexes."""
import difflib
import logging
import re

SHOWN = 5               # ids in a message
CUTOFF = .6             # of difflib's ratio: below it two ids are not alike
MAX_BYTES = 200         # of a name that becomes that of a file, with room for endings (file systems allow 255)
TCGA_PATIENT = r"TCGA-[A-Z0-9]{2}-[A-Z0-9]{4}"   # project, tissue source site, participant (GDC, "TCGA Barcode")
TCGA_IN_R = r"TCGA\.[A-Z0-9]{2}\.[A-Z0-9]{4}(?:\.[A-Z0-9]+)*"   # a barcode as R makes it the name of a column
SHORT_FORMS = {"Cancer": "Cancer Epithelial", "Normal": "Normal Epithelial"}  # of cell types, on command lines
BULK = "Bulk"           # bulk itself, as a cell type
BETWEEN = " + "         # members of an ensemble of cell types
RESERVED = {"abundance", "direct", "bulk", "cell_fraction", "slides", "mean colour", "clinical", "cell types", "pairs",
            "top triple", "summary", "overlap", "training_range", "enrichment", "all"}  # names of other things


# Lists in messages

def some(ids, n=SHOWN):
    """The first n ids, and how many more: 'A, B and 7 more'."""
    ids = list(map(str, ids))
    return ", ".join(ids[:n]) + (f" and {len(ids) - n} more" if len(ids) > n else "")


def counted(ids, n=3):
    """How many, and the first few: '9 (A, B, C and 6 more)'."""
    ids = list(ids)
    return f"{len(ids)} ({some(ids, n)})"


def with_near_matches(ids, candidates, n=SHOWN):
    """The first n ids, each followed by the candidate that looks most like it, and how many more.

    'P-01 (P01?), P-02 and 3 more'
    """
    ids, candidates = list(map(str, ids)), list(map(str, candidates))
    shown = [f"{one} ({near}?)" if (near := nearest(one, candidates)) else one for one in ids[:n]]
    return ", ".join(shown) + (f" and {len(ids) - n} more" if len(ids) > n else "")


def nearest(one, candidates):
    """The candidate most like `one`, or None: first those that differ in case and punctuation only, then those that
    are longer or shorter by whole parts, as barcodes of patient and sample are."""
    for alike in (lambda other: bare(other) == bare(one), lambda other: is_part(one, other) or is_part(other, one)):
        if (found := next(filter(alike, candidates), None)) is not None:
            return found
    return next(iter(difflib.get_close_matches(one, candidates, n=1, cutoff=CUTOFF)), None)


def is_part(one, whole):
    """Whether an id begins with another and a mark after it: TCGA-A1-A0SB-01A with TCGA-A1-A0SB."""
    return bool(one) and whole.startswith(one) and not whole[len(one):len(one) + 1].isalnum()


def bare(one):
    """Letters and digits of an id, lower case, numbers without leading zeros: 'P_2' and 'p-02' are alike."""
    return re.sub(r"(?<!\d)0+(?=\d)|[\W_]", "", one).lower()


# Names that become those of files and folders

def why_unsafe(name):
    """Why a name cannot be that of a file, in words; "" where it can."""
    if not name.strip():
        return "it is empty"
    if name != name.strip():
        return "it begins or ends with a blank"
    if "/" in name or "\\" in name or name.startswith("."):
        return "use no slashes and no leading dots"
    if not name.isprintable():
        return "use no control characters"
    if len(name.encode()) > MAX_BYTES:
        return f"it is longer than {MAX_BYTES} bytes"
    return ""


def refuse_unsafe(names, what, where):
    """ValueError for a name that cannot be that of a file; `what` it is ("Slide.ID"), `where` it stands (a path)."""
    for name in names:
        if why := why_unsafe(name):
            raise ValueError(f"{where}: {what} {name[:80]!r} cannot be the name of a file: {why}")


def leaves_folder(filename):
    """Whether the path of a file, as a table states it, would lead out of the folder that it is relative to."""
    return filename.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", filename) or "\0" in filename


def refuse_cell_types(names, where, allowed=()):
    """ValueError for names that cannot be those of cell types: unsafe ones, reserved ones, those that differ in case.

    allowed : reserved names that mean what they say here, such as BULK
    """
    names = list(names)
    refuse_unsafe(names, "cell type", where)
    reserved = [name for name in names if name.lower() in RESERVED and name not in allowed]
    if reserved:
        raise ValueError(f"{where}: cell type {reserved[0]!r} is the name of something else here: rename it")
    joined = [name for name in names if BETWEEN in name]
    if joined:
        raise ValueError(f"{where}: cell type {joined[0]!r}: {BETWEEN!r} joins the members of an ensemble; rename it")
    seen = {}
    for name in names:
        if seen.setdefault(name.lower(), name) != name:
            raise ValueError(f"{where}: cell types {seen[name.lower()]!r} and {name!r} differ in case only: rename one")


def cell_type(name, known):
    """The cell type that a name on a command line means: a real name before a short form."""
    return name if name in set(known) else SHORT_FORMS.get(name, name)


# Barcodes of TCGA

def tcga_patient(text):
    """The patient that a TCGA barcode begins with, "" where it is no barcode."""
    match = re.match(rf"({TCGA_PATIENT})(?=-|$)", text)
    return match[1] if match else ""


def with_dashes(text):
    """A TCGA barcode with the dots that R puts there as it was, TCGA-A1-A0SB for TCGA.A1.A0SB; other text as it is."""
    return text.replace(".", "-") if re.fullmatch(TCGA_IN_R, text) else text


def tcga_site(patient):
    """Tissue source site of a TCGA patient, "" for other ids."""
    return patient[5:7] if tcga_patient(patient) else ""


# Indexes of slides

def parse_indexes(text, slide_ids):
    """Indexes of slides, ascending.

    Parameters
    ----------
    text : str
        'all', numbers and ranges such as '0-9,12' (both ends included), or ids of slides, separated by commas. A number
        is a row, also where a slide is named so; a line says when that is another one.
    slide_ids : sequence of str, in the order of metadata.csv
    """
    slide_ids = list(slide_ids)
    if text == "all":
        return list(range(len(slide_ids)))
    place = {slide_id: i for i, slide_id in enumerate(slide_ids)}
    if text in place and not re.fullmatch(r"[\d,\s-]+", text):   # an id with a comma in it
        return [place[text]]
    indexes = set()
    for part in text.split(","):
        part = part.strip()
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", part)
        if match:
            first, last = int(match[1]), int(match[2] or match[1])
            if first > last or last >= len(slide_ids):
                raise ValueError(f"slide index {part} is out of range: metadata.csv has {len(slide_ids)} slides, "
                                 f"0-{len(slide_ids) - 1}")
            if match[2] is None and place.get(part, first) != first:
                logging.warning("%s is taken as a row of metadata.csv, slide %s; the slide whose Slide.ID is %s is row "
                                "%d", part, slide_ids[first], part, place[part])
            indexes |= set(range(first, last + 1))
        elif part in place:
            indexes.add(place[part])
        else:
            near = nearest(part, slide_ids)
            raise ValueError(f"slide index {part!r} is not understood: give all, numbers and ranges such as 0-9,12, or "
                             f"a Slide.ID{f' ({near}?)' if near else ''}; metadata.csv has {len(slide_ids)} slides, "
                             f"0-{len(slide_ids) - 1}")
    return sorted(indexes)


def format_indexes(indexes):
    """The shortest text that `parse_indexes` reads as these indexes: [0, 1, 2, 5] is '0-2,5'."""
    runs = []
    for index in sorted(indexes):
        if runs and index == runs[-1][1] + 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    return ",".join(f"{first}-{last}" if last > first else str(first) for first, last in runs)
