"""From one row of metadata.csv to the slide's feature file and mask."""
import logging
import math

from slide_ex.project import feature_file
from slide_ex.script import whole
from tiles import extraction, magnification, slide_mask, tiling
from tiles.slide_reader import SlideReader

NORMALISATION = "macenko"


def paths(project_path, slide_id):
    """Feature file and mask of a slide."""
    return project_path / "features" / f"{slide_id}.h5", project_path / "mask" / f"{slide_id}.pdf"


def is_finished(project_path, slide, settings):
    """Whether both files of a slide are there; refuses a feature file that was made in another way."""
    features, mask = paths(project_path, slide.slide_id)
    if not features.is_file():
        return False
    expected = settings | {"normalisation": NORMALISATION, "tile_px": tiling.TILE_PX, "patient_id": slide.patient_id,
                           "magnification": tiling.MAGNIFICATION, "filename": slide.filename}
    if not math.isnan(slide.magnification):
        expected["slide_magnification"] = slide.magnification
    source = project_path / "slides" / slide.filename
    if source.is_file():
        expected["slide_bytes"] = source.stat().st_size
    feature_file.check_settings(features, expected)
    return mask.is_file()


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
    features, mask = paths(project_path, slide.slide_id)
    with whole(mask) as part:
        slide_mask.write_mask(part, tiles.scanned, tiles.normalised, title(attributes, len(tiles.kept)))
    with whole(features) as part:
        feature_file.write_features(part, tiles.features, coords[tiles.kept], tiles.mean_rgb,
                                    coords[tiles.unreadable], attributes)
    return {"tiles": len(coords), "kept": len(tiles.kept), "unreadable": len(tiles.unreadable)}


def title(attributes, n_kept):
    """Lines above the mask."""
    grid = "{slide_magnification:g}x ({magnification_source}), {n_rows} rows x {n_columns} columns"
    return [attributes["slide_id"], grid.format(**attributes),
            f"{attributes['n_tiles_total']} tiles, {n_kept} selected"]
