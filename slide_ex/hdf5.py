"""HDF5 files: the one way in which they are written and opened, and what is checked of them.

HDF5 checks by fletcher32 every block of numbers as it is read; all else is compared with the file's seal (`seal`)
before HDF5 opens it. A file that another program has written since has lost its seal: of its names and attributes the
SHA-256 stands in the attribute TEXTS. So a changed bit is an error, and never another number or another name.
"""
import contextlib
import errno
import hashlib
import json
import os
import types

import h5py
import numpy as np

from slide_ex import checksums, record, seal

TEXTS, SUMS = "texts_sha256", "sums_sha256"
FORMAT = ("v110", "v110")       # the oldest of which all structure has checksums
CHUNK_BYTES = 1 << 20           # of a dataset, at most: what HDF5 reads, checks and keeps at a time
SUM_BYTES = 4                   # of fletcher32, at the end of a chunk
LARGE_BYTES = 1 << 16           # of numbers in one piece, from which on the seal leaves them to fletcher32

OUTLINE = "outline"             # in the seal

CAUSES = {  # why a whole file cannot be read, and what helps
    errno.EACCES: "you may not read it: ask for the right to, or copy it",
    errno.EPERM: "you may not read it: ask for the right to, or copy it",
    errno.EAGAIN: "another program has it locked: wait until it is done",
    errno.ENOLCK: "the file system gives no locks: set HDF5_USE_FILE_LOCKING=FALSE",
    errno.EIO: "the disk or the network did not answer: try again",
    errno.ESTALE: "the network file system was mounted anew: try again",
    errno.ETIMEDOUT: "the network did not answer: try again",
    errno.EMFILE: "too many files are open: raise the limit (ulimit -n)"}
UNREADABLE = (OSError, LookupError, TypeError, AttributeError, ValueError, RuntimeError)  # as h5py and NumPy say it

CALLS = "seek", "tell", "read", "readinto"  # of a file, besides those that write


class Disk:
    """A file as HDF5 sees it, on a disk that never fails.

    HDF5 does not survive a write that fails: the process may end by a segmentation fault when the file is closed. It is
    not told, therefore; what does not fit is dropped, and `writing` raises the error when HDF5 is done.
    """

    def __init__(self, path, mode):
        self.file, self.error = open(path, mode, buffering=0), None
        self.seek, self.tell, self.read, self.readinto = (getattr(self.file, name) for name in CALLS)

    def write(self, data):
        left = memoryview(data).cast("B")
        while len(left) and not self.error:
            left = left[self.tried(self.file.write, left):]
        return len(data)

    def truncate(self, size):
        self.tried(self.file.truncate, size)
        return size

    def flush(self):
        pass

    def tried(self, function, *arguments):
        """What the function gives; 0 where it fails, or something has failed before."""
        try:
            return 0 if self.error else function(*arguments)
        except OSError as error:
            self.error = error
            return 0


@contextlib.contextmanager
def writing(path, add=False):
    """Give a new open file to write into, or with `add` the one that is there; OSError where the disk is full."""
    disk = Disk(path, "r+b" if add else "w+b")
    with disk.file:
        try:
            with h5py.File(disk, "r+" if add else "w", libver=FORMAT) as file:
                yield file
                file.attrs[TEXTS] = texts_sha256(file)
                blocks, known = large_blocks(file), outline_of(file)
            seal.write(disk, blocks, known)
        finally:
            if disk.error:
                raise OSError(disk.error.errno, f"{disk.error.strerror}: no room for {path}, make room and run the "
                              "same command again") from disk.error


def reserve(path, n_bytes):
    """Take the room for a file that is being written before hours are spent; OSError where there is none."""
    try:
        with open(path, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, int(n_bytes))
    except OSError as error:
        raise OSError(f"no room for {n_bytes / 1e9:.2g} GB in {path.parent} ({error.strerror}): make room and run the "
                      "same command again") from None


