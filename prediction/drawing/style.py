"""The one style of all figures: widths of a journal's columns, font, colours, rows of bars, small multiples, files."""
import matplotlib
import matplotlib.pyplot as plt

from slide_ex import script

matplotlib.use("Agg")
plt.rcParams.update({"font.size": 7, "axes.titlesize": 7, "xtick.labelsize": 6, "ytick.labelsize": 6,
                     "legend.fontsize": 6, "legend.title_fontsize": 6, "legend.frameon": False, "figure.labelsize": 7,
                     "figure.titlesize": 7, "pdf.fonttype": 42, "axes.spines.top": False, "axes.spines.right": False,
                     "axes.linewidth": 0.6, "xtick.major.width": 0.6, "ytick.major.width": 0.6, "lines.linewidth": 1,
                     "figure.constrained_layout.use": True})
PAGE_WIDTH_IN = 180 / 25.4   # two columns of a journal page
COLUMN_WIDTH_IN = 88 / 25.4  # one column
BLUE, ORANGE, GREEN, PINK = "#0072B2", "#E69F00", "#009E73", "#CC79A7"  # Okabe and Ito, 2008: safe for the colour-blind
RED, SKY, YELLOW, GREY = "#D55E00", "#56B4E9", "#F0E442", "#999999"
COHORT_COLOURS = BLUE, ORANGE, GREEN, PINK, RED, SKY, YELLOW  # the project itself, then the external ones
SUFFIXES = ".pdf", ".png"
PNG_DPI = 200
POINTS_DPI = 300  # of scatters of many points, which are pictures inside the PDF


def small_multiples(n_panels, n_columns, row_height_in, **options):
    """A page-wide figure with `n_panels` axes in rows of `n_columns`; the figure and the list of axes."""
    n_columns = min(n_columns, n_panels)
    n_rows = -(-n_panels // n_columns)
    figure, axes = plt.subplots(n_rows, n_columns, figsize=(PAGE_WIDTH_IN, 0.3 + row_height_in * n_rows),
                                squeeze=False, **options)
    for axis in axes.flat[n_panels:]:
        axis.remove()
    return figure, list(axes.flat[:n_panels])


def grouped_bars(axis, rows, groups):
    """Horizontal bars of several cohorts, one group a row, the first cohort on top.

    groups : dict of cohort to array (n_rows,)
    """
    height = 0.8 / len(groups)
    for i, ((name, values), colour) in enumerate(zip(groups.items(), COHORT_COLOURS)):
        axis.barh(rows + 0.4 - (i + 0.5) * height, values, height=height, color=colour, label=name)


def save(figure, folder, name):
    """Write <name>.pdf, the same whenever it is drawn, and <name>.png into a folder; close the figure."""
    for suffix, options in zip(SUFFIXES, ({"metadata": {"CreationDate": None}}, {})):
        with script.whole(folder / f"{name}{suffix}") as part:
            figure.savefig(part, dpi=POINTS_DPI if suffix == ".pdf" else PNG_DPI, **options)
        figure.set_layout_engine("none")  # both files get the layout that was computed for the first
    plt.close(figure)
