"""From one row of metadata.csv to the slide's feature file and mask."""
import contextlib
import dataclasses
import logging
import time

from slide_ex import checksums, record, sharing
from slide_ex.project import feature_file, mask_file, metadata_file, processing_log
from slide_ex.script import whole
from slide_ex.slides import files, opening, scale
from tiles import extraction, quality, regions, slide_mask, tiling
from tiles.slide_reader import SlideReader, UnreadableTile


def paths(project_path, slide_id):
    """Mask and feature file of a slide; the latter is written last and has the record."""
    return [mask_file.path_of(project_path, slide_id), feature_file.path_of(project_path, slide_id)]


def is_finished(project_path, slide, settings, overwrite=False, prefer=""):
    """Whether both files of a slide are there; refuses a feature file that was made in another way."""
    outputs = paths(project_path, slide.slide_id)
    if overwrite or not outputs[-1].exists():
        return False
    made = feature_file.read_attributes(outputs[-1])
    now = settings | feature_file.now_of(project_path, slide, made, prefer)
    return record.is_finished(outputs, lambda: {name: made.get(name) for name in now}, now,
                              remedy="use --overwrite, or another project folder")


def process(project_path, slide, encoder, allow_upsampling=False, max_unreadable=0.0, wanted=tiling.PUBLISHED,
            prefer=""):
    """Make both files of a slide, the feature file last; gives the counts for the log (dict).

    Parameters
    ----------
    encoder : TileEncoder
    wanted : TileSettings
    prefer : str
        Which statement of the slide about its scale counts, see `scale.decide`.
    """
    source = files.find(project_path / "slides", slide.filename)
    with SlideReader(source) as reader:
        said, (width, height), bounds = scale.said_by(reader.properties), reader.size, reader.bounds
    found = scale.decide(said, slide.magnification, slide.mpp, prefer)
    for note in found.notes:
        logging.warning("%s: %s", slide.slide_id, note)
    if not allow_upsampling:
        scale.refuse_coarse(found, wanted.magnification)
    grid = tiling.grid_of(width, height, scale.level0_tile_px(found.power, wanted.tile_px, wanted.magnification))
    if not len(grid):
        raise ValueError(f"{source} is {width} x {height} px, smaller than one tile of {grid.level0_tile_px} px at "
                         f"{found.power:g}x")
    region, of_mask = region_of(project_path, slide, (width, height), bounds, wanted)
    inside = region and regions.tiles_inside(region, grid)
    tiles = extract(source, grid, encoder, max_unreadable, wanted, inside)
    if region:
        regions.refuse_misplaced(region, inside, tiles.is_tissue, grid)
    attributes = {
        **encoder.settings, **dataclasses.asdict(wanted), **feature_file.attributes_of(said, found, prefer),
        **files.identity(source), **dataclasses.asdict(grid), **of_mask, **quality.of_slide(tiles.measures),
        "slide_id": slide.slide_id, "patient_id": slide.patient_id, "slide_index": slide.name,
        "filename": slide.filename, "level0_width": width, "level0_height": height, "n_tiles_total": len(grid),
        "n_dropped": tiles.n_dropped, "n_outside": int(tiles.is_tissue[~inside].sum()) if region else 0}
    write(paths(project_path, slide.slide_id), tiles, grid.corners, attributes, region)
    return {"tiles": len(grid), "kept": len(tiles.kept), "unreadable": len(tiles.unreadable)}


def region_of(project_path, slide, size, bounds, wanted):
    """The regions of a slide that count, None where it has no mask, and what is recorded of them (dict)."""
    path = metadata_file.mask_of(project_path, slide)
    if path is None:
        return None, {"mask_file": "", "mask_sha256": ""}
    region = regions.read(path, size, bounds, tuple(filter(None, wanted.mask_class.split(";"))))
    for note in region.notes:
        logging.info("%s: %s", slide.slide_id, note)
    return region, {"mask_file": slide.mask_file, "mask_sha256": checksums.of_file(path)}


def extract(source, grid, encoder, max_unreadable, wanted, inside=None):
    """The tiles of a slide (Extraction); of a file that is cut off the error says so."""
    try:
        return extraction.extract(files.entry(source), grid, encoder, sharing.n_cpus(), max_unreadable, wanted.tile_px,
                                  tuple(filter(None, wanted.drop.split(","))), inside)
    except UnreadableTile as error:
        cut = opening.cut_off(files.entry(source))
        raise UnreadableTile(f"{error}; {source.name} {cut}" if cut else str(error)) from None


def write(outputs, tiles, corners, attributes, region=None):
    """Both files of a slide, of its tiles (Extraction), the corners of all tiles and its regions; the feature file is
    made last."""
    mask, features = outputs
    features.unlink(missing_ok=True)
    feature_file.refuse_not_finite(tiles.features, attributes["slide_id"])
    with whole(mask) as part:
        slide_mask.write_mask(part, tiles.scanned, tiles.normalised, title(attributes, len(tiles.kept)),
                              region, attributes["level0_tile_px"])
    with whole(features) as part:
        feature_file.write(part, tiles.features, corners[tiles.kept], tiles.mean_rgb, corners[tiles.unreadable],
                           attributes, tiles.measures)


def title(attributes, n_kept):
    """Lines above the mask."""
    grid = "{slide_magnification:g}x ({magnification_source}), {n_rows} rows x {n_columns} columns"
    outside = f", {attributes['n_outside']} of tissue outside the mask {attributes['mask_file']}"
    return [attributes["slide_id"], grid.format(**attributes),
            f"{attributes['n_tiles_total']} tiles, {n_kept} selected{outside if attributes['mask_file'] else ''}"]


@contextlib.contextmanager
def attempt(project_path, slide):
    """Time the work on one slide and log how it ended. The block fills the given dict with its counts.

    An exception in the block becomes status 'failed' with its reason: other slides go on. Without counts nothing was
    tried, and nothing is logged.
    """
    row = {"slide_index": slide.name, "slide_id": slide.slide_id, "status": "done", "reason": ""}
    started = time.monotonic()
    try:
        yield row
        if "kept" not in row:
            return
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
