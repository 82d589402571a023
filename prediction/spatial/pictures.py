"""Maps side by side: what was measured in the spots, what the models predict of the tiles."""
import matplotlib.figure
import numpy as np
from matplotlib.collections import PolyCollection

from maps import slide_map

MARKER_AREA = 6     # of a spot, points squared


def draw(pairs, place, layout, picture, title):
    """A figure with a row an output: spots at the left, tiles at the right.

    pairs : list of (name, measured (n_spots,), predicted of all tiles (n_tiles,), R)
    """
    width, height = picture.size_px if picture else layout.size_px
    row_in = np.clip(0.45 * slide_map.PAGE_WIDTH_IN * height / width, 1.2, 4.)
    figure = matplotlib.figure.Figure(figsize=(slide_map.PAGE_WIDTH_IN, 0.5 + len(pairs) * (row_in + 0.4)),
                                      layout="constrained")
    for (left, right), (name, measured, predicted, r) in zip(figure.subplots(len(pairs), 2, squeeze=False), pairs):
        for axis in (left, right):
            if picture:
                axis.imshow(picture.rgb, extent=(0, width, height, 0), alpha=0.4)
            axis.set(xlim=(0, width), ylim=(height, 0), aspect="equal")
            axis.set_axis_off()
        spots = left.scatter(*place.T, c=measured, s=MARKER_AREA, cmap=slide_map.COLOURS, linewidths=0)
        tiles = right.add_collection(PolyCollection(slide_map.outlines(layout), array=predicted, cmap=slide_map.COLOURS,
                                                    linewidths=0, antialiased=False))
        for axis, drawn, what in ((left, spots, "measured"), (right, tiles, f"predicted, R {r:.2f}")):
            axis.set_title(f"{name}, {what}", fontsize=slide_map.FONT_PT)
            figure.colorbar(drawn, ax=axis, shrink=0.7).ax.tick_params(labelsize=slide_map.FONT_PT - 1)
    figure.suptitle(title, fontsize=slide_map.FONT_PT + 1)
    return figure