def texts_sha256(file):
    """SHA-256 of all names and attributes of an open file."""
    digest = hashlib.sha256(repr(without_sum(all_attributes(file))).encode())

    def add(name, item):
        digest.update(repr((name, without_sum(all_attributes(item)))).encode())
        if isinstance(item, h5py.Dataset) and h5py.check_string_dtype(item.dtype):
            digest.update(repr(item.asstr()[()].tolist()).encode())
    file.visititems(add)
    return digest.hexdigest()


def without_sum(attributes):
    """All attributes but TEXTS."""
    return {name: value for name, value in attributes.items() if name != TEXTS}


def large_blocks(file):
    """[first byte, end] of the numbers of an open file that fletcher32 checks, ascending; only of much in one piece."""
    file.flush()
    chunks, merged = [], []

    def add(_, item):
        if isinstance(item, h5py.Dataset) and item.fletcher32:
            item.id.chunk_iter(chunks.append)
    file.visititems(add)
    for chunk in sorted(chunks, key=lambda chunk: chunk.byte_offset):
        if merged and merged[-1][1] == chunk.byte_offset:
            merged[-1][1] += chunk.size
        else:
            merged.append([chunk.byte_offset, chunk.byte_offset + chunk.size])
    return [[first, end] for first, end in merged if end - first >= LARGE_BYTES]


def write_array(group, name, values, dtype=None):
    """Write numbers, which are checked when they are read."""
    values = np.asarray(values, dtype)
    new_array(group, name, values.shape, values.dtype)[...] = values


def new_array(group, name, shape, dtype, grows=False):
    """A dataset to fill with numbers; with `grows` it takes more rows than it has now."""
    if not (grows or np.prod(shape)):
        return group.create_dataset(name, shape, dtype)     # nothing to check
    return group.create_dataset(name, shape, dtype, chunks=chunk_of(shape, np.dtype(dtype).itemsize, grows),
                                maxshape=(None, *shape[1:]) if grows else None, fletcher32=True)


