"""Arrays and tables are read from pickles of all versions; nothing else is, and nothing that a pickle says is run."""
import os
import pathlib
import pickle
import subprocess

import numpy as np
import pandas as pd
import pytest

from original import pickles

PICKLES = pathlib.Path(__file__).parent / "pickles"  # of the table below, written by pandas 1.5, 2.2 and 3.1
TABLE = pd.DataFrame({"Slide.ID": ["S1", "S2", "S3"], "ESR1": [0, 1, 2.], "GATA3": [.25, 1.25, 2.25],
                      "KRT5": [.5, 1.5, 2.5], "CD3E": [.75, 1.75, 2.75], "pCR.RD": ["pCR", "RD", np.nan],
                      "n": [1, 2, 3]})


class Calls:
    """Pickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def written(path, value, protocol=4):
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    return path


@pytest.mark.parametrize("version", ["1.5", "2.2", "3.1"])
def test_tables_of_other_pandas_versions(version):
    pd.testing.assert_frame_equal(pickles.read(PICKLES / f"pandas_{version}.pkl"), TABLE)


@pytest.mark.parametrize("protocol", range(2, 6))
@pytest.mark.parametrize("value", [
    np.arange(6, dtype=np.float32).reshape(2, 3), np.arange(6.).reshape(2, 3).T, np.zeros((0, 4), np.float16),
    np.array(["S1", "Slide 2"]), np.array([], int), np.arange(4, dtype=">i2")], ids=lambda value: str(value.dtype))
def test_arrays(tmp_path, value, protocol):
    found = pickles.read(written(tmp_path / "x.pkl", value, protocol))
    np.testing.assert_array_equal(found, value)
    assert found.dtype == value.dtype


@pytest.mark.parametrize("protocol", range(2, 6))
def test_tables_and_lists_of_slides(tmp_path, protocol):
    pd.testing.assert_frame_equal(pickles.read(written(tmp_path / "t.pkl", TABLE, protocol)), TABLE)
    slides = [("S1", np.ones((2, 3), np.float32)), (np.str_("S2"), np.zeros((0, 3), np.float32))]
    found = pickles.read(written(tmp_path / "features.pkl", slides, protocol))
    assert [name for name, _ in found] == ["S1", "S2"] and [array.shape for _, array in found] == [(2, 3), (0, 3)]


def test_object_arrays_of_npz_and_npy(tmp_path):
    ragged = np.empty((2, 2), object)
    for k, i in np.ndindex(2, 2):
        ragged[k, i] = np.arange(k + i + 1)
    np.savez(tmp_path / "idx.npz", train_idx=ragged, test_idx=np.arange(6).reshape(2, 3))
    found = pickles.read(tmp_path / "idx.npz")
    assert found["train_idx"].shape == (2, 2) and found["train_idx"][1, 1].tolist() == [0, 1, 2]
    np.testing.assert_array_equal(found["test_idx"], [[0, 1, 2], [3, 4, 5]])
    np.save(tmp_path / "one.npy", ragged)
    assert pickles.read(tmp_path / "one.npy")[1, 0].tolist() == [0, 1]


@pytest.mark.parametrize("where", ["alone", "in an array", "in a table", "as an argument", "in npz"])
@pytest.mark.parametrize("call", ["os.system", "builtins.eval", "builtins.exec", "builtins.getattr", "subprocess.Popen",
                                  "pathlib", "numpy.load", "numpy.fromfile", "pandas.read_pickle", "numpy.memmap"])
def test_malicious_pickles_do_nothing(tmp_path, call, where):
    target = tmp_path / "harm"
    opened = f"open({str(target)!r}, 'w')"
    calls = {"os.system": Calls(os.system, f"touch {target}"), "builtins.eval": Calls(eval, opened),
             "builtins.exec": Calls(exec, opened), "builtins.getattr": Calls(getattr, "x", "upper"),
             "subprocess.Popen": Calls(subprocess.Popen, ["touch", str(target)]), "pathlib": pathlib.Path(target),
             "numpy.load": Calls(np.load, str(target)), "numpy.fromfile": Calls(np.fromfile, str(target)),
             "pandas.read_pickle": Calls(pd.read_pickle, str(target)), "numpy.memmap": Calls(np.memmap, str(target))}
    harm, array = calls[call], np.empty(1, object)
    array[0] = harm
    value = {"alone": harm, "in an array": array, "in a table": TABLE.assign(harm=harm), "in npz": array,
             "as an argument": Calls(np._core.multiarray._reconstruct, np.ndarray, (0,), harm)}[where]
    path = tmp_path / "x.pkl"
    if where == "in npz":
        np.savez(tmp_path / "x.npz", train_idx=array)
        path = tmp_path / "x.npz"
    else:
        written(path, value)
    with pytest.raises(ValueError, match="cannot be read safely: it wants .*only arrays and tables are admitted"):
        pickles.read(path)
    assert not target.exists()


ARRAY = b"cnumpy._core.multiarray\n_reconstruct\n"  # pushes the stand-in of an admitted function


PROGRAMS = {
    "dotted name": b"cnumpy\nndarray.tofile\n.",
    "dotted name, protocol 4": b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93.",
    "state for a stand-in class": ARRAY + b"}S'kind'\nS'frame'\nsb.",
    "state of a call": ARRAY + b")R}S'args'\n(S'x'\ntsb.",
    "INST": b"(S'touch harm'\nios\nsystem\n.", "OBJ": b"(cos\nsystem\nS'touch harm'\no.",
    "NEWOBJ_EX": b"cnumpy\nndarray\n)}\x92.", "extension": b"\x82\x01.", "persistent id": b"Pid\n.",
    "frame of 2^63 bytes": b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f.", "a class": b"cnumpy\nndarray\n.",
    "a set": b"\x8f.", "nested too deep": b"]" * 100000 + b"a" * 99999 + b".", "empty": b"", "text": b"not a pickle"}


@pytest.mark.parametrize("program", PROGRAMS)
def test_misused_machine_is_refused(tmp_path, program):
    (tmp_path / "x.pkl").write_bytes(PROGRAMS[program])
    with pytest.raises(ValueError, match="cannot be read safely"):
        pickles.read(tmp_path / "x.pkl")
    assert pickles.STAND_INS["numpy._core.multiarray._reconstruct"].kind == "array"


def bomb(depth, protocol=4):
    """A pickle of few bytes: each list holds the one before it twice."""
    value = []
    for _ in range(depth):
        value = [value, value]
    return pickle.dumps(value, protocol)


@pytest.mark.parametrize("content", [bomb(40), bomb(40, 2), pickle.dumps({1: (np.array([[]], object), bomb(3))}),
                                     bomb(60)[:-1] + b"\x85\x85."],
                         ids=["lists", "protocol 2", "harmless", "in tuples"])
def test_bombs_of_shared_lists_are_refused_at_once(tmp_path, content, request):
    (tmp_path / "x.pkl").write_bytes(content)
    if "harmless" in request.node.name:
        assert list(pickles.read(tmp_path / "x.pkl")) == [1]
        return
    assert len(content) < 1000
    with pytest.raises(ValueError, match="x.pkl cannot be read safely: its .* bytes unfold to more than"):
        pickles.read(tmp_path / "x.pkl")


def test_a_bomb_inside_an_array_is_refused_and_shared_arrays_are_not(tmp_path):
    array = np.empty(1, object)
    array[0] = pickle.loads(bomb(40))
    shared = np.arange(3.)
    np.savez(tmp_path / "x.npz", shared=np.array([1]), idx=array)
    with pytest.raises(ValueError, match="unfold to more than"):
        pickles.read(tmp_path / "x.npz")
    found = pickles.read(written(tmp_path / "y.pkl", [("S1", shared)] * 1000))
    assert len(found) == 1000 and found[999][1].tolist() == [0, 1, 2]


def test_arrays_that_are_not_plain_are_refused(tmp_path):
    records = np.zeros(2, [("a", "f8"), ("b", "O")])
    dates = np.array(["2020-01-01"], "M8[D]")
    pointers = Calls(np._core.numeric._frombuffer, b"\x01" * 16, np.dtype("O"), (2,), "C")
    too_large = Calls(np._core.numeric._frombuffer, b"\x01" * 16, np.dtype("f8"), (200,), "C")
    for value in (records, dates, pointers, too_large, {1, 2}, 1j, pd.Series([1])):
        with pytest.raises(ValueError, match="cannot be read safely"):
            pickles.read(written(tmp_path / "x.pkl", value))
