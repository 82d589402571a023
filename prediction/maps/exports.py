"""The files of a map: pictures, a table, polygons for QuPath, a spatial AnnData for squidpy and napari.

All positions are pixels of level 0 as OpenSlide counts them, y downwards; only QuPath counts in its own way.
slide_map.NOTE goes into every file. `drawn` is a slide_map.SlideMaps.
"""
import importlib.util
import json
import logging
import uuid

import numpy as np
import pandas as pd

from maps import slide_map
from slide_ex import checksums, record, script


def write_all(folder, name, drawn, overwrite):
    """Write <name>.png, .pdf, .csv, .geojson, .h5ad (with anndata) and last .json, unless they show the same already.

    Files that show the same maps of other models or features are written again; ValueError for other maps.
    """
    writers = {"png": write_png, "pdf": write_pdf, "csv": write_table, "geojson": write_geojson}
    if importlib.util.find_spec("anndata"):
        writers["h5ad"] = write_anndata
    else:
        logging.info("no .h5ad, which needs anndata: pip install -r prediction/requirements-maps.txt")
    paths = {suffix: folder / f"{name}.{suffix}" for suffix in (*writers, "json")}
    now = record_of(drawn)
    if not overwrite and paths["json"].is_file():
        found = record.read(paths["json"], "prediction/map_slide.py")
        if [one["members_sha256"] for one in found["maps"]] != [one["members_sha256"] for one in now["maps"]]:
            raise ValueError(f"{paths['json']} is about other maps: give another --name, or --overwrite")
        if found == now and all(path.is_file() for path in paths.values()):
            logging.info(f"{drawn.slide_id}: finished ({paths['png']})")
            return
    paths["json"].unlink(missing_ok=True)
    for suffix, write in writers.items():
        with script.whole(paths[suffix]) as part:
            write(part, drawn)
    record.write(paths["json"], now, [paths[suffix] for suffix in ("csv", "geojson")])
    logging.info(f"{drawn.slide_id}: {len(drawn.layout.coords)} tiles, on average " + ", ".join(
        f"{one['label']} {one['slide_mean']:.3g} {one['unit']}" for one in now["maps"]) + f" ({paths['png']})")


def record_of(drawn):
    """What is drawn, of which models, and a checksum of everything that is seen."""
    picture = (b"", None) if drawn.picture is None else (drawn.picture.rgb, drawn.picture.mpp)
    values = [values for _, values in drawn.maps]
    maps = [{"label": one.label, "unit": one.unit, "n_outputs": len(one.members),
             "members_sha256": checksums.of_content(one), "slide_mean": float(f"{of_map.mean():.6g}")}
            for one, of_map in drawn.maps]
    return {"slide_id": drawn.slide_id, "patient_id": drawn.patient_id, "n_tiles": len(drawn.layout.coords),
            "models": drawn.models, "note": slide_map.NOTE, "maps": maps, "limits": drawn.limits,
            "sha256": checksums.of_content(drawn.layout.coords, drawn.layout.level0_tile_px, *values, *picture)}


def write_png(path, drawn):
    slide_map.draw(drawn).savefig(path, dpi=200)


def write_pdf(path, drawn):
    slide_map.draw(drawn).savefig(path, metadata={"CreationDate": None})


def write_table(path, drawn):
    """CSV: slide_id, x_level0_px, y_level0_px (top-left corner), tile_level0_px, one column a map, note."""
    table = tile_table(drawn)
    for one, values in drawn.maps:
        table[f"{one.label} [{one.unit}]"] = values
    table.assign(note=slide_map.NOTE).to_csv(path, index=False, float_format="%.6g")


def tile_table(drawn):
    """One row a tile: slide and place."""
    x, y = drawn.layout.coords.T
    return pd.DataFrame({"slide_id": drawn.slide_id, "x_level0_px": x, "y_level0_px": y,
                         "tile_level0_px": drawn.layout.level0_tile_px})


def write_geojson(path, drawn):
    """GeoJSON that QuPath (0.4 or newer) imports as tile objects with measurements, on the slide at full resolution.

    QuPath counts from the corner of what was scanned, so slides of which level 0 is larger are shifted by it.
    """
    features, origin = [], drawn.picture.origin_px if drawn.picture else (0, 0)
    for i, outline in enumerate((slide_map.outlines(drawn.layout) - origin).tolist()):
        measurements = {f"{one.label} [{one.unit}]": float(f"{values[i]:.6g}") for one, values in drawn.maps}
        features.append({"type": "Feature", "id": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{drawn.slide_id} {outline[0]}")),
                         "geometry": {"type": "Polygon", "coordinates": [outline]},
                         "properties": {"objectType": "tile", "measurements": measurements}})
    path.write_text(json.dumps({"type": "FeatureCollection", "slide_id": drawn.slide_id, "note": slide_map.NOTE,
                                "features": features}))


def write_anndata(path, drawn):
    """AnnData of tiles x maps: obsm["spatial"] the centres of the tiles, uns["spatial"][slide_id] picture and scale.

    The names are those that squidpy and scanpy read: tissue_hires_scalef takes level-0 pixels to pixels of the picture,
    spot_diameter_fullres is the side of a tile.
    """
    import anndata
    layout, picture = drawn.layout, drawn.picture
    spatial = {"scalefactors": {"spot_diameter_fullres": float(layout.level0_tile_px), "tissue_hires_scalef": 1.0},
               "images": {}, "metadata": {"slide_id": drawn.slide_id, "patient_id": drawn.patient_id}}
    if picture is not None:
        spatial["images"]["hires"] = picture.rgb
        spatial["scalefactors"]["tissue_hires_scalef"] = picture.rgb.shape[1] / picture.size_px[0]
        spatial["metadata"]["microns_per_level0_px"] = picture.mpp
    var = pd.DataFrame([{"target": one.target, "output": one.name, "unit": one.unit} for one, _ in drawn.maps],
                       index=[one.label for one, _ in drawn.maps], dtype="category")
    obs = tile_table(drawn).astype({"slide_id": "category"})
    obs.index = [f"{x}_{y}" for x, y in layout.coords]
    values = np.stack([values for _, values in drawn.maps], axis=1).astype(np.float32)
    anndata.AnnData(values, obs, var, obsm={"spatial": layout.coords + layout.level0_tile_px / 2},
                    uns={"spatial": {drawn.slide_id: spatial}, "note": slide_map.NOTE, "models": drawn.models}
                    ).write_h5ad(path, compression="gzip")
