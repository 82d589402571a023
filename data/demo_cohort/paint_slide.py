"""Paint an H&E-like slide whose cells and tissue follow from the cell fractions and states of a patient.

The tissue is laid out by area: every cell type takes room in proportion to its fraction, tumour cells in nests,
the others in stroma, where vessels (endothelial and perivascular cells) and normal ducts are set in. Lengths are
pixels at 20x (0.5 um). A canvas holds the concentrations of haematoxylin and eosin, (height, width, 2), which
scan_slide.py turns into light.
"""
import math

import cv2
import numpy as np

from demo_cohort.draw_cells import Look, cover, make_stamps, put, smoothstep
from demo_cohort.lay_out_tissue import (
    COARSE,
    GRID_PX,
    elliptic_distance,
    enlarge,
    fibres,
    find_room,
    grain,
    honeycomb,
    landscape,
    outline,
    place_discs,
    ring,
)
from demo_cohort.scan_slide import Scanner, scan

CELL_AREA = {"B-cells": 260, "CAFs": 1150, "Endothelial": 900, "Myeloid": 750, "Normal Epithelial": 750,
             "PVL": 700, "Plasmablasts": 450, "T-cells": 260}  # px2 with its surroundings; tumour cells by their size
DUCT_CELLS = 42      # normal epithelial cells of a duct, in two layers
VESSEL_CELLS = 15    # endothelial cells of a vessel
MARGIN_PX = 64       # painted around the slide and cut off, so that the scan cuts through cells


def looks(grade, inflammation, stroma):
    """Look of every kind of cell; the states run from -1 to 1."""
    return {
        "Cancer Epithelial": Look(10. * math.exp(.55 * grade), .85 - .10 * grade, .12 + .10 * grade, .05 + .04 * grade,
                                  1.05 - .10 * grade, .24 + .16 * grade, 1.7 + .7 * grade, .25 + .25 * grade,
                                  2. + 1.5 * grade),
        "mitosis": Look(7, .45, .15, .2, 2.3, .1, halo=6, cytoplasm=(.05, .25)),
        "lumen": Look(2, .8, .1, halo=12, hematoxylin=0, cytoplasm=(0, .02)),
        "red cell": Look(1, .9, halo=5.5, hematoxylin=0, cytoplasm=(0, .95)),
        "T-cells": Look(6 + .7 * inflammation, .92, .08, .03, 2.0 - .15 * inflammation, .2, halo=1.5),
        "B-cells": Look(7 + .7 * inflammation, .95, .06, .02, 1.35, .35, 1.8, halo=2.5, cytoplasm=(.3, .1)),
        "Plasmablasts": Look(6.3, .92, .08, .03, 1.5, .4, 2., halo=8, shift=4, cytoplasm=(.5, .6)),
        "Myeloid": Look(7.5, .75, .12, .08, .85, .3, 2., halo=11 + 4 * inflammation, shift=3, cytoplasm=(.06, .22),
                        foam=.5),
        "CAFs": Look(8.5 * math.exp(.35 * stroma), .32 + .16 * stroma, .2, .08, 1.2, .25, nucleolus=1 + stroma,
                     halo=9, cytoplasm=(.16, 1.)),
        "Endothelial": Look(7, .32, .15, .05, 1.4, .2),
        "PVL": Look(7.5, .25, .15, .05, 1.15, .2, halo=5, cytoplasm=(.05, .75)),
        "Normal Epithelial": Look(7.2, .75, .06, .02, 1.15, .12),
    }


