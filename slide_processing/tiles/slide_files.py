"""From one row of metadata.csv to the slide's feature file and mask."""
import contextlib
import logging
import math
import time

from slide_ex import record
from slide_ex.project import feature_file, processing_log
from slide_ex.script import whole
from tiles import extraction, magnification, slide_mask, tiling
from tiles.slide_reader import SlideReader

NORMALISATION = "macenko"


def paths(project_path, slide_id):
    """Mask and feature file of a slide; the latter is written last and has the record."""
    return [project_path / "mask" / f"{slide_id}.pdf", feature_file.path_of(project_path, slide_id)]


def is_finished(project_path, slide, settings, overwrite=False):
    """Whether both files of a slide are there; refuses a feature file that was made in another way."""
    mask, features = paths(project_path, slide.slide_id)
    now = settings | {"normalisation": NORMALISATION, "tile_px": tiling.TILE_PX, "patient_id": slide.patient_id,
                      "magnification": tiling.MAGNIFICATION, "filename": slide.filename}
    if not math.isnan(slide.magnification):
        now["slide_magnification"] = slide.magnification
    source = project_path / "slides" / slide.filename
    if source.is_file():
        now["slide_bytes"] = source.stat().st_size

    def made():
        found = feature_file.read_attributes(features)
        return {name: found.get(name) for name in now}
    return record.is_finished([mask, features], made, now, overwrite,
                              remedy="use --overwrite, or another project folder")


def process(project_path, slide, encoder, allow_upsampling=False, max_unreadable=0.0):
    """Make both files of a slide, the feature file last; gives the counts for the log (dict)."""
    source = project_path / "slides" / slide.filename
    with SlideReader(source) as reader:
        power, power_source, warning = magnification.slide_magnification(
            reader.properties, slide.magnification, slide.mpp, allow_upsampling)
        width, height = reader.size
    if warning:
        logging.warning("%s: %s", slide.slide_id, warning)
    edge = tiling.level0_tile_px(power)
    coords, n_rows, n_columns = tiling.tile_grid(width, height, edge)
    if not len(coords):
        raise ValueError(f"{source} is {width} x {height} px, smaller than one tile of {edge} px at {power:g}x")
    tiles = extraction.extract(source, coords, n_rows, n_columns, edge, encoder, extraction.n_cpus(), max_unreadable)

    attributes = encoder.settings | {
        "slide_id": slide.slide_id, "patient_id": slide.patient_id, "slide_index": slide.name,
        "filename": slide.filename, "slide_bytes": source.stat().st_size, "normalisation": NORMALISATION,
        "tile_px": tiling.TILE_PX, "magnification": tiling.MAGNIFICATION, "slide_magnification": power,
        "magnification_source": power_source, "level0_tile_px": edge, "level0_width": width, "level0_height": height,
        "n_rows": n_rows, "n_columns": n_columns, "n_tiles_total": len(coords)}
    mask, features = paths(project_path, slide.slide_id)
    features.unlink(missing_ok=True)
    with whole(mask) as part:
        slide_mask.write_mask(part, tiles.scanned, tiles.normalised, title(attributes, len(tiles.kept)))
    with whole(features) as part:
        feature_file.write(part, tiles.features, coords[tiles.kept], tiles.mean_rgb, coords[tiles.unreadable],
                           attributes)
    return {"tiles": len(coords), "kept": len(tiles.kept), "unreadable": len(tiles.unreadable)}


def title(attributes, n_kept):
    """Lines above the mask."""
    grid = "{slide_magnification:g}x ({magnification_source}), {n_rows} rows x {n_columns} columns"
    return [attributes["slide_id"], grid.format(**attributes),
            f"{attributes['n_tiles_total']} tiles, {n_kept} selected"]


@contextlib.contextmanager
def attempt(project_path, slide):
    """Time the work on one slide and log how it ended. The block fills the given dict with its counts.

    An exception in the block becomes status 'failed' with its reason: other slides go on.
    """
    row = {"slide_index": slide.name, "slide_id": slide.slide_id, "status": "done", "reason": ""}
    started = time.monotonic()
    try:
        yield row
        row["status"] = "done" if row["kept"] else "empty"
    except Exception as error:
        logging.debug("slide %d", slide.name, exc_info=True)
        row.update(status="failed", reason=" ".join(f"{type(error).__name__}: {error}".split()))
    row["seconds"] = round(time.monotonic() - started, 3)
    if row["status"] == "failed":
        logging.info("slide %d %s: failed, %s", slide.name, slide.slide_id, row["reason"])
    else:
        row["tiles_per_second"] = round(row["tiles"] / row["seconds"], 2)
        logging.info("slide %d %s: %d tiles, %d kept, %.1f s, %.1f tiles/s", slide.name, slide.slide_id, row["tiles"],
                     row["kept"], row["seconds"], row["tiles_per_second"])
    processing_log.append(project_path, row)
