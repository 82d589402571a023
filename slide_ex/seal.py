"""The end of an HDF5 file that was written here: a checksum of all of its bytes but the large blocks of numbers.

HDF5 checks those blocks (fletcher32) and most of its own structure. Where it checks nothing, in the heaps that hold
text of any length and the maps of virtual datasets, one changed bit ends the process or keeps it busy for ever. So the
bytes are compared before HDF5 sees them. It ignores what stands behind its own end, and takes it away when it writes:

    [[first, end], ...] of the blocks that are left out, JSON | SHA-256, 64 digits | length of the JSON, 12 digits |
    MAGIC
"""
import hashlib
import json
import os

MAGIC = b"SLIDE-EX"
SHA256_DIGITS, LENGTH_DIGITS = 64, 12
TAIL_BYTES = SHA256_DIGITS + LENGTH_DIGITS + len(MAGIC)
READ_BYTES = 1 << 20    # at a time


def write(file, blocks):
    """Seal a file, open for reading and writing, whose `blocks` (first byte, end; ascending) are left out."""
    text = json.dumps(blocks).encode()
    end = file.seek(0, os.SEEK_END)
    sha256 = sha256_of(file, end, blocks, text)
    file.seek(end)
    file.write(text + sha256.encode() + f"{len(text):0{LENGTH_DIGITS}d}".encode() + MAGIC)


def is_intact(path):
    """Whether the file is sealed; ValueError where it is, and was changed since."""
    with open(path, "rb") as file:
        end = file.seek(0, os.SEEK_END) - TAIL_BYTES
        file.seek(max(end, 0))
        tail = file.read()
        if not tail.endswith(MAGIC):
            return False
        try:
            is_same = sha256_from(file, end, tail) == tail[:SHA256_DIGITS].decode()
        except (ValueError, TypeError):     # the seal itself was changed
            is_same = False
    if not is_same:
        raise ValueError("its bytes are not as they were written")
    return True


def sha256_from(file, end, tail):
    """sha256_of a file whose seal, up to its tail, ends at `end`; ValueError or TypeError for what is no seal."""
    start = end - int(tail[SHA256_DIGITS:-len(MAGIC)])
    if not 0 <= start <= end:
        raise ValueError("no length")
    file.seek(start)
    text = file.read(end - start)
    blocks = json.loads(text)
    edges = [0, *(edge for block in blocks for edge in block), start]
    if edges != sorted(edges):
        raise ValueError("no blocks")
    return sha256_of(file, start, blocks, text)


def sha256_of(file, end, blocks, text):
    """Checksum of the bytes before `end` outside the blocks, and of the blocks' places (`text`)."""
    digest, start = hashlib.sha256(text), 0
    for first, after in [*blocks, (end, end)]:
        file.seek(start)
        left = first - start
        while left > 0 and (read := file.read(min(left, READ_BYTES))):
            digest.update(read)
            left -= len(read)
        start = after
    return digest.hexdigest()
