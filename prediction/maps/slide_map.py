"""Draws maps: tile values over a slide's thumbnail. Axes are pixels of level 0, so that no scaling shifts anything."""
import dataclasses
import textwrap

import matplotlib
import matplotlib.figure
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PolyCollection
from matplotlib.colors import ListedColormap, Normalize

from maps import choice, slide_tiles

NOTE = "tile values are not validated measurements"  # what is tested is their mean, the prediction of the slide
PAGE_WIDTH_IN = 180 / 25.4  # two columns of a journal page
MAX_COLUMNS = 4
COLOURS = "viridis"         # even in lightness, safe for colour-blind readers
OPACITY = 0.6               # the tissue stays visible below
BELOW_ZERO = "#D55E00"      # of fractions that cannot be; a vermilion that viridis does not have
PANEL_IN = 0.9, 4.0         # height of a panel, least and most
SCALE_BAR_SHARE = 0.3       # of the slide's width, at most
FONT_PT = 7
EXTENDED = {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}
LETTER_EM = 0.6             # width of a letter, of the height of the font; long titles are broken to fit their panel


@dataclasses.dataclass(frozen=True)
class SlideMaps:
    """Everything that a map shows."""
    slide_id: str
    patient_id: str
    layout: slide_tiles.Layout
    picture: slide_tiles.Picture  # or None: no slide file
    maps: list                    # of (choice.Wanted, values of the tiles float64 (n_tiles,))
    models: str                   # which they are
    limits: list = None           # low, high: ends of the colours, None for those of the values


def draw(drawn):
    """A figure with a panel of the slide alone and one per map."""
    width, height = drawn.picture.size_px if drawn.picture else drawn.layout.size_px
    panels = [None, *drawn.maps] if drawn.picture else drawn.maps
    n_rows = -(-len(panels) // MAX_COLUMNS)
    n_columns = -(-len(panels) // n_rows)
    panel_in = np.clip(0.9 * PAGE_WIDTH_IN / n_columns * height / width, *PANEL_IN)
    figure = matplotlib.figure.Figure(figsize=(PAGE_WIDTH_IN, n_rows * (panel_in + 0.9) + 0.5), layout="constrained")
    n_letters = int(72 * PAGE_WIDTH_IN / n_columns / (FONT_PT * LETTER_EM))
    axes = figure.subplots(n_rows, n_columns, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    for axis, panel in zip(axes, panels):
        if drawn.picture:
            axis.imshow(drawn.picture.rgb, extent=(0, width, height, 0))
        if panel:
            draw_values(figure, axis, drawn, *panel, n_letters)
        else:
            axis.set_title("Slide\n", fontsize=FONT_PT, loc="left")  # as many lines as the others, to align the panels
        axis.set_anchor("N")
        axis.set(xlim=(0, width), ylim=(height, 0), aspect="equal")
    mpp = drawn.picture.mpp if drawn.picture else drawn.layout.mpp
    if np.isfinite(mpp):
        draw_scale_bar(axes[0], (width, height), mpp)
    figure.suptitle(f"Predictions tile by tile: slide {drawn.slide_id}, patient {drawn.patient_id}",
                    fontsize=FONT_PT + 1)
    without = "" if drawn.picture else "; the slide's file is not here"
    figure.supxlabel(f"{NOTE}; {drawn.models}{without}", fontsize=FONT_PT - 1)
    return figure


def draw_values(figure, axis, drawn, wanted, values, n_letters):
    """The tiles in the colours of their values, with a colour bar and a title of `n_letters` a line."""
    norm, is_fraction = Normalize(*limits_of(wanted, values, drawn.limits)), wanted.unit == choice.ABUNDANCE_UNIT
    colours = matplotlib.colormaps[COLOURS]
    if is_fraction and norm.vmin == 0:
        colours = colours.with_extremes(under=BELOW_ZERO)
    axis.add_collection(PolyCollection(outlines(drawn.layout), array=values, cmap=colours, norm=norm, alpha=OPACITY,
                                       linewidths=0, antialiased=False))
    title = f"{textwrap.fill(wanted.title, n_letters)}\nmean of the slide {values.mean():.3g}"
    axis.set_title(title, fontsize=FONT_PT, loc="left")
    below, above = values.min() < norm.vmin, values.max() > norm.vmax
    bar = figure.colorbar(ScalarMappable(norm, on_white(colours)), ax=axis, orientation="horizontal", shrink=0.8,
                          pad=0.02, aspect=25, extend=EXTENDED[below, above])
    n_below = (values < 0).sum() if is_fraction else 0
    bar.set_label(f"{wanted.unit}" + (f"\n{n_below:,} of {len(values):,} tiles below 0" if n_below else ""),
                  fontsize=FONT_PT)
    bar.ax.tick_params(labelsize=FONT_PT - 1)
    bar.ax.locator_params(nbins=5)
    bar.outline.set_visible(False)


def limits_of(wanted, values, limits):
    """Ends of the colours of a map: those asked for, else of fractions 0 and the highest, else those of the values."""
    if limits:
        return limits
    low, high = 0 if wanted.unit == choice.ABUNDANCE_UNIT else values.min(), values.max()
    return (low, high) if high > low else (low, low + 1)


def on_white(colours):
    """Opaque colours that look as `colours` with OPACITY do on white: transparent ones leave seams in a colour bar."""
    def blended(rgba):
        return 1 - OPACITY * (1 - np.asarray(rgba)[..., :3])
    return ListedColormap(blended(colours(np.linspace(0, 1, colours.N)))).with_extremes(
        under=blended(colours.get_under()), over=blended(colours.get_over()))


def outlines(layout):
    """Closed outlines of the tiles; int64 (n_tiles, 5, 2)."""
    return layout.coords[:, None] + layout.level0_tile_px * np.array([(0, 0), (1, 0), (1, 1), (0, 1), (0, 0)])


def draw_scale_bar(axis, size_px, mpp):
    """A bar of a round number of microns in the lower left corner of a slide of so many level-0 pixels."""
    width, height = size_px
    longest_um = SCALE_BAR_SHARE * width * mpp
    decade = 10 ** np.floor(np.log10(longest_um))
    um = max(step * decade for step in (1, 2, 5) if step * decade <= longest_um)
    left, y = 0.03 * width, 0.96 * height
    axis.plot([left, left + um / mpp], [y, y], color="black", linewidth=2, solid_capstyle="butt")
    axis.text(left, y - 0.02 * height, f"{um:g} µm", fontsize=FONT_PT - 1, va="bottom",
              bbox={"facecolor": "white", "alpha": 0.7, "linewidth": 0, "pad": 1})
