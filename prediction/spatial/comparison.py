"""How well a map agrees with what was measured in the spots, and what agrees as well without any model.

R is Pearson's over spots, each with the value of its tile. Spots are not independent: intervals resample square blocks
of the slide. Where tissue changes over more than a block they are still too narrow: of two random fields on 24 x 24
tiles that know nothing of each other, smoothed over 2 tiles, 27 % of the 95 % intervals of single spots held 0, 69 % of
those of blocks of 4 tiles and 74 % of 6. The opponents have learnt from the measured spots, which the models never saw,
so they are strong ones:

    colour      mean red, green, blue of the tile; least squares
    total       log total counts of the spot; the same
    position    a smooth of the measured values themselves: Gaussian weights on the spots of all tiles but its own
"""
import numpy as np
import pandas as pd

from evaluation import association, resampling

OPPONENTS = "colour", "total", "position"
SMOOTH_TILES = 1.5      # standard deviation of the Gaussian, sides of a tile
MIN_BLOCKS = 8          # with fewer there are no intervals


def blocks_of(place, side_px):
    """The square block that each spot lies in, int (n_spots,) from 0."""
    return np.unique(np.floor(place / side_px).astype(int), axis=0, return_inverse=True)[1].ravel()


def by_regression(inputs, values):
    """Values of spots (n_spots, n_outputs) by least squares on the same spots; NaN where inputs are not known.

    Left out in turn, spots would be predicted by the mean of the others, which is low where they are high: an opponent
    that knows nothing would have an R far below 0.
    """
    if not np.isfinite(inputs).all():
        return np.full_like(values, np.nan)
    design = np.c_[np.ones(len(inputs)), (inputs - inputs.mean(0)) / np.maximum(inputs.std(0), 1e-9)]
    return design @ np.linalg.lstsq(design, values, rcond=None)[0]


def by_position(place, tile, values, bandwidth_px):
    """A smooth of the values at each spot (n_spots, n_outputs), without the spots of its own tile."""
    squared = ((place[:, None] - place) ** 2).sum(axis=2) / (2 * bandwidth_px ** 2)
    squared[tile[:, None] == tile] = np.inf
    nearest = squared.min(axis=1, keepdims=True)    # far from everything the nearest tile counts
    with np.errstate(invalid="ignore"):
        weights = np.exp(nearest - squared)
        return weights @ values / weights.sum(axis=1, keepdims=True)


def correlations(predicted, values, blocks, n_bootstrap, seed):
    """R of each column, (n_outputs,), and of each draw of blocks, (n_bootstrap, n_outputs); NaN of a constant one."""
    names, n_blocks = np.unique(blocks, return_inverse=True)[1], len(np.unique(blocks))
    member = (names == np.arange(n_blocks)[:, None]).astype(float)
    x, y = predicted - predicted.mean(0), values - values.mean(0)     # sums of squares stay small
    sums = [member @ np.ones((len(x), 1)), member @ x, member @ y, member @ (x * x), member @ (y * y), member @ (x * y)]
    weights = resampling.draws(n_blocks, n_bootstrap, seed).astype(float)

    def r(draws):
        n, sx, sy, sxx, syy, sxy = (draws @ of_block for of_block in sums)
        variances = np.clip(sxx - sx ** 2 / n, 0, None), np.clip(syy - sy ** 2 / n, 0, None)
        with np.errstate(invalid="ignore", divide="ignore"):
            found = (sxy - sx * sy / n) / np.sqrt(variances[0] * variances[1])
        return np.where(np.minimum(*variances) > 1e-12 * np.maximum(n, 1), found, np.nan)

    return r(np.ones((1, n_blocks)))[0], r(weights) if n_blocks >= MIN_BLOCKS else np.full((1, x.shape[1]), np.nan)


def of_opponents(spots, values, tile, colours, level0_tile_px, blocks, n_bootstrap, seed):
    """What `correlations` gives for each of OPPONENTS, dict.

    Parameters
    ----------
    values : float64 (n_spots, n_outputs), measured
    colours : float64 (n_spots, 3), of the tile of each spot, or None
    """
    unknown = np.full((len(tile), 3), np.nan)
    predicted = {"colour": by_regression(unknown if colours is None else colours, values),
                 "total": by_regression(spots.log_total[:, None], values),
                 "position": by_position(spots.place, tile, values, SMOOTH_TILES * level0_tile_px)}
    return {name: correlations(predicted[name], values, blocks, n_bootstrap, seed) for name in OPPONENTS}


def table(outputs, predicted, values, tile, blocks, opponents, n_bootstrap, seed):
    """One row an output: R over spots with its interval, over tiles (means of their spots), opponents, differences.

    Parameters
    ----------
    predicted, values : float64 (n_spots, n_outputs), of the map and measured
    opponents : dict of name to (R, R of each draw), for these outputs
    """
    r, drawn = correlations(predicted, values, blocks, n_bootstrap, seed)
    groups = np.unique(tile, return_inverse=True)[1]
    means = [pd.DataFrame(of_spots).groupby(groups).mean().to_numpy() for of_spots in (predicted, values)]
    made = pd.DataFrame({"output": outputs, "n_spots": len(tile), "n_tiles": groups.max() + 1, "pearson_r": r})
    made[["pearson_r_low", "pearson_r_high"]] = intervals(drawn)
    with np.errstate(invalid="ignore"):     # NaN where one is constant
        made["pearson_r_tiles"] = association.pearson(*means)
    for name, (its_r, its_draws) in opponents.items():
        made[f"r_{name}"], made[f"minus_{name}"] = its_r, r - its_r
        made[[f"minus_{name}_low", f"minus_{name}_high"]] = intervals(drawn - its_draws)
    return made


def intervals(drawn):
    """Percentile interval of each column of draws; float64 (n_outputs, 2)."""
    return np.array([resampling.interval(column) for column in drawn.T]).reshape(-1, 2)
