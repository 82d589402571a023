"""Write a picture as a tiled, pyramidal JPEG TIFF that OpenSlide opens as an Aperio slide (.svs)."""
import cv2
import tifffile

TILE_PX = 256          # side of the JPEG tiles inside the file
LEVEL_STEP = 4         # each level is this many times smaller than the one before
SMALLEST_PX = 512      # no further level once the longer side is not above this
JPEG_QUALITY = 80


def write(path, picture, magnification=None, mpp=None):
    """Write `picture` (height, width, 3; uint8 RGB) as level 0 of a slide.

    `magnification` (objective power) and `mpp` (microns per pixel) go into the header where given. The same
    picture gives the same bytes: the file holds no date.
    """
    height, width = picture.shape[:2]
    properties = {"AppMag": magnification, "MPP": mpp}
    header = "".join(f"|{key} = {value:g}" for key, value in properties.items() if value is not None)
    with tifffile.TiffWriter(path) as tiff:
        level = picture
        while True:
            size = f"{width}x{height} [0,0 {width}x{height}] ({TILE_PX}x{TILE_PX})"
            if level is not picture:
                size += f" -> {level.shape[1]}x{level.shape[0]}"
            tiff.write(level, tile=(TILE_PX, TILE_PX), photometric="rgb", compression="jpeg",
                       compressionargs={"level": JPEG_QUALITY}, metadata=None, software=False, maxworkers=1,
                       subfiletype=int(level is not picture),
                       description=f"Aperio Image Library v12.0.0 \r\n{size} JPEG/RGB Q={JPEG_QUALITY}{header}")
            if max(level.shape) <= SMALLEST_PX:
                break
            level = cv2.resize(level, None, fx=1 / LEVEL_STEP, fy=1 / LEVEL_STEP, interpolation=cv2.INTER_AREA)
