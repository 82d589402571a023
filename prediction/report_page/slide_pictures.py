"""The slides of a project for its report: what became of each, and small pictures of them."""
import base64
import io

import numpy as np
import pandas as pd
from PIL import Image

from maps import slide_tiles
from slide_ex import record
from slide_ex.project import features_file, metadata_file, processing_log
from slide_ex.slides import files

THUMBNAIL_PX = 240    # longer side
MAP_PX = 900          # width of an embedded map
WEBP_QUALITY = 60
WHITE, GREY = 255, 150


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


def pictures(project, slides, slide):
    """Thumbnail and mask of a slide as data URIs, "" where there is nothing to show.

    The mask is the thumbnail with all but the analysed tiles white; without the slide's file, grey tiles on white.

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
    thumbnail = "" if picture is None else data_uri(Image.fromarray(picture.rgb))
    return thumbnail, "" if layout is None else data_uri(mask(layout, picture))


def mask(layout, picture):
    """The analysed tiles of a slide on white."""
    if picture is None:
        scale = THUMBNAIL_PX / max(layout.size_px)
        width, height = (max(1, round(side * scale)) for side in layout.size_px)
        rgb = np.full((height, width, 3), GREY, np.uint8)
    else:
        rgb, scale = picture.rgb, picture.rgb.shape[1] / picture.size_px[0]
    shown = np.full_like(rgb, WHITE)
    corners = np.hstack([layout.coords, layout.coords + layout.edge_px]) * scale
    for left, top, right, bottom in np.round(corners).astype(int):
        shown[top:bottom, left:right] = rgb[top:bottom, left:right]
    return Image.fromarray(shown)


def maps_of(project, slide_id):
    """Records and pictures of the maps of a slide that map_slide.py drew: list of (dict, path of the PNG)."""
    records = {path.with_suffix(".png"): path for path in sorted((project / "maps" / slide_id).glob("*.json"))}
    return [(record.read(path, "prediction/map_slide.py"), png) for png, path in records.items() if png.is_file()]


def map_uri(path):
    """A map, small enough for a page of many."""
    with Image.open(path) as image:
        image = image.convert("RGB")
        image.thumbnail((MAP_PX, MAP_PX * 4))
        return data_uri(image)


def data_uri(image):
    """A PIL image as WebP inside an address."""
    packed = io.BytesIO()
    image.save(packed, "WEBP", quality=WEBP_QUALITY)
    return f"data:image/webp;base64,{base64.b64encode(packed.getvalue()).decode()}"
