"""Slides that consist of several files, small, as OpenSlide opens them: MIRAX of one zoom level, DICOM series, VMS."""
import io
import struct

import numpy as np
from PIL import Image

BLOCK_PX = 256

SLIDEDAT = """[GENERAL]
SLIDE_ID = {uuid}
IMAGENUMBER_X = {nx}
IMAGENUMBER_Y = {ny}
OBJECTIVE_MAGNIFICATION = {power}
CameraImageDivisionsPerSide = 1
[HIERARCHICAL]
HIER_COUNT = 1
NONHIER_COUNT = 0
INDEXFILE = Index.dat
HIER_0_NAME = Slide zoom level
HIER_0_COUNT = 1
HIER_0_VAL_0_SECTION = L0
[DATAFILE]
FILE_COUNT = 1
FILE_0 = Data0000.dat
[L0]
IMAGE_CONCAT_FACTOR = 0
OVERLAP_X = 0
OVERLAP_Y = 0
MICROMETER_PER_PIXEL_X = {mpp_x}
MICROMETER_PER_PIXEL_Y = {mpp_y}
IMAGE_FILL_COLOR_BGR = 16777215
DIGITIZER_WIDTH = {block}
DIGITIZER_HEIGHT = {block}
IMAGE_FORMAT = JPEG
"""


def jpeg(rgb):
    """A picture as bytes of a JPEG without chroma subsampling."""
    packed = io.BytesIO()
    Image.fromarray(rgb).save(packed, "JPEG", quality=92, subsampling=0)
    return packed.getvalue()


def blocks(picture):
    """The blocks of a picture, row by row."""
    for y in range(0, picture.shape[0], BLOCK_PX):
        for x in range(0, picture.shape[1], BLOCK_PX):
            yield picture[y:y + BLOCK_PX, x:x + BLOCK_PX]


def write_mirax(path, picture, power=20, mpp=(0.5, 0.5), uuid="ABCDEF"):
    """x.mrxs and the folder x/: index of one page that lists every block as (number, offset, length, data file)."""
    folder = path.with_suffix("")
    folder.mkdir(parents=True)
    path.write_bytes(b"\xff\xd8\xff")   # a stub; scanners write a thumbnail
    ny, nx = (side // BLOCK_PX for side in picture.shape[:2])
    data, entries = b"", []
    for i, block in enumerate(blocks(picture)):
        entries.append((i, len(data), len(jpeg(block)), 0))
        data += jpeg(block)
    head = b"01.02" + uuid.encode()
    table, record, page = len(head) + 8, len(head) + 12, len(head) + 20
    (folder / "Data0000.dat").write_bytes(data)
    (folder / "Index.dat").write_bytes(head + struct.pack("<7i", table, table, record, 0, page, len(entries), 0)
                                       + b"".join(struct.pack("<4i", *entry) for entry in entries))
    (folder / "Slidedat.ini").write_text(SLIDEDAT.format(uuid=uuid, nx=nx, ny=ny, power=power, mpp_x=mpp[0],
                                                         mpp_y=mpp[1], block=BLOCK_PX))


JPEG_BASELINE, VL_WHOLE_SLIDE = "1.2.840.10008.1.2.4.50", "1.2.840.10008.5.1.4.1.1.77.1.6"
LONG = ("OB", "SQ", "UN", "UT")


def element(group, number, kind, value):
    """A data element of explicit VR little endian; text and numbers are packed, a list of bytes becomes a sequence."""
    if kind == "SQ":
        value = b"".join(struct.pack("<HHI", 0xFFFE, 0xE000, len(item)) + item for item in value)
    elif kind in ("US", "UL", "FL", "FD"):
        value = b"".join(struct.pack({"US": "<H", "UL": "<I", "FL": "<f", "FD": "<d"}[kind], one)
                         for one in np.atleast_1d(value))
    elif isinstance(value, str):
        value = value.encode()
    if len(value) % 2:
        value += b"\0" if kind in ("UI", "OB") else b" "
    tag = struct.pack("<HH", group, number) + kind.encode()
    return tag + (struct.pack("<HI", 0, len(value)) if kind in LONG else struct.pack("<H", len(value))) + value


def write_dicom(path, picture, mpp, series, instance, power=40, image_type="DERIVED\\PRIMARY\\VOLUME\\NONE"):
    """One level of a slide as an instance of a series, blocks as JPEG frames."""
    frames = [jpeg(block) for block in blocks(picture)]
    uid = f"{series}.{instance}"
    meta = b"".join([element(2, 1, "OB", b"\0\1"), element(2, 2, "UI", VL_WHOLE_SLIDE), element(2, 3, "UI", uid),
                     element(2, 0x10, "UI", JPEG_BASELINE), element(2, 0x12, "UI", "1.2.3")])
    spacing = element(0x28, 0x30, "DS", f"{mpp / 1000:g}\\{mpp / 1000:g}")
    measures = element(0x28, 0x9110, "SQ", [spacing])
    optical = (element(0x48, 0x105, "SQ", [element(0x48, 0x106, "SH", "0") + element(0x48, 0x112, "DS", f"{power:g}")]))
    nested = element(8, 0x1115, "SQ", [element(0x20, 0xE, "UI", "9.9.9")])  # another series, which is referred to
    dataset = b"".join([
        element(8, 8, "CS", image_type), element(8, 0x16, "UI", VL_WHOLE_SLIDE), element(8, 0x18, "UI", uid),
        element(8, 0x60, "CS", "SM"), nested, element(0x20, 0xD, "UI", "1.2.9"), element(0x20, 0xE, "UI", series),
        element(0x20, 0x13, "IS", str(instance)), element(0x20, 0x9311, "CS", "TILED_FULL"),
        element(0x28, 2, "US", 3), element(0x28, 4, "CS", "YBR_FULL_422"), element(0x28, 6, "US", 0),
        element(0x28, 8, "IS", str(len(frames))), element(0x28, 0x10, "US", BLOCK_PX),
        element(0x28, 0x11, "US", BLOCK_PX), element(0x28, 0x100, "US", 8), element(0x28, 0x101, "US", 8),
        element(0x28, 0x102, "US", 7), element(0x28, 0x103, "US", 0),
        element(0x48, 6, "UL", picture.shape[1]), element(0x48, 7, "UL", picture.shape[0]), optical,
        element(0x48, 0x302, "UL", 1), element(0x5200, 0x9229, "SQ", [measures])])
    places = np.cumsum([0, *(len(frame) + len(frame) % 2 + 8 for frame in frames[:-1])])
    table = struct.pack("<HHI", 0xFFFE, 0xE000, 4 * len(frames)) + places.astype("<u4").tobytes()
    items = b"".join(struct.pack("<HHI", 0xFFFE, 0xE000, len(frame) + len(frame) % 2) + frame + b"\0" * (len(frame) % 2)
                     for frame in frames)
    pixels = struct.pack("<HH2sHI", 0x7FE0, 0x10, b"OB", 0, 0xFFFFFFFF) + table + items
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(128) + b"DICM" + element(2, 0, "UL", len(meta)) + meta + dataset + pixels
                     + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0))
