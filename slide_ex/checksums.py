"""Checksums: of a file, of content, of names and sizes; how one is shown, and what is said where there is none."""
import functools
import hashlib
import logging
import os
import re

import numpy as np

BLOCK_BYTES = 1 << 20   # read at a time
MIDDLE_BYTES = 1 << 16
SHA256 = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{52}\b")


def of_file(path, algorithm="sha256"):
    """Checksum of a file's bytes, hexadecimal, read in blocks."""
    digest = hashlib.new(algorithm)
    with open(path, "rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def of_content(*parts):
    """SHA-256 of arrays (shape, type and values) and plain objects (their repr).

    It changes when what is computed from changes, whatever the file around it looks like.
    """
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(f"{part.shape}{part.dtype.str}".encode())
            part = np.ascontiguousarray(part).data.cast("B") if part.size else b""
        else:
            part = repr(part).encode()
        digest.update(part)
    return digest.hexdigest()


def of_files(paths, folder):
    """Checksum of each file, by its path from a folder; what a record there says of the files beside it."""
    return {os.path.relpath(path, folder): of_file(path) for path in paths}


def of_text(text):
    return hashlib.sha256(text.encode()).hexdigest()


def of_sizes(paths):
    """SHA-256 of names and sizes of files, for those that are too large to read twice."""
    return of_text("".join(f"{path.name}\t{path.stat().st_size if path.is_file() else 'absent'}\n" for path in paths))


def of_middles(paths):
    """SHA-256 of what is in the middle of files: tells two of one size that hold other pixels, in one short read each.
    """
    digest = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:
            file.seek(max(path.stat().st_size - MIDDLE_BYTES, 0) // 2)
            digest.update(file.read(MIDDLE_BYTES))
    return digest.hexdigest()


def shown(value):
    """A value as text for a message, of checksums the first digits, "nothing" for no text."""
    return SHA256.sub(r"\1...", str(value)) or "nothing"


def say_unverified(path, made_by):
    """Say, once for each script that makes such files, that a file has no checksum to compare it with."""
    say_once(made_by, path.name if path.suffix != ".h5" or path.parent.name != "features" else "features/*.h5")


@functools.cache
def say_once(made_by, name):
    logging.info(f"{name}: written without checksums, by an earlier version or another program: it is read as it is, "
                 f"unverified; {made_by} --overwrite writes it with them")
