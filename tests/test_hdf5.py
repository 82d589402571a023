"""HDF5 files: whatever is wrong in one is an error that names the file and what makes it, and no other error is."""
import hashlib
import json

import h5py
import numpy as np
import pytest
import torch

from slide_ex import hdf5, seal


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


@pytest.fixture
def written(tmp_path):
    """A file with names, attributes, numbers in small and large blocks and a virtual dataset over another file."""
    with hdf5.writing(tmp_path / "source.h5") as file:
        hdf5.write_array(file, "numbers", np.arange(6.))
    path = tmp_path / "written.h5"
    with hdf5.writing(path) as file:
        hdf5.write_strings(file, "names", ["one", "two"])
        hdf5.write_array(file, "large", np.zeros(hdf5.LARGE_BYTES))
        hdf5.write_virtual(file, "numbers", [("source.h5", (6,), float)], np.nan)
        file.attrs["encoder"] = "resnet50"
    return path


def large_blocks(path):
    with h5py.File(path) as file:
        return hdf5.large_blocks(file)


def test_a_changed_bit_anywhere_outside_large_numbers_is_found_before_hdf5_opens_the_file(written, monkeypatch):
    content, blocks = written.read_bytes(), large_blocks(written)
    assert blocks and sum(end - first for first, end in blocks) > .9 * len(content)
    outside = [at for at in range(len(content) - len(seal.MAGIC)) if not any(a <= at < b for a, b in blocks)]
    monkeypatch.setattr(h5py, "File", None)     # one bit in a heap of HDF5 would end this process, or never end
    for at in outside[::7]:
        spoiled = bytearray(content)
        spoiled[at] ^= 1 << at % 8
        written.write_bytes(spoiled)
        with pytest.raises(ValueError, match="is damaged .its bytes are not as they were written"):
            with hdf5.reading(written, "a/script.py"):
                pass


def test_a_changed_large_number_is_found_when_it_is_read(written):
    spoiled = bytearray(written.read_bytes())
    spoiled[large_blocks(written)[0][0] + 100] ^= 1
    written.write_bytes(spoiled)
    with pytest.raises(ValueError, match="is damaged"):
        with hdf5.reading(written, "a/script.py") as file:
            file["large"][:]


def test_without_its_seal_a_file_is_read_and_its_names_and_attributes_are_compared(written):
    with h5py.File(written, "r+") as file:      # as a user opens it
        file["large"][3] = 7
    assert seal.read(written) is None
    with hdf5.reading(written, "a/script.py") as file:
        assert file["large"][3] == 7 and list(hdf5.strings(file, "names")) == ["one", "two"]
    with h5py.File(written, "r+") as file:
        file.attrs["encoder"] = "uni"
    with pytest.raises(ValueError, match="its names or attributes are not as they were written"):
        with hdf5.reading(written, "a/script.py"):
            pass


def test_what_is_added_is_sealed_again_and_other_programs_read_a_sealed_file(written):
    with hdf5.writing(written, add=True) as file:
        file.attrs["more"] = 1
    assert seal.read(written)
    with h5py.File(written) as file:
        assert file.attrs["more"] == 1 and (file["large"][:] == 0).all() and list(file["numbers"][:]) == list(range(6))


ODD = {"nothing": np.nan, "least": -np.inf, "zero": -0.0, "third": 1 / 3, "single": np.float32(0.1), "whole": 2**62,
       "yes": True, "no text": "", "name": "gène \u00b5 \U0001f9ec"}


def outlined(path):
    with hdf5.outline(path, "a/script.py") as file:
        return {name: (repr(value), type(value)) for name, value in hdf5.attributes(file).items()}, [
            (file[name].shape, file[name].dtype) for name in ("names", "large", "numbers")]


@pytest.fixture
def odd(written):
    with hdf5.writing(written, add=True) as file:
        file.attrs.update(ODD)
    return written


def test_an_outline_is_what_the_file_says_and_takes_no_opening(odd, monkeypatch):
    with h5py.File(odd) as file:
        opened = ({name: (repr(value), type(value)) for name, value in hdf5.attributes(file).items()},
                  [(file[name].shape, file[name].dtype) for name in ("names", "large", "numbers")])
    monkeypatch.setattr(h5py, "File", None)
    assert outlined(odd) == opened and len(opened[0]) == len(ODD) + 1


def test_an_outline_is_never_of_an_earlier_content(odd):
    with h5py.File(odd, "r+") as file:      # as another program writes
        file.attrs["whole"], file.attrs[hdf5.TEXTS] = 3, "0"
    with pytest.raises(ValueError, match=f"^{odd} is damaged .its names or attributes are not as they were written"):
        outlined(odd)
    with h5py.File(odd, "r+") as file:
        del file.attrs[hdf5.TEXTS], file["names"]
        file["names"] = np.zeros((3, 2))
    attributes, datasets = outlined(odd)
    assert attributes["whole"] == ("3", int) and datasets[0] == ((3, 2), float)
    with hdf5.writing(odd, add=True) as file:
        file.attrs["whole"] = 4
    assert outlined(odd)[0]["whole"] == ("4", int)


def test_files_with_the_seal_of_an_earlier_version_and_attributes_that_json_has_not_are_opened(odd):
    said = seal.read(odd)
    content, text = odd.read_bytes(), json.dumps(said).encode()
    whole, blocks = content[:content.rindex(text)], json.dumps(said["blocks"]).encode()
    digest, start = hashlib.sha256(blocks), 0
    for first, end in [*said["blocks"], (len(whole), None)]:
        digest.update(whole[start:first])
        start = end
    odd.write_bytes(whole + blocks + digest.hexdigest().encode() + f"{len(blocks):012d}".encode() + seal.MAGIC)
    assert seal.read(odd) == {"blocks": said["blocks"]} and outlined(odd)[0]["whole"] == (str(2**62), int)
    with hdf5.writing(odd, add=True) as file:
        file.attrs["many"] = [1, 2]
    assert list(seal.read(odd)) == ["blocks"] and outlined(odd)[0]["many"][1] is np.ndarray


@pytest.mark.parametrize("ask", [lambda file: file["absent"], lambda file: file.attrs["absent"]])
def test_what_an_outline_has_not_names_the_file_and_the_remedy(odd, ask):
    with pytest.raises(ValueError, match=f"^{odd} is damaged .*: make it again with a/script.py --overwrite$"):
        with hdf5.outline(odd, "a/script.py") as file:
            ask(file)
