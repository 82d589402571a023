"""The slides of a project for its report: what became of each, and small pictures as addresses inside the page."""
import base64
import io

import numpy as np
import pandas as pd
from PIL import Image

from maps import slide_tiles
from slide_ex import record
from slide_ex.project import features_file, metadata_file, processing_log
from slide_ex.slides import files

THUMBNAIL_PX = 120    # longer side; 1,000 slides full of tissue have about 4 MB
MAP_PX = 900          # width of an embedded map
THUMBNAIL_QUALITY, MAP_QUALITY = 40, 60  # of WebP, 0 to 100
GREY = 150, 150, 150  # of tiles where there is no slide


def read_table(project):
    """One row a slide: slide_id, patient_id, filename, status (done, empty, failed, missing), tiles, reason.

    Slides are those of metadata.csv; tiles are counted in features.h5, NaN where a slide is not in it.
    """
    table = metadata_file.read(project)[["slide_id", "patient_id", "filename"]]
    path = project / features_file.NAME
    if path.is_file():
        slide_ids, patient_ids, first_tile, _, _ = features_file.read_index(path)
        table["tiles"] = table["slide_id"].map(pd.Series(np.diff(first_tile), slide_ids))
        table["patient_id"] = table["slide_id"].map(pd.Series(patient_ids, slide_ids)).fillna(table["patient_id"])
    else:
        table["tiles"] = np.nan
    attempts = processing_log.last_attempts(project)
    failed = table["tiles"].isna() & (table["slide_id"].map(attempts["status"]) == "failed")
    table["status"] = np.select([table["tiles"] > 0, table["tiles"] == 0, failed], ["done", "empty", "failed"],
                                "missing")
    table["reason"] = table["slide_id"].map(attempts["reason"]).where(failed, "")
    return table


def of_slide(project, slides, slide):
    """Thumbnail and mask of a slide as data URIs, "" where there is nothing to show.

    The mask has the analysed tiles opaque and all else transparent; the page shows the thumbnail through it.

    slides : features_file.Slides or None
    slide : row of `read_table`
    """
    try:
        picture = slide_tiles.read_picture(files.find(project / "slides", slide.filename), THUMBNAIL_PX)
    except (ValueError, OSError):  # a damaged slide is in the table, with the reason
        picture = None
    layout = None
    if slides is not None and slide.status == "done":
        try:
            layout = slide_tiles.read_layout(project, slides, slides.row_of(slide.slide_id))
        except ValueError:  # imported features without coords
            pass
    thumbnail = "" if picture is None else data_uri(Image.fromarray(picture.rgb), quality=THUMBNAIL_QUALITY)
    return thumbnail, "" if layout is None else mask_uri(is_tile(layout, picture))


def is_tile(layout, picture):
    """Which pixels of a slide's thumbnail are of analysed tiles, bool (height, width)."""
    if picture is None:
        scale = THUMBNAIL_PX / max(layout.size_px)
        width, height = (max(1, round(side * scale)) for side in layout.size_px)
    else:
        (height, width, _), scale = picture.rgb.shape, picture.rgb.shape[1] / picture.size_px[0]
    shown = np.zeros((height, width), bool)
    corners = np.hstack([layout.coords, layout.coords + layout.level0_tile_px]) * scale
    for left, top, right, bottom in np.round(corners).astype(int):
        shown[top:bottom, left:right] = True
    return shown


def mask_uri(shown):
    """Grey where a bool array is true, transparent elsewhere, as an address; a few hundred bytes."""
    image = Image.fromarray(shown.astype(np.uint8), "P")
    image.putpalette([255, 255, 255, *GREY])
    packed = io.BytesIO()
    image.save(packed, "PNG", transparency=0, bits=1)
    return f"data:image/png;base64,{base64.b64encode(packed.getvalue()).decode()}"


def maps_of(project, slide_id):
    """Records and pictures of the maps of a slide that map_slide.py drew: list of (dict, path of the PNG)."""
    records = {path.with_suffix(".png"): path for path in sorted((project / "maps" / slide_id).glob("*.json"))}
    return [(record.read(path, "prediction/map_slide.py"), png) for png, path in records.items() if png.is_file()]


def map_uri(path):
    """A map, small enough for a page of many."""
    with Image.open(path) as image:
        image = image.convert("RGB")
        image.thumbnail((MAP_PX, MAP_PX * 4))
        return data_uri(image, quality=MAP_QUALITY)


def data_uri(image, **options):
    """A PIL image as WebP inside an address; options as Pillow has them."""
    packed = io.BytesIO()
    image.save(packed, "WEBP", **options)
    return f"data:image/webp;base64,{base64.b64encode(packed.getvalue()).decode()}"
