"""HDF5 files: whatever is wrong in one is an error that names the file and what makes it, and no other error is."""
import h5py
import numpy as np
import pytest
import torch

from slide_ex import hdf5


@pytest.fixture
def path(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["number"] = 3
        file["numbers"] = np.arange(4.)
        file.create_group("group")
    return tmp_path / "x.h5"


READERS = {"absent": lambda file: file["absent"], "number as names": lambda file: hdf5.strings(file, "numbers"),
           "group as numbers": lambda file: file["group"][:],
           "group as names": lambda file: hdf5.strings(file, "group"),
           "one number as many": lambda file: file["number"][:], "length of a number": lambda file: len(file["number"]),
           "attribute": lambda file: file.attrs["absent"], "index": lambda file: file["numbers"][:][9],
           "shape": lambda file: file["numbers"][:].reshape(3, -1)}


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_what_is_wrong_in_a_file_names_the_file_and_the_remedy(path, read):
    with pytest.raises(ValueError, match=f"^{path} is damaged .*: make it again with a/script.py --overwrite$"):
        with hdf5.reading(path, "a/script.py") as file:
            read(file)


@pytest.mark.parametrize("content", [b"", b"no HDF5", None])
def test_what_is_no_file_or_half_a_file(path, content):
    path.write_bytes(path.read_bytes()[:700] if content is None else content)
    with pytest.raises(ValueError, match=f"^{path} is damaged"):
        with hdf5.reading(path, "a/script.py"):
            pass
    path.unlink()
    with pytest.raises(FileNotFoundError, match=f"^{path} is missing: run a/script.py first"):
        with hdf5.reading(path, "a/script.py"):
            pass


def test_a_reader_that_knew_more_and_a_gpu_without_memory_are_heard(path):
    for error in (ValueError(f"{path}: two patients are one"), torch.OutOfMemoryError("CUDA out of memory")):
        with pytest.raises(type(error)) as raised:
            with hdf5.reading(path, "a/script.py"):
                raise error
        assert raised.value is error
