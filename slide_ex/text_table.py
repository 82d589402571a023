"""Tables of text, however they come: the layout of a file, its cells as strings; and results, written as CSV.

A file may be UTF-8, UTF-16 (Excel's "Unicode text") or, where it is neither, Windows-1252; compressed by gzip whatever
its name says; separated by tabs, commas, semicolons or blanks (R); with lines of comment, of GCT or of Excel before its
header. A row that is shorter or longer than the header is an error: the file was cut off, or a cell holds a separator.
"""
import collections
import csv
import functools
import gzip
import io
import logging
import zlib
from dataclasses import dataclass

import pandas as pd

from slide_ex import recorded_files
from slide_ex.ids import some

NOT_A_TABLE = (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeError, EOFError, OSError, csv.Error, zlib.error)
SEPARATORS = "\t,;"
BLANK = " "             # of R's write.table, where there is no other separator
LOOKED_AT = 20          # lines below the header that must agree on a separator
GZIP = b"\x1f\x8b"
OTHER_FILES = {         # first bytes: what it is
    b"PK\x03\x04": "an Excel file or a zip archive", b"\xd0\xcf\x11\xe0": "an old Excel file",
    b"\x89HDF": "an HDF5 file",
    b"%PDF": "a PDF", b"BZh": "compressed by bzip2", b"\xfd7zXZ": "compressed by xz", b"<!DO": "a web page",
    b"<!do": "a web page", b"<htm": "a web page", b"<?xm": "XML", b"version https://git-lfs": "a pointer of Git LFS",
    b"\x93NUM": "an array of numpy", b"\x80\x04": "a pickle", b"RDX": "data of R", b"PAR1": "a parquet file"}
AS_TEXT = "save it as text separated by tabs or commas"
ENCODINGS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}    # by byte order mark


@dataclass(frozen=True)
class Layout:
    """How the cells of a file are found."""
    encoding: str
    separator: str
    n_before: int       # lines before the header
    header: list        # cells of the header, as many as the lines below have: "" where a column has no name
    is_gct: bool


def separator_of(path):
    """What the files of this project are separated by: the comma for .csv and .csv.gz, else the tab."""
    return "," if path.name.removesuffix(".gz").endswith(".csv") else "\t"


def layout(path, what="a table of text", separator=None):
    """The Layout of a file; FileNotFoundError, and ValueError for a file that is no table, which say `what` to give.

    separator : where it is known and none of SEPARATORS
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: give {what}")
    recorded_files.check(path)
    try:
        encoding = encoding_of(path)
        with opened(path, encoding) as file:
            lines = [line.rstrip("\r\n") for _, line in zip(range(4 * LOOKED_AT), file)]
    except NOT_A_TABLE as error:
        raise ValueError(f"{path} is no table of text ({error}): give {what}") from None
    n_before, declared = lines_before_header(lines)
    content = [line for line in lines[n_before:] if line.strip()][:LOOKED_AT]
    if not content:
        raise ValueError(f"{path} is no table of text (it is empty): give {what}")
    separator = separator or declared or separator_in(content, separator_of(path))
    header, *rows = csv.reader(content, delimiter=separator)
    header = [name.strip() for name in header]
    header[0] = header[0].removeprefix("#")
    widths = {len(row) for row in rows}
    if widths == {len(header) + 1}:     # R does not name the column of row names; or every row ends with a separator
        header = header + [""] if not any(row[-1].strip() for row in rows) else ["", *header]
    return Layout(encoding, separator, n_before, header, lines[0].startswith("#1."))


def encoding_of(path):
    """utf-8-sig, utf-16 or cp1252, by the bytes of the whole file; ValueError for what is no text."""
    with opened_bytes(path) as file:
        start = file.read(64)
        for begin, name in OTHER_FILES.items():
            if start.startswith(begin):
                raise ValueError(f"{path} is {name}, no text: {AS_TEXT}")
        by_mark = ENCODINGS.get(start[:2])
        if by_mark:
            return by_mark
        if b"\0" in start:
            return "utf-16-le" if start[1:2] == b"\0" else "utf-16-be"
    try:
        with opened(path, "utf-8-sig") as file:
            for _ in iter(lambda: file.read(1 << 20), ""):
                pass
        return "utf-8-sig"
    except UnicodeDecodeError as error:
        odd = error.object[max(error.start - 12, 0):error.end + 12].decode("cp1252")    # its error says that it is none
        odd = " ".join(odd.split())
    say_once(f"{path.name} is not UTF-8 and is read as Windows-1252: look whether {odd!r} is right")
    return "cp1252"


@functools.cache
def say_once(line):
    """Log a line, once in a process, however often a file is read."""
    logging.info(line)


def opened_bytes(path):
    """The file as bytes, decompressed where its content (not its name) says gzip."""
    with open(path, "rb") as file:
        is_packed = file.read(2) == GZIP
    return gzip.open(path) if is_packed else open(path, "rb")


def opened(path, encoding):
    return io.TextIOWrapper(opened_bytes(path), encoding, newline="")


def read_lines(path, what):
    """The lines of a file of text that is no table; FileNotFoundError, and ValueError, which say `what` to give."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: give {what}")
    with opened(path, encoding_of(path)) as file:
        return file.read().splitlines()


