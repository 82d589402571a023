"""Reads pickled arrays and tables without running what a pickle says. The only place of the project that opens pickles.

A pickle is a program: it names functions of any module and calls them. Here nothing that a pickle names is imported or
called. Its machine runs with stand-ins: the few names that pickles of numpy arrays and pandas frames need become inert
records of the arguments they were given, every other name is refused. Arrays and frames are then built from the
records (bytes, shapes, plain number types) by the code below, so that the admitted names cannot be misused either, and
frames of other pandas versions can be read (1.5, 2.2 and 3.1, with numpy 1 and 2, were tried).

Lists that hold one another many times over fit a few bytes and unfold without end: what would become larger than its
file allows is refused before it is built.
"""
import os
import pickle
import re
import zipfile

import numpy as np
import pandas as pd

MAX_PARTS = 100_000, 10    # that a file may unfold to: in any case, and for each of its bytes (small arrays have one)
PLAIN_DTYPE = re.compile(r"[biufc]\d{1,2}|[SUO]\d*")  # numbers, strings, objects; no records, no pointers
ADMITTED = {
    "numpy.ndarray": "ndarray", "numpy.dtype": "dtype", "_codecs.encode": "bytes", "__builtin__.bytes": "bytes",
    **{f"numpy.{core}.{name}": kind for core in ("core", "_core") for name, kind in (
        ("multiarray._reconstruct", "array"), ("multiarray.scalar", "scalar"), ("numeric._frombuffer", "buffer"))},
    "builtins.slice": "slice", "__builtin__.slice": "slice",
    "pandas.DataFrame": "frame", "pandas.core.frame.DataFrame": "frame",
    "pandas.core.internals.managers.BlockManager": "manager", "pandas._libs.internals._unpickle_block": "block",
    "pandas.core.indexes.base._new_Index": "new index",
    "pandas.Index": "index", "pandas.core.indexes.base.Index": "index",
    **{f"pandas.core.indexes.numeric.{name}": "index" for name in ("Int64Index", "UInt64Index", "Float64Index")},
    "pandas.RangeIndex": "range", "pandas.core.indexes.range.RangeIndex": "range",
    "pandas._libs.arrays.__pyx_unpickle_NDArrayBacked": "strings",
    "pandas.arrays.StringArray": "string array", "pandas.core.arrays.string_.StringArray": "string array",
    "pandas.StringDtype": "string dtype", "pandas.core.arrays.string_.StringDtype": "string dtype"}


class Inert:
    """Stands in for a function or class: keeps the arguments and the state it is given, and does nothing."""
    kind = None
    __slots__ = ("args", "state")

    def __new__(cls, *args):
        self = object.__new__(cls)
        self.args, self.state = args, None
        return self

    def __setstate__(self, state):
        self.state = state


STAND_INS = {name: type("Inert", (Inert,), {"kind": kind, "__slots__": ()}) for name, kind in ADMITTED.items()}


class InertUnpickler(pickle.Unpickler):
    """Runs a pickle with stand-ins."""

    def find_class(self, module, name):
        if f"{module}.{name}" not in STAND_INS:
            raise pickle.UnpicklingError(f"it wants {module}.{name}, and only arrays and tables are admitted")
        return STAND_INS[f"{module}.{name}"]