def paint(rng, shape, fractions, states, share, towards, scanner=Scanner()):
    """Picture (height, width, 3; uint8 RGB) at 20x.

    Parameters
    ----------
    rng : numpy Generator
    shape : height and width, pixels
    fractions : dict of cell type to fraction
    states : dict of "grade", "inflammation", "stroma" to a standard normal
    share : share of the slide that is tissue
    towards : direction in which it lies, radians clockwise from the right; the other side is glass
    """
    grade, inflammation, stroma = (float(np.tanh(states[s] / 1.7)) for s in ("grade", "inflammation", "stroma"))
    look = looks(grade, inflammation, stroma)
    shape = (shape[0] + 2 * MARGIN_PX, shape[1] + 2 * MARGIN_PX)
    stamps = {kind: make_stamps(rng, look[kind]) for kind in look}
    spacing = 26 * math.exp(.25 * grade)  # less than in proportion to the nuclei: high grade is crowded
    area = {**CELL_AREA, "Cancer Epithelial": .866 * spacing ** 2}
    tissue = outline(rng, shape, share, towards)
    n_cells = (tissue > 0).sum() * COARSE ** 2 / sum(fractions[k] * area[k] for k in area)
    count = {k: round(n_cells * fractions[k]) for k in area}

    canvas, direction = paint_stroma(rng, shape, tissue, stroma)
    free = (tissue > 0).astype(np.uint8)
    ducts = place_discs(rng, round(count["Normal Epithelial"] / DUCT_CELLS), 120, free)
    vessels = place_discs(rng, round(count["Endothelial"] / VESSEL_CELLS), 70, free)
    built = (free == 0) & (tissue > 0)
    nest = paint_nests(rng, canvas, tissue, built, count["Cancer Epithelial"] * area["Cancer Epithelial"], grade)

    for centre in ducts:
        paint_duct(rng, canvas, centre, stamps)
    for centre in vessels:
        paint_vessel(rng, canvas, centre, stamps, count["PVL"] / max(len(vessels), 1))
    paint_tumour_cells(rng, canvas, nest, spacing, grade, stamps)
    paint_single_cells(rng, canvas, (tissue > .02) & ~built, nest, direction, count, stamps)
    return scan(rng, canvas[MARGIN_PX:-MARGIN_PX, MARGIN_PX:-MARGIN_PX], scanner)


def paint_stroma(rng, shape, tissue, stroma):
    """Canvas with stroma only, and the direction of its fibres (coarse)."""
    texture, direction = fibres(rng, shape, 2.5 + 2.5 * stroma)
    loose = enlarge(landscape(rng, shape, 260), texture.shape) - 1. - 1.1 * stroma  # little where stroma reacts
    eosin = .40 * math.exp(.35 * stroma) * np.clip(1 + (.50 - .1 * stroma) * texture, .1, 2.2)
    eosin *= 1 - .65 * smoothstep(-loose, .4)
    eosin *= smoothstep(-enlarge(tissue, texture.shape), .02)
    eosin = enlarge(eosin, shape)
    eosin *= 1 + .1 * grain(rng, shape, .8)
    return cv2.merge([.13 * eosin, eosin]), direction


def paint_nests(rng, canvas, tissue, built, area_px, grade):
    """Cytoplasm of the tumour nests, which cover `area_px`; returns how far inside a nest (coarse, > 0 inside)."""
    shape = canvas.shape[:2]
    hills = landscape(rng, shape, 260) + .5 * landscape(rng, shape, 90)
    hills[(tissue < .02) | built] = -9
    share = min(area_px / COARSE ** 2 / hills.size, .98 * (hills > -9).mean())
    nest = (hills - np.quantile(hills, 1 - share)).astype(np.float32)
    inside = smoothstep(-enlarge(np.clip(nest, -1, 1), shape), .05)
    hematoxylin = .16 + .05 * grain(rng, shape, 1.5)
    eosin = .42 - .06 * grade + .09 * grain(rng, shape, 1.) + .06 * grain(rng, shape, 5)
    cover(canvas, inside, hematoxylin, eosin)
    return nest


def paint_ring(canvas, centre, radius, ratio, turn, wall_px, wall, lumen):
    """A wall of `wall_px` around an empty lumen; `wall` and `lumen` are haematoxylin and eosin."""
    distance, window = elliptic_distance(centre, radius, ratio, turn, (radius + wall_px) / ratio ** .5 + 4)
    patch = canvas[window]
    for reach, stain in ((wall_px, wall), (0, lumen)):
        cover(patch, smoothstep(distance - reach, 1.5)[:patch.shape[0], :patch.shape[1]], *np.float32(stain))


