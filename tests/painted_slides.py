"""Small whole-slide images for tests, good and bad, written as Aperio SVS (tiled JPEG) that OpenSlide opens."""
import struct

import cv2
import numpy as np
import tifffile

BLOCK_PX = 256


def tissue(height, width, seed=0):
    """Smooth noise in two stains, uint8 (height, width, 3): tissue by the Sobel rule."""
    rng = np.random.default_rng(seed)
    amounts = [cv2.GaussianBlur(rng.gamma(1, 1, (height, width)).astype(np.float32), (0, 0), 1.5) for _ in range(2)]
    stains = np.array([[0.56, 0.72, 0.41], [0.22, 0.80, 0.56]], np.float32)
    return (255 * np.exp(-sum(a[..., None] * s for a, s in zip(amounts, stains)))).astype(np.uint8)


def slide_picture(n_rows, n_columns, glass=(), edge=512, seed=0):
    """A picture of n_rows x n_columns tiles; those whose number is in `glass` are white. 'all' makes all white."""
    picture = tissue(n_rows * edge, n_columns * edge, seed)
    for i in range(n_rows * n_columns) if glass == "all" else glass:
        row, column = divmod(i, n_columns)
        picture[row * edge:(row + 1) * edge, column * edge:(column + 1) * edge] = 255
    return picture


def write_svs(path, picture, power=20, mpp=None, compression="jpeg"):
    """Write a one-level Aperio slide; returns byte offsets of its blocks, row by row."""
    says = f"|AppMag = {power}" * (power is not None) + f"|MPP = {mpp}" * (mpp is not None)
    path.parent.mkdir(parents=True, exist_ok=True)
    tifffile.imwrite(path, picture, tile=(BLOCK_PX, BLOCK_PX), photometric="rgb", compression=compression,
                     compressionargs={"level": 90} if compression else None, metadata=None,
                     description=f"Aperio Image Library v12 test{says}")
    with tifffile.TiffFile(path) as tiff:
        return tiff.pages[0].dataoffsets


SCN = """<?xml version="1.0"?><scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01" uuid="s">
<collection name="c" uuid="c" sizeX="{width}" sizeY="{height}">{images}</collection></scn>"""
SCN_IMAGE = """<image name="i{ifd}" uuid="i{ifd}"><creationDate>2020-01-01T00:00:00Z</creationDate>
<device model="test" version="1"/><pixels sizeX="{px_x}" sizeY="{px_y}">
<dimension sizeX="{px_x}" sizeY="{px_y}" r="0" ifd="{ifd}"/></pixels>
<view sizeX="{view_x}" sizeY="{view_y}" offsetX="{x}" offsetY="{y}" spacingZ="0"/><scanSettings>
<objectiveSettings><objective>20</objective></objectiveSettings><illuminationSettings>
<numericalAperture>0.4</numericalAperture><illuminationSource>brightfield</illuminationSource>
</illuminationSettings></scanSettings></image>"""
NM_PER_PX = 500


def write_scn(path, picture, left, top, width, height):
    """Write a Leica slide of `width` x `height` px of which only `picture`, at (left, top), was scanned."""
    rows, columns = picture.shape[:2]
    overview = SCN_IMAGE.format(ifd=0, px_x=300, px_y=250, x=0, y=0, view_x=width * NM_PER_PX,
                                view_y=height * NM_PER_PX)
    scanned = SCN_IMAGE.format(ifd=1, px_x=columns, px_y=rows, x=left * NM_PER_PX, y=top * NM_PER_PX,
                               view_x=columns * NM_PER_PX, view_y=rows * NM_PER_PX)
    description = SCN.format(width=width * NM_PER_PX, height=height * NM_PER_PX, images=overview + scanned)
    options = {"tile": (BLOCK_PX, BLOCK_PX), "photometric": "rgb", "compression": "jpeg", "metadata": None}
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        tiff.write(np.full((250, 300, 3), 255, np.uint8), description=description, **options)
        tiff.write(picture, **options)


def write_huge_svs(path, side_px, power=40, tissue_share=0.05, block_px=512):
    """Write a square slide of any size in a small file: its blocks are all one of two JPEG pictures, glass or tissue.

    A plain TIFF by hand: header, the two pictures, the arrays of offsets and sizes, the directory.
    """
    jpegs = [cv2.imencode(".jpg", picture)[1].tobytes()
             for picture in (np.full((block_px, block_px, 3), 245, np.uint8), tissue(block_px, block_px)[..., ::-1])]
    places = np.cumsum([8, len(jpegs[0])])
    n = -(-side_px // block_px)
    which = np.random.default_rng(0).random((n // 4 + 1, n // 4 + 1)) < tissue_share    # patches of 4 x 4 blocks
    which = which.repeat(4, 0).repeat(4, 1)[:n, :n].ravel().astype(int)
    description = f"Aperio Image Library v12 test|AppMag = {power}".encode() + b"\0"
    body = b"".join(jpegs) + b"\0" * (sum(map(len, jpegs)) % 2)
    offsets_at = 8 + len(body)
    sizes_at, text_at = offsets_at + 4 * n * n, offsets_at + 8 * n * n
    bits_at = text_at + len(description)
    directory_at = bits_at + 6 + (bits_at % 2)
    short, long, ascii_ = 3, 4, 2
    entries = [(256, long, 1, side_px), (257, long, 1, side_px), (258, short, 3, bits_at), (259, short, 1, 7),
               (262, short, 1, 6), (270, ascii_, len(description), text_at), (277, short, 1, 3), (284, short, 1, 1),
               (322, short, 1, block_px), (323, short, 1, block_px), (324, long, n * n, offsets_at),
               (325, long, n * n, sizes_at), (530, short, 2, 2 | 2 << 16)]
    with open(path, "wb") as file:
        file.write(struct.pack("<2sHI", b"II", 42, directory_at) + body)
        for array in (places, np.array([len(jpeg) for jpeg in jpegs])):
            file.write(array[which].astype("<u4").tobytes())
        file.write(description + struct.pack("<3H", 8, 8, 8))
        file.seek(directory_at)
        file.write(struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *e) for e in entries) + bytes(4))


def spoil_block(path, offset):
    """Overwrite the start of a JPEG block: every read that touches it is an error."""
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(bytes(64))


def make_project(path, slides, **columns):
    """A project folder: `slides` is {slide id: picture or None}; a slide without picture is only named.

    `columns` are further columns of metadata.csv, lists of the slides' length.
    """
    lines = [",".join(["Slide.ID", "Filename", "Patient.ID", *columns])]
    for i, (slide_id, picture) in enumerate(slides.items()):
        lines.append(",".join([slide_id, f"{slide_id}.svs", f"P{i}", *(str(v[i]) for v in columns.values())]))
        if picture is not None:
            write_svs(path / "slides" / f"{slide_id}.svs", picture)
    path.mkdir(exist_ok=True)
    (path / "metadata.csv").write_text("\n".join(lines) + "\n")
    return path
