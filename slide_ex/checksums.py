"""Checksums: of a file, of content, of names and sizes; and how one is shown in a message."""
import hashlib
import re

import numpy as np

BLOCK_BYTES = 1 << 20   # read at a time
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


def of_text(text):
    return hashlib.sha256(text.encode()).hexdigest()


def of_sizes(paths):
    """SHA-256 of names and sizes of files, for those that are too large to read twice."""
    return of_text("".join(f"{path.name}\t{path.stat().st_size if path.is_file() else 'absent'}\n" for path in paths))


def shown(value):
    """A value as text for a message, of checksums the first digits."""
    return SHA256.sub(r"\1...", str(value))
