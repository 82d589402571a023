"""The end of an HDF5 file that was written here: a checksum of all of its bytes but the large blocks of numbers.

HDF5 checks those blocks (fletcher32) and most of its own structure. Where it checks nothing, in the heaps that hold
text of any length and the maps of virtual datasets, one changed bit ends the process or keeps it busy for ever. So the
bytes are compared before HDF5 sees them. It ignores what stands behind its own end, and takes it away when it writes:

    JSON | SHA-256, 64 digits | length of the JSON, 12 digits | MAGIC

The JSON has `blocks`, [[first, end], ...] of what is left out, and what a reader may want to know of the file without
opening it (hdf5.outline); of earlier versions it is the list of the blocks.
"""
import hashlib
import json
import os

MAGIC = b"SLIDE-EX"
SHA256_DIGITS, LENGTH_DIGITS = 64, 12
TAIL_BYTES = SHA256_DIGITS + LENGTH_DIGITS + len(MAGIC)
READ_BYTES = 1 << 20    # at a time


def write(file, blocks, known):
    """Seal a file, open for reading and writing, whose `blocks` (first byte, end; ascending) are left out.

    known : dict of what else `read` is to give; plain values of JSON
    """
    text = json.dumps({"blocks": blocks} | known).encode()
    end = file.seek(0, os.SEEK_END)
    sha256 = sha256_of(file, end, blocks, text)
    file.seek(end)
    file.write(text + sha256.encode() + f"{len(text):0{LENGTH_DIGITS}d}".encode() + MAGIC)


def read(path):
    """What the seal of a file says, dict; None for a file without one, ValueError for one that was changed since."""
    with open(path, "rb") as file:
        end = file.seek(0, os.SEEK_END) - TAIL_BYTES
        file.seek(max(end, 0))
        tail = file.read()
        if not tail.endswith(MAGIC):
            return None
        try:
            said, sha256 = said_and_sha256(file, end, tail)
            is_same = sha256 == tail[:SHA256_DIGITS].decode()
        except (ValueError, TypeError, KeyError):     # the seal itself was changed
            is_same = False
    if not is_same:
        raise ValueError("its bytes are not as they were written")
    return said


def said_and_sha256(file, end, tail):
    """What a seal says whose tail begins at `end`, and sha256_of the file; ValueError, TypeError, KeyError for none."""
    start = end - int(tail[SHA256_DIGITS:-len(MAGIC)])
    if not 0 <= start <= end:
        raise ValueError("no length")
    file.seek(start)
    text = file.read(end - start)
    said = json.loads(text)
    said = {"blocks": said} if isinstance(said, list) else said
    edges = [0, *(edge for block in said["blocks"] for edge in block), start]
    if edges != sorted(edges):
        raise ValueError("no blocks")
    return said, sha256_of(file, start, said["blocks"], text)


def sha256_of(file, end, blocks, text):
    """Checksum of the bytes before `end` outside the blocks, and of what the seal says (`text`)."""
    digest, start = hashlib.sha256(text), 0
    for first, after in [*blocks, (end, end)]:
        file.seek(start)
        left = first - start
        while left > 0 and (read := file.read(min(left, READ_BYTES))):
            digest.update(read)
            left -= len(read)
        start = after
    return digest.hexdigest()