def paint_duct(rng, canvas, centre, stamps):
    """A normal duct: a lumen, columnar cells, a second layer, a sleeve of collagen."""
    ratio, turn, radius = rng.uniform(.65, .95), rng.uniform(0, np.pi), rng.uniform(38, 52)
    paint_ring(canvas, centre, radius, ratio, turn, 44, (.05, .75), (0, .05))
    paint_ring(canvas, centre, radius, ratio, turn, 36, (.14, .45), (0, .05))
    for reach, n, along in ((14, .62, np.pi / 2), (30, .38, 0)):  # inner nuclei stand, outer ones lie
        xy, angle = ring(rng, centre, radius + reach, ratio, turn, round(DUCT_CELLS * n))
        put(rng, canvas, xy, stamps["Normal Epithelial"], angle + along)


def paint_vessel(rng, canvas, centre, stamps, n_perivascular):
    """A vessel: red cells in a lumen, endothelium, perivascular cells in a wall that grows with their number."""
    ratio, turn, radius = rng.uniform(.45, .9), rng.uniform(0, np.pi), rng.uniform(24, 44)
    layers = 1 + n_perivascular / 14
    paint_ring(canvas, centre, radius, ratio, turn, 5 + 9 * layers, (.06, .70), (0, .02))
    put(rng, canvas, centre + rng.normal(0, .3 * radius, (rng.integers(0, 9), 2)), stamps["red cell"])
    xy, angle = ring(rng, centre, radius + 2, ratio, turn, VESSEL_CELLS)
    put(rng, canvas, xy, stamps["Endothelial"], angle)
    n = rng.poisson(n_perivascular)
    while n > 0:
        radius += 10
        xy, angle = ring(rng, centre, radius, ratio, turn, min(n, 14))
        put(rng, canvas, xy, stamps["PVL"], angle)
        n -= 14


def paint_tumour_cells(rng, canvas, nest, spacing, grade, stamps):
    """Crowded nuclei in the nests; small glands at low grade, mitoses at high grade."""
    xy = honeycomb(rng, canvas.shape[:2], spacing)
    column, row = (np.clip(xy // COARSE, 0, np.array(nest.shape[::-1]) - 1)).astype(int).T
    xy = xy[nest[row, column] > .02]
    dice = rng.random(len(xy))
    is_lumen = dice < .08 / (1 + np.exp(3 * grade))
    is_mitosis = dice > 1 - .012 * np.exp(1.4 * grade)
    put(rng, canvas, xy[is_lumen], stamps["lumen"])
    put(rng, canvas, xy[~is_lumen & ~is_mitosis], stamps["Cancer Epithelial"])
    put(rng, canvas, xy[is_mitosis], stamps["mitosis"])


def paint_single_cells(rng, canvas, room, nest, direction, count, stamps):
    """Cells scattered where there is `room` (coarse), each in its own; a few kinds also go into the nests."""
    shape = canvas.shape[:2]
    grid = (shape[0] // GRID_PX, shape[1] // GRID_PX)
    room = enlarge(room.astype(np.float32), grid) > .5
    in_nest = enlarge(np.clip(nest, -1, 1), grid) > 0
    crowd = enlarge(landscape(rng, shape, 170), grid)
    follicle = enlarge(landscape(rng, shape, 240), grid)
    preference = {
        "CAFs": np.where(in_nest, 0, 1.),
        "B-cells": np.where(in_nest, .01, 1.) * np.exp(3 * follicle),
        "T-cells": np.where(in_nest, .25, 1.) * np.exp(1.5 * crowd + .8 * follicle),
        "Plasmablasts": np.where(in_nest, .02, 1.) * np.exp(2 * crowd),
        "Myeloid": np.where(in_nest, .3, 1.) * np.exp(.7 * crowd),
    }
    for kind, weight in preference.items():
        xy, filled = find_room(rng, count[kind], weight * room)
        room[filled] = 0
        angle = None
        if kind == "CAFs":
            column, row = np.minimum(xy // COARSE, np.array(direction.shape[::-1]) - 1).astype(int).T
            angle = direction[row, column] + rng.normal(0, .15, len(xy))
        put(rng, canvas, xy, stamps[kind], angle)
