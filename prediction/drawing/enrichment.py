"""Figure 5: gene sets over-represented among the robustly predicted genes of each cell type (enrichment.csv)."""
import textwrap

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import ListedColormap
from scipy.cluster import hierarchy

from drawing import captions, style
from drawing.marks import BLUE, GREY
from slide_ex import text_table

Q = "p_benjamini_hochberg"
N_TERMS = 5               # shown of each cell type
MOST_LETTERS = 64         # of a gene set's name beside the bars; longer ones are shortened
LETTERS = 16, 36          # least and most of a line beside the heat map
SIGNIFICANT = 0.05        # false discovery rate
HIGHEST_LOG2_ODDS = 5     # of the colours; higher odds ratios look like this one
ROW_IN, SMALLEST_P = 0.125, 1e-300  # height of a term; smaller p are drawn as this one
LETTER_IN, LINE_IN = 0.05, 0.1      # width and height of a letter of 6 pt
BARS_IN, CELL_IN, DENDROGRAM_IN, COLOUR_BAR_IN = 1.1, 0.16, 0.3, 0.7
ACRONYMS = {"DNA", "RNA", "MRNA", "TNFA", "EMT", "TGF", "TGFA", "IL", "IFN", "ATP", "UV", "EGFR", "GTPASE", "ER",
            "GOBP", "GOCC", "GOMF", "HALLMARK", "REACTOME", "KEGG", "BIOCARTA", "PID"}


def enrichment(project):
    """Bars: corrected p of the first terms of each cell type; heat map, clustered: odds ratios of all these terms."""
    table = text_table.read_results(project / "results" / "enrichment.csv", "prediction/enrich_genes.py")
    first = table.sort_values("p", kind="stable").groupby("cell_type").head(N_TERMS)
    lowest = first.groupby("cell_type")[Q].transform("min")
    first = first.assign(lowest=lowest).sort_values(["lowest", "cell_type", "p"], kind="stable", ignore_index=True)
    odds, q = (table.pivot(index="term", columns="cell_type", values=column).loc[first["term"].unique()]
               for column in ("odds_ratio", Q))
    in_words = words_of(table["cell_type"].unique())
    labels_in = 0.2 + LETTER_IN * max(len(line) for name in odds for line in style.broken(name).split("\n"))
    height_in = max(ROW_IN * (len(first) + first["cell_type"].nunique()) + 0.65,
                    DENDROGRAM_IN + labels_in + COLOUR_BAR_IN + ROW_IN * len(odds))
    names = {term: in_words(term) for term in first["term"]}
    names_in = LETTER_IN * min(MOST_LETTERS, max(map(len, names.values())))
    figure = plt.figure(figsize=(style.PAGE_WIDTH_IN, height_in))
    left_in = names_in + BARS_IN
    left, right = figure.subfigures(1, 2, width_ratios=[left_in, style.PAGE_WIDTH_IN - left_in])
    right, below = right.subfigures(2, 1, height_ratios=[height_in - COLOUR_BAR_IN, COLOUR_BAR_IN])
    bars, (heat, image) = term_bars(left, first, names), heat_map(
        right, odds, q, names, (style.PAGE_WIDTH_IN - left_in, height_in - labels_in - COLOUR_BAR_IN))
    colour_bar(below, image)
    return style.Drawn(figure, "Gene sets among the robustly predicted genes of each cell type", [bars, heat],
                       "p: one-sided hypergeometric test against all predicted genes of the cell type, corrected by "
                       "Benjamini and Hochberg within it. The number of robust genes differs between cell types, and "
                       f"with it the power: {robust_genes(table)}. Error bars: none.")


def robust_genes(table):
    """Numbers of genes that were tested, in words."""
    numbers = table.groupby("cell_type")["n_robust"].first() if "n_robust" in table else {}
    return captions.listed(f"{name} {n:,}" for name, n in numbers.items()) or "not recorded"


def words_of(cell_types):
    """A function of a gene set's name: in sentence case where it is all in capitals.

    Acronyms and what has digits stay as they are, and cell types are written as in the project.
    """
    known = {name.upper(): name for name in cell_types} | {name: name for name in ACRONYMS}

    def in_words(term):
        words = term.split("_")
        if term == term.upper():
            words = [word if any(map(str.isdigit, word)) or not set(word) & set("AEIOUY")
                     else known.get(word, word.lower()) for word in words]
        sentence = " ".join(words)
        return sentence[:1].upper() + sentence[1:]
    return in_words


def shortened(words, n_letters):
    """Words of at most so many letters; of longer ones the beginning and the end, which tell gene sets apart."""
    first = (n_letters - 1) * 2 // 3
    return words if len(words) <= n_letters else f"{words[:first].rstrip()}…{words[first + 1 - n_letters:].lstrip()}"


