"""HDF5 files: how they are opened, and how names and attributes are kept in them."""
import contextlib
import errno
import os

import h5py
import numpy as np

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


@contextlib.contextmanager
def reading(path, made_by):
    """Give the open file; whatever is missing or damaged in it is an error that names the file and what makes it.

    It is opened without a lock: files take their names when they are whole, and some file systems have no locks. To
    make it again is advised only where its content is known to be bad, not where it cannot be read now.

    made_by : str
        The script to run (with --overwrite, where the file is damaged), or what to do, beginning with another word.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: run {made_by} first")
    try:
        with h5py.File(path, "r", locking=False) as file:
            yield file
    except UNREADABLE as error:
        if str(path) in str(error) or type(error).__module__ != "builtins":  # of a reader that knew more, or of a GPU
            raise
        if isinstance(error, OSError) and error.errno in CAUSES:
            raise OSError(f"{path} cannot be read now ({os.strerror(error.errno)}): {CAUSES[error.errno]}") from error
        raise ValueError(f"{path} is damaged ({' '.join(str(error).split())}): make it again with {made_by} "
                         "--overwrite") from error


def attributes(file):
    """Attributes of a file or group as plain Python values, by name, sorted."""
    return {name: value.item() if isinstance(value, np.generic) else value
            for name, value in sorted(file.attrs.items())}


def strings(group, name):
    """A dataset of names; str array."""
    return group[name].asstr()[:].astype(str)


def write_strings(group, name, values):
    """Write names, as UTF-8 of any length."""
    group.create_dataset(name, data=[str(value) for value in values], dtype=h5py.string_dtype())