def chunk_of(shape, itemsize, grows=False):
    """Shape of the chunks of a dataset: whole rows where they fit CHUNK_BYTES, so that hardly any room is wasted."""
    chunk = [CHUNK_BYTES if grows else shape[0], *shape[1:]]
    for axis, length in enumerate(chunk):
        row_bytes = itemsize * int(np.prod(chunk[axis + 1:]))
        n_chunks = -(-length // max(1, CHUNK_BYTES // row_bytes))
        chunk[axis] = -(-length // n_chunks)
    return tuple(chunk)


def write_virtual(group, name, sources, fill):
    """A dataset of the rows of others, (path from this file, shape, type) each, one after the other; nothing is copied.

    Where HDF5 cannot open a source it gives `fill` and says nothing: what must be right is read from the sources.
    """
    layout = h5py.VirtualLayout((sum(shape[0] for _, shape, _ in sources), *sources[0][1][1:]), sources[0][2])
    layout.dcpl.set_obj_track_times(False)    # the same content gives the same bytes, whenever it is written
    start = 0
    for path, shape, dtype in sources:
        if shape[0]:
            layout[start:start + shape[0]] = h5py.VirtualSource(path.replace("%", "%%"), name, shape, dtype)
        start += shape[0]
    group.create_virtual_dataset(name, layout, fillvalue=fill)


def record_sums(path, dataset):
    """Keep the checksum of all chunks of a dataset that is written, to be compared with `sums_sha256`."""
    dataset.file.flush()
    dataset.attrs[SUMS] = sums_sha256(path, dataset)


def sums_sha256(path, *datasets):
    """SHA-256 of the checksums of the datasets' chunks as they are stored, without reading the chunks.

    It differs wherever a number does (but for one change in 2^32), so it stands for what is too large to be read.
    """
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for dataset in datasets:
            chunks = []
            if dataset.chunks:      # without numbers it has none
                dataset.id.chunk_iter(chunks.append)
            for chunk in sorted(chunks, key=lambda chunk: chunk.chunk_offset):
                digest.update(os.pread(file.fileno(), SUM_BYTES, chunk.byte_offset + chunk.size - SUM_BYTES))
    return digest.hexdigest()


@contextlib.contextmanager
def reading(path, made_by, is_compared=True):
    """Give the open file; whatever is missing or damaged in it is an error that names the file and what makes it.

    It is opened without a lock: files take their names when they are whole, and some file systems have no locks.

    made_by : str
        The script to run (with --overwrite, where the file is damaged), or what to do, beginning with another word.
    is_compared : bool
        Whether names and attributes of a file without a seal are compared with their checksum; else none of them should
        be used.
    """
    with naming(path, made_by):
        is_sealed = seal.read(path) is not None
        with h5py.File(path, "r", locking=False) as file:
            if is_compared and not is_sealed:
                check_texts(file, path, made_by)
            yield file


@contextlib.contextmanager
def outline(path, made_by, is_compared=True):
    """Give an Outline of the file, or the open file itself; else as `reading`.

    HDF5 needs 2 ms for the 40 attributes of a slide's features, its seal is read in a tenth. What another program
    writes takes the seal away, and files of earlier versions have less in it: they are opened.
    """
    with naming(path, made_by), contextlib.ExitStack() as stack:
        said = seal.read(path) or {}
        yield Outline(**said[OUTLINE]) if OUTLINE in said else stack.enter_context(reading(path, made_by, is_compared))


class Outline:
    """Of a file what can be asked without reading a number, as h5py gives it: attrs, shape and dtype by dataset."""

    def __init__(self, attrs, datasets):
        self.attrs, self.datasets = attrs, datasets

    def __getitem__(self, name):
        shape, dtype = self.datasets[name]
        return types.SimpleNamespace(shape=tuple(shape), dtype=np.dtype(dtype))


def outline_of(file):
    """What an Outline is made from, for the seal; {} where JSON would give an attribute back as another kind."""
    attrs, datasets = attributes(file), {}

    def add(name, item):
        if isinstance(item, h5py.Dataset):
            datasets[name] = item.shape, item.dtype.str
    file.visititems(add)
    is_plain = all(isinstance(value, (str, int, float)) for value in attrs.values())
    return {OUTLINE: {"attrs": attrs, "datasets": datasets}} if is_plain else {}


@contextlib.contextmanager
def naming(path, made_by):
    """Let whatever is wrong with a file inside be an error that names it and what makes it.

    To make it again is advised only where its content is known to be bad, not where it cannot be read now.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: run {made_by} first")
    try:
        yield
    except UNREADABLE as error:
        if str(path) in str(error) or type(error).__module__ != "builtins":  # of a reader that knew more, or of a GPU
            raise
        if isinstance(error, OSError) and error.errno in CAUSES:
            raise OSError(f"{path} cannot be read now ({os.strerror(error.errno)}): {CAUSES[error.errno]}") from error
        raise ValueError(f"{path} is damaged ({' '.join(str(error).split())}): make it again with {made_by} "
                         "--overwrite") from error


def check_texts(file, path, made_by):
    """ValueError unless names and attributes are as they were written; a line for files of earlier versions."""
    found = file.attrs.get(TEXTS)
    if found is None:
        checksums.say_unverified(path, made_by)
    elif found != texts_sha256(file):
        raise ValueError(f"its names or attributes are not as they were written; delete its attribute {TEXTS} if the "
                         "change is meant")


def attributes(item):
    """Attributes of a file, group or dataset as plain Python values, by name, sorted; without checksums of its own and
    of the files beside it (record.FILES)."""
    return {name: value for name, value in all_attributes(item).items() if name not in (TEXTS, record.FILES)}


def all_attributes(file):
    return {name: value.item() if isinstance(value, np.generic) else value
            for name, value in sorted(file.attrs.items())}


def files_sha256(path, made_by):
    """What a record in the attributes says of the files beside it, name to checksum; None where it says nothing."""
    with reading(path, made_by) as file:
        return json.loads(file.attrs[record.FILES]) if record.FILES in file.attrs else None


def record_files(file, sha256):
    """Write what checksums.of_files gives into the attributes of an open file, their record."""
    file.attrs[record.FILES] = record.as_text(sha256)


def strings(group, name):
    """A dataset of names; str array."""
    return group[name].asstr()[:].astype(str)


def write_strings(group, name, values):
    """Write names, as UTF-8 of any length."""
    group.create_dataset(name, data=[str(value) for value in values], dtype=h5py.string_dtype())