def lines_before_header(lines):
    """How many lines stand before the header, and the separator that Excel's line `sep=;` declares (or None).

    GCT has two; comments begin with #. A single line with # that has as many cells as the next one is the header.
    """
    if lines and lines[0].startswith(("#1.2", "#1.3")):
        return 2, None
    if lines and lines[0].strip('"').lower().startswith("sep="):
        return 1, lines[0].strip('"')[4:5] or None
    n = next((i for i, line in enumerate(lines) if line.strip() and not line.startswith("#")), len(lines))
    counts = [[line.count(separator) for separator in SEPARATORS] for line in lines[:n + 1]]
    if n == 1 and any(counts[0]) and counts[0] == counts[-1]:
        return 0, None
    return n, None


def separator_in(lines, usual):
    """The separator by which all lines have equally many cells (R's header one fewer), at least 2; else the usual."""
    cells = {}
    for separator in (usual, *SEPARATORS, BLANK):
        widths = [len(row) for row in csv.reader(lines, delimiter=separator)]
        is_table = min(widths) > 1 and len(set(widths[1:] or widths)) == 1 and widths[-1] - widths[0] in (0, 1)
        if is_table and (separator != BLANK or not cells):
            cells.setdefault(separator, widths[0])
    return max(cells, key=cells.get) if cells else next((one for one in (usual, *SEPARATORS) if one in lines[0]), usual)


def refuse_repeated(header, path):
    """ValueError for column names that occur twice."""
    repeated = sorted(name for name, n in collections.Counter(header).items() if n > 1 and name)
    if repeated:
        raise ValueError(f"{path}: column names occur twice: {some(repeated)}: rename or remove one of them")


def read_strings(path, what):
    """All cells as strings without blanks at their ends, empty ones as ""; columns without a name are "".

    Columns without a name and without content are left out. Raises FileNotFoundError, and ValueError for a file that is
    no table, has rows of other lengths than its header or a column name twice; both say `what` to give.
    """
    found = layout(path, what)
    try:
        with opened(path, found.encoding) as file:
            for _ in range(found.n_before):
                next(file)
            rows = [row for row in csv.reader(file, delimiter=found.separator) if any(cell.strip() for cell in row)]
    except NOT_A_TABLE as error:
        raise ValueError(f"{path} is no table of text ({error}): give {what}") from None
    header = found.header
    if len(rows) < 2:
        return pd.DataFrame(columns=[name for name in header if name], dtype=str)
    for n, row in enumerate(rows[1:], 2):
        del row[max(len(header), last_filled(row)):]
        if len(row) != len(header):
            raise ValueError(f"{path}: row {n} has {len(row)} cells, the header {len(header)}: is the file cut off, or "
                             f"does a cell hold {shown(found.separator)}?")
    refuse_repeated(header, path)
    table = pd.DataFrame([[cell.strip() for cell in row] for row in rows[1:]], dtype=str)
    table.columns = header
    named = [bool(name) or (table.iloc[:, i] != "").any() for i, name in enumerate(header)]
    return table.loc[:, named]


def last_filled(row):
    """The number of cells up to the last one that is not empty."""
    return max((i + 1 for i, cell in enumerate(row) if cell.strip()), default=0)


def shown(separator):
    return {"\t": "a tab", " ": "a blank", ",": "a comma", ";": "a semicolon"}.get(separator, separator)


def refuse_ragged(path, found):
    """ValueError for a line with another number of cells than the header (not looked for where cells are quoted)."""
    separator, width = found.separator, len(found.header)
    with opened(path, found.encoding) as file:
        for n, line in enumerate(file, 1):
            if n <= found.n_before + 1 or not line.strip() or '"' in line:
                continue
            cells = line.rstrip("\r\n").count(separator) + 1
            if cells != width:
                raise ValueError(f"{path}: line {n} has {cells} cells, others {width} (separated by "
                                 f"{shown(separator)}): is the file cut off?")


def read_results(path, made_by, columns=()):
    """A table that one of the scripts wrote (`write_results`); ValueError where it is damaged or lacks `columns`.

    Names (gene, cell_type, slide_id, ...) are text whatever they look like; only empty cells are missing values.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: run {made_by} first")
    recorded_files.check(path, made_by)
    try:
        header = pd.read_csv(path, nrows=0)
        text = [name for name in header if name in TEXT_COLUMNS]
        table = pd.read_csv(path, dtype=dict.fromkeys(text, str), keep_default_na=False,
                            na_values={name: [""] for name in header if name not in text})
    except (*NOT_A_TABLE, ValueError) as error:
        raise ValueError(f"{path} is damaged ({error}): make it again with {made_by} --overwrite") from None
    absent = [name for name in columns if name not in table]
    if absent:
        raise ValueError(f"{path} has no column {', '.join(absent)}: make it again with {made_by} --overwrite")
    return table


TEXT_COLUMNS = {"gene", "cell_type", "target", "model", "head", "term", "features", "kind", "group", "slide_id",
                "patient_id", "status", "reason", "part", "id"}


def write_results(table, path):
    """Write a table as all results are: CSV without row numbers, six digits."""
    table.to_csv(path, index=False, float_format="%.6g")
