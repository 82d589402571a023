"""The one style of all figures: widths of a journal's columns, fonts, small multiples, rows of points, files."""
import string
import textwrap
from dataclasses import dataclass

import matplotlib
import matplotlib.pyplot as plt
import numpy as np

from drawing.marks import GREY
from slide_ex import ids, script

matplotlib.use("Agg")
plt.rcParams.update({"font.size": 7, "axes.titlesize": 7, "xtick.labelsize": 6, "ytick.labelsize": 6,
                     "legend.fontsize": 6, "legend.title_fontsize": 6, "legend.frameon": False, "figure.labelsize": 7,
                     "figure.titlesize": 7, "axes.spines.top": False, "axes.spines.right": False,
                     "axes.titlelocation": "left", "axes.linewidth": 0.6, "xtick.major.width": 0.6,
                     "ytick.major.width": 0.6, "lines.linewidth": 1, "figure.constrained_layout.use": True,
                     "figure.constrained_layout.w_pad": 0.06, "pdf.fonttype": 42, "svg.fonttype": "none",
                     "svg.hashsalt": "slide-ex"})  # text stays text; the same figure gives the same file
MARGIN_IN = 2 / 25.4                        # around everything that is drawn; `save` adds it
PAGE_WIDTH_IN = 180 / 25.4 - 2 * MARGIN_IN  # two columns of a journal page, inside the margins
COLUMN_WIDTH_IN = 88 / 25.4 - 2 * MARGIN_IN  # one column
FORMATS = "pdf", "png", "svg"
METADATA = {"pdf": {"CreationDate": None}, "png": {}, "svg": {"Date": None}}  # no date: the same bytes
PNG_DPI = 200
POINTS_DPI = 300   # of pictures inside PDF and SVG
LETTER_PT = 8      # of the panels' letters
POINT_PT = 3.3     # of a point that stands for a number
NAME_LETTERS = 26  # of a cell type in a line; longer names are broken


@dataclass(frozen=True)
class Drawn:
    """A figure and what its caption says; the letters of panels in both come from the order of `panels`."""
    figure: plt.Figure
    title: str
    panels: list     # of (axes of the panel's upper left corner, sentences), lettered where there are several
    notes: str = ""  # sentences about all panels

    @property
    def caption(self):
        """Title, one paragraph a panel, notes."""
        letters = [f"{letter}, " for letter in string.ascii_lowercase] if len(self.panels) > 1 else [""]
        panels = [f"{letter}{words}" for letter, (_, words) in zip(letters, self.panels)]
        return "\n".join([f"{self.title}.", *panels, *filter(None, [self.notes])]) + "\n"


def small_multiples(n_panels, n_columns, row_height_in, **options):
    """A page-wide figure with `n_panels` axes in rows of `n_columns`; the figure and the list of axes."""
    n_columns = min(n_columns, n_panels)
    n_rows = -(-n_panels // n_columns)
    figure, axes = plt.subplots(n_rows, n_columns, figsize=(PAGE_WIDTH_IN, 0.3 + row_height_in * n_rows),
                                squeeze=False, **options)
    for axis in axes.flat[n_panels:]:
        axis.remove()
    return figure, list(axes.flat[:n_panels])


def broken(name, n_letters=NAME_LETTERS):
    """A long name in lines."""
    return textwrap.fill(name, n_letters)


def name_rows(axis, names):
    """The rows of an axis from the top: their positions, n - 1 to 0, float (n_rows,)."""
    rows = np.arange(len(names))[::-1].astype(float)
    axis.set(yticks=rows, yticklabels=[broken(name) for name in names], ylim=(-0.6, len(names) - 0.4))
    return rows


def points(axis, rows, groups, marks):
    """Values of several models or cohorts with their intervals, in each row one below the other.

    groups : dict of name to DataFrame with columns value, low, high; intervals are left out where they are NaN
    marks : dict of name to Mark
    """
    step = 0.8 / len(groups)
    for i, (name, table) in enumerate(groups.items()):
        mark, y = marks[name], rows + 0.4 - (i + 0.5) * step
        axis.hlines(y, table["low"], table["high"], color=mark.colour, linewidth=0.8)
        axis.plot(table["value"], y, mark.marker, label=mark.label, zorder=3, **look(mark))


def look(mark):
    """How matplotlib's plot draws the points of a Mark, as keywords."""
    return {"markersize": POINT_PT, "markeredgewidth": 0.7, "markeredgecolor": mark.colour,
            "markerfacecolor": mark.colour if mark.filled else "white"}


def bands(axis, rows):
    """A grey band behind every second row, so that points are seen to belong together."""
    for row in rows[1::2]:
        axis.axhspan(row - 0.5, row + 0.5, color=GREY, alpha=0.15, linewidth=0, zorder=0)


def by_value(values):
    """Names from the highest value down; bulk, which is no cell type, stands last.

    values : Series by name
    """
    order = values.sort_values(ascending=False, kind="stable").index
    return [name for name in order if name != ids.BULK] + [name for name in order if name == ids.BULK]


def save(drawn, folder, name, formats):
    """Write <name>.<format>, the same whenever it is drawn, and its caption <name>.txt; close the figure."""
    lay_out(drawn)
    page = drawn.figure.bbox_inches.padded(MARGIN_IN)
    for suffix in formats:
        with script.whole(folder / f"{name}.{suffix}") as part:
            drawn.figure.savefig(part, format=suffix, dpi=PNG_DPI if suffix == "png" else POINTS_DPI,
                                 bbox_inches=page, metadata=METADATA[suffix])
    with script.whole(folder / f"{name}.txt") as part:
        part.write_text(drawn.caption, encoding="utf-8")
    plt.close(drawn.figure)


def lay_out(drawn):
    """Give everything its place, the same in all formats, and letters to the panels of a figure that has several."""
    figure = drawn.figure
    figure.draw_without_rendering()
    with plt.rc_context({"figure.constrained_layout.use": False}):
        figure.set_layout_engine(None)  # of the rc file, which is none: files are not laid out again
    for letter, (axis, _) in zip(string.ascii_lowercase, drawn.panels if len(drawn.panels) > 1 else ()):
        box, labels = axis.get_window_extent(), axis.get_tightbbox()
        title = max((text for text in (axis._left_title, axis.title) if text.get_text()), default=None,
                    key=lambda text: text.get_window_extent().y1)
        top = title.get_window_extent().y1 if title else labels.y1
        left = min(labels.x0, box.x0 - LETTER_PT * figure.dpi / 72)
        if left < 0 and title is axis._left_title:  # no room beside the axes: above them, before the title
            title.set_x(-left / box.width)
        figure.text(max(0, left / figure.bbox.width), min(top / figure.bbox.height, 1), letter, weight="bold",
                    fontsize=LETTER_PT, ha="left", va="top")
