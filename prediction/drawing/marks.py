"""Name to colour, marker and words, the same in all figures.

Colours are those of Okabe and Ito (2008), which the colour-blind can tell apart. In greyscale some are alike, so no two
names of one figure share a marker, nor two curves a kind of line.
"""
from dataclasses import dataclass

BLUE, ORANGE, GREEN, PINK = "#0072B2", "#E69F00", "#009E73", "#CC79A7"
RED, SKY, YELLOW, GREY, BLACK = "#D55E00", "#56B4E9", "#F0E442", "#999999", "#000000"
DASHES = "-", "--", "-.", (0, (1, 1)), (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)), (0, (3, 2, 1, 2))


@dataclass(frozen=True)
class Mark:
    """How a name is drawn, and what it is called."""
    label: str
    colour: str
    marker: str
    filled: bool = True
    line: object = "-"   # as matplotlib has it


MARKS = {
    "slide-ex": Mark("SLIDE-EX", BLUE, "o"),
    "slide-ex in folds": Mark("SLIDE-EX in folds", BLUE, "o", False),
    "network": Mark("Network alone", RED, "s"),
    "low-rank": Mark("Low-rank model alone", GREEN, "D"),
    "blend": Mark("Mean of both models", SKY, "^"),
    "ridge": Mark("Ridge on mean features", BLACK, "s", False),
    "bulk target": Mark("Ridge on bulk labels", ORANGE, "D", False),
    "mean colour": Mark("Mean colour", PINK, ">", False, DASHES[5]),
    "shuffled labels": Mark("Shuffled labels", GREY, "x"),
    "ensemble": Mark("Ensemble", RED, "P", True, DASHES[1]),
    "cell type": Mark("Cell type", BLUE, "o"),
    "bulk": Mark("Bulk expression", ORANGE, "D", False, DASHES[2]),
    "abundance": Mark("Abundance", GREEN, "v", True, DASHES[3]),
    "clinical": Mark("Clinical variables", SKY, "X", True, DASHES[6]),
    "direct": Mark("Direct model", BLACK, "s", True, DASHES[0]),
    "low": Mark("Low", BLUE, "o"),
    "middle": Mark("Middle", GREY, "s", True, DASHES[1]),
    "high": Mark("High", RED, "D", True, DASHES[2])}
KINDS = "ensemble", "cell type", "bulk", "abundance", "clinical", "direct", "mean colour"  # of response and survival
COHORTS = (BLUE, "o"), (ORANGE, "s"), (GREEN, "D"), (PINK, "^"), (RED, "v"), (SKY, "P"), (BLACK, "X")


def of(name):
    """The mark of a name; what no one has named is a grey star."""
    return MARKS.get(name, Mark(name, GREY, "*"))


def of_cohorts(names):
    """Marks of cohorts, the project itself first; dict of name to Mark."""
    return {name: Mark(name, *mark) for name, mark in zip(names, COHORTS)}