def term_bars(figure, first, names):
    """-log10 of the corrected p-values, lowest p first, a block per cell type; the axes and what they show."""
    axis = figure.subplots()
    is_first = first["cell_type"].ne(first["cell_type"].shift())
    rows = -(first.index + is_first.cumsum()).to_numpy()  # a free row above each cell type, for its name
    significant = first[Q] < SIGNIFICANT
    axis.barh(rows, -np.log10(np.maximum(first[Q], SMALLEST_P)),
              color=np.where(significant, BLUE, GREY))
    for row, cell_type in zip(rows[is_first] + 1, first["cell_type"][is_first]):
        axis.text(0, row, f"{cell_type} ", va="center", ha="right", weight="bold", fontsize=6)
    axis.axvline(-np.log10(SIGNIFICANT), color="black", linestyle=":", linewidth=0.8)
    axis.set(yticks=rows, yticklabels=[shortened(names[term], MOST_LETTERS) for term in first["term"]],
             ylim=(rows.min() - 0.6, 0.6), xlabel="−log₁₀ corrected p",
             title="Lowest p of each cell type")
    axis.locator_params(axis="x", nbins=4)
    said = "; ".join(f"{cell_type}: {', '.join(of_type['term'].head(1))} ({captions.p_value(of_type[Q].iloc[0])}), "
                     f"{(of_type[Q] < SIGNIFICANT).sum()} of the {len(of_type)} shown below {SIGNIFICANT}"
                     for cell_type, of_type in first.groupby("cell_type", sort=False))
    return axis, (f"The {N_TERMS} gene sets with the lowest p of each cell type. Blue: corrected p below {SIGNIFICANT} "
                  f"(dotted), grey: not. First of each: {said}.")


def heat_map(figure, odds, q, names, size_in):
    """Odds ratios of terms x cell types in the order of their dendrograms; (axes, what they show), image."""
    width_in, height_in = size_in
    n_lines = max(1, int((height_in - DENDROGRAM_IN) / len(odds) / LINE_IN))
    n_letters = int(np.clip((0.8 * width_in - CELL_IN * odds.shape[1]) / LETTER_IN, *LETTERS))
    (corner, above), (beside, heat) = figure.subplots(2, 2, width_ratios=[0.2, 1], height_ratios=[
        DENDROGRAM_IN, height_in - DENDROGRAM_IN])
    values = np.log2(odds.clip(2.0 ** -HIGHEST_LOG2_ODDS, 2.0 ** HIGHEST_LOG2_ODDS))
    rows, columns = leaves(beside, values.fillna(0), "left"), leaves(above, values.fillna(0).T, "top")
    shown = values.iloc[rows, columns]
    above.set_title("Odds ratios of these gene sets")
    image = heat.imshow(shown, aspect="auto", origin="lower", cmap=colours(), vmin=0, vmax=HIGHEST_LOG2_ODDS)
    y, x = np.nonzero((q < SIGNIFICANT).iloc[rows, columns].to_numpy())
    heat.scatter(x, y, s=6, color="white", edgecolors="black", linewidths=0.5)
    heat.yaxis.tick_right()
    whole = n_letters if n_lines == 1 else n_letters * n_lines * 4 // 5  # lines are broken between words
    heat.set_yticks(range(len(shown)), [textwrap.fill(shortened(names[term], whole), n_letters)
                                        for term in shown.index])
    heat.set_xticks(range(shown.shape[1]), [style.broken(name) for name in shown], rotation=90)
    heat.tick_params(length=0)
    heat.spines[:].set_visible(False)
    corner.set_axis_off()
    return (above, f"Odds ratio of each of these gene sets in each cell type, logarithm to base 2, at most "
                   f"{HIGHEST_LOG2_ODDS} in the colours; white: at most 1. White dot: corrected p below {SIGNIFICANT}, "
                   f"{(q < SIGNIFICANT).sum().sum()} of {q.notna().sum().sum()} tests that are shown. Grey: not "
                   "tested. Dendrograms: average linkage of the values."), image


def colour_bar(figure, image):
    """What the colours of the heat map mean."""
    _, axis, _ = figure.subplots(1, 3, width_ratios=[0.3, 1.4, 1])
    for empty in figure.axes[::2]:
        empty.set_axis_off()
    figure.colorbar(image, cax=axis, orientation="horizontal", extend="both", label="log₂ odds ratio (white dot: "
                    f"corrected\np < {SIGNIFICANT}; grey: not tested)").outline.set_linewidth(0.4)


def colours():
    """White at an odds ratio of 1, ever darker above; grey where nothing is."""
    shades = plt.get_cmap("Blues")(np.linspace(0, 1, 256))
    return ListedColormap(shades).with_extremes(bad=GREY, under="white", over=shades[-1])


def leaves(axis, values, orientation):
    """Draw the dendrogram of the rows of a table (average linkage, Euclidean); the order of its leaves."""
    axis.set_axis_off()
    if len(values) < 2:
        return np.arange(len(values))
    linkage = hierarchy.linkage(values, "average", optimal_ordering=True)
    return hierarchy.dendrogram(linkage, ax=axis, orientation=orientation, no_labels=True,
                                link_color_func=lambda _: "black")["leaves"]