def read(path):
    """What a pickle, .npy or .npz holds: lists, tuples, dicts, strings, numbers, arrays and DataFrames; .npz as a dict.

    ValueError for anything else, before anything of it has been run.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as members:
                return {member.filename.removesuffix(".npy"): read_stream(members.open(member), member.file_size)
                        for member in members.infolist()}
        with open(path, "rb") as stream:
            return read_stream(stream, os.fstat(stream.fileno()).st_size)
    except OSError:
        raise
    except Exception as error:  # the file may be anything, and so may be what goes wrong
        raise ValueError(f"{path} cannot be read safely: {error}") from None


def read_stream(stream, n_bytes):
    """What a pickle or a .npy of that size holds, object arrays included."""
    start = stream.read(len(np.lib.format.MAGIC_PREFIX))
    stream.seek(0)
    if start == np.lib.format.MAGIC_PREFIX:
        version = np.lib.format.read_magic(stream)
        read_header = (np.lib.format.read_array_header_1_0 if version == (1, 0) else
                       np.lib.format.read_array_header_2_0)
        if not read_header(stream)[2].hasobject:
            stream.seek(0)
            return np.lib.format.read_array(stream, allow_pickle=False)
    value = InertUnpickler(stream).load()
    if n_parts(value, {}) > max(MAX_PARTS[0], MAX_PARTS[1] * n_bytes):
        raise ValueError(f"its {n_bytes} bytes unfold to more than an array or a table of that size has")
    return built(value)


def n_parts(value, known):
    """Number of parts that a value unfolds to; `known`: by id, those of what was met before: each is met once."""
    if id(value) not in known:
        if isinstance(value, Inert):
            parts = value.args, value.state
        elif type(value) is dict:
            parts = *value.keys(), *value.values()
        else:
            parts = value if type(value) in (list, tuple) else ()
        known[id(value)] = 1 + sum(n_parts(part, known) for part in parts)
    return known[id(value)]


def built(value):
    """Plain Python, arrays and frames from what the machine left."""
    if isinstance(value, Inert):
        if value.kind not in BUILDERS:
            raise ValueError(f"a {value.kind} stands where an array or a table should")
        return BUILDERS[value.kind](value)
    if type(value) in (list, tuple):
        return type(value)(built(item) for item in value)
    if type(value) is dict:
        return {built(key): built(item) for key, item in value.items()}
    if value is None or type(value) in (str, bytes, bytearray, bool, int, float):
        return value
    raise ValueError(f"it holds a {type(value).__name__}")


def built_bytes(value):
    """Bytes, which protocol 2 writes as the text that latin1 encodes; no arguments for none."""
    text, encoding = value.args or ("", "latin1")
    if encoding != "latin1":
        raise ValueError(f"bytes in {encoding}")
    return text.encode("latin1")


def built_dtype(value):
    code, order = value.args[0], value.state[1] if value.state else "="
    if not PLAIN_DTYPE.fullmatch(code) or order not in ("<", ">", "=", "|"):
        raise ValueError(f"arrays of type {order}{code} are not admitted")
    return np.dtype(order + code)


def built_array(value):
    """Array from its state: version, shape, dtype, whether columns come first, bytes (objects: a list)."""
    _, shape, dtype, is_fortran, data = value.state
    return from_data(built(data), built_dtype(dtype), shape, "F" if is_fortran else "C")


def built_buffer(value):
    """Array as protocol 5 writes it: bytes, dtype, shape, order."""
    data, dtype, shape, order = value.args
    if order not in ("C", "F"):
        raise ValueError(f"an array in order {order}")
    return from_data(data, built_dtype(dtype), shape, order)


def from_data(data, dtype, shape, order):
    if not dtype.hasobject:
        return np.frombuffer(data, dtype).reshape(shape, order=order)
    array = np.empty(len(data), object)
    for i, item in enumerate(data):  # one by one: arrays inside must not be joined
        array[i] = item
    return array.reshape(shape, order=order)


def built_scalar(value):
    dtype, data = value.args
    return from_data(built(data), built_dtype(dtype), (), "C")[()]


def built_slice(value):
    if not all(number is None or type(number) is int for number in value.args):
        raise ValueError("a slice of something else than numbers")
    return slice(*value.args)


def built_index(value):
    """Labels of an axis: a range, or the array of an index."""
    cls, state = value.args
    if cls.kind == "range":
        return range(state["start"], state["stop"], state["step"])
    return built(state["data"])


def built_frame(value):
    """DataFrame from its blocks: values (n_columns of the block, n_rows) and which columns they are."""
    if "_mgr" not in value.state:
        raise ValueError("the table was written by pandas before 1.3: read it there and save it with a newer one")
    blocks, (columns, rows) = value.state["_mgr"].args
    columns, rows = (pd.Index(built_index(axis)) for axis in (columns, rows))
    blocks, parts = [[built(part) for part in block.args] for block in blocks], []
    if len(columns) * len(rows) != sum(values.size for values, *_ in blocks):
        raise ValueError(f"a table of {len(rows)} x {len(columns)} holds another number of values")
    for values, place, _ in blocks:
        parts.append(pd.DataFrame(values.reshape(-1, len(rows)).T, index=rows, columns=np.arange(len(columns))[place]))
    table = pd.concat(parts, axis=1) if parts else pd.DataFrame(index=rows)
    return table[range(len(columns))].set_axis(columns, axis=1)


BUILDERS = {"bytes": built_bytes, "array": built_array, "buffer": built_buffer, "scalar": built_scalar,
            "slice": built_slice, "frame": built_frame, "new index": lambda value: pd.Index(built_index(value)),
            "strings": lambda value: built(value.state[1])}
