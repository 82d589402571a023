"""The histogram of the number of tissue tiles of the slides."""
import numpy as np

N_BINS = 30


def draw(path, n_tiles):
    """Draw the histogram of n_tiles, int (n_slides,)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3), layout="constrained")
    axes = figure.add_subplot()
    axes.hist(n_tiles, bins=N_BINS, color="0.4")
    axes.set(xlabel="tissue tiles of a slide", ylabel="slides",
             title=f"{len(n_tiles)} slides, {n_tiles.sum():,} tiles, median {np.median(n_tiles):g}, "
                   f"{(n_tiles == 0).sum()} empty")
    axes.title.set_size(9)
    figure.savefig(path, metadata={"CreationDate": None})
