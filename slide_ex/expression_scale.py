"""Whether values of expression are what they are said to be: linear or logarithms, TPM or counts.

No value of log2(x + c) can be below log2(c), and many are log2(c) itself, the zeros. The TPM of a sample add up to a
million, or to .5 to 1 million where only protein-coding genes are left. Both tell a wrong declaration.
"""
from dataclasses import dataclass

import numpy as np
import pandas as pd

from slide_ex.ids import some

MILLION = 1e6
LARGEST_LOG = 25            # log2 of a million is 20: linear TPM of a whole sample has values far above
ROUNDED = .006              # of a logarithm written with two decimals
OFFSETS = (1, .001, .01, .1, .5, .0001)   # that people add before they take logarithms
BASES = {"log2": 2, "natural logarithm": np.e, "log10": 10}
ALIKE = .02                 # relative spread of the totals of TPM around a million
FEWEST_OF_ALL = 15000       # genes: as many have all protein-coding ones, so that totals must be near a million
OF_TPM = (.4 * MILLION, 1.1 * MILLION)    # median total of such a table
MOST_CLIPPED = .05          # share of negative values that can be noise of a batch correction
REPEATED = .01              # share of the values that equal the smallest one: these are zeros
FLAT = 1 / 3                # a sample of logarithms: its highest value by its mean is below this share of others'
LIKE_OTHERS = 2             # the same sample: its total, once they are undone, is the others' up to this factor
CENTRED = .2                # share of negative values above which values were centred
LOOKED_AT = 50              # samples


@dataclass(frozen=True)
class Declared:
    """What the user says: log2_offset c (the values are log2(x + c)) or None; whether few negative values are set to
    zero; is_bulk: whether these are samples, whose totals say something."""
    log2_offset: float | None = None
    clip_negative: bool = False
    is_bulk: bool = False


def add_options(parser, of="--expression"):
    """--log2 and --clip-negative, of the scripts that read expression."""
    parser.add_argument("--log2", type=float, nargs="?", const=1., metavar="C",
                        help=f"{of} holds log2(x + C), default C 1")
    parser.add_argument("--clip-negative", action="store_true",
                        help=f"set the few negative values of {of}, which batch correction leaves, to zero")


def linear(table, path, declared):
    """Linear values of a table of finite numbers, and notes; ValueError where it is not as declared."""
    values = table.to_numpy()
    smallest, largest = values.min(), values.max()
    if declared.log2_offset is not None:
        refuse_other_log(values, path, declared)
        table, notes = (np.exp2(table) - declared.log2_offset).clip(lower=0), []
        if declared.is_bulk:
            refuse_other_base(values, table, path, declared)
    elif largest <= LARGEST_LOG:
        negative = table.columns[(table < 0).any()]
        of = f", negative in {some(negative)}" if len(negative) else ""
        raise ValueError(f"{path}: values from {smallest:.3g} to {largest:.3g}{of}: {advice(values, declared)}")
    else:
        table, notes = clipped(table, path, declared) if smallest < 0 else (table, [])
        if declared.is_bulk:
            refuse_single_logs(table, path)
    return table, notes + (about_totals(table, path, declared) if declared.is_bulk else [])


def refuse_single_logs(table, path):
    """ValueError for samples that are logarithms among linear ones: their highest gene is no outlier, and taken as
    powers they come to the totals of the others."""
    highest = table.max()
    low, by_mean = highest <= LARGEST_LOG, highest / table.mean()
    is_flat = by_mean < FLAT * by_mean[~low].median()
    usual = table.loc[:, ~low].sum().median()
    suspects = table.loc[:, low & is_flat]
    totals = pd.DataFrame({base: (np.power(base, suspects) - 1).sum() / usual for base in map(float, BASES.values())})
    are_logs = ((totals > 1 / LIKE_OTHERS) & (totals < LIKE_OTHERS)).any(axis=1)
    if are_logs.any():
        raise ValueError(f"{path}: {some(totals.index[are_logs])} look like logarithms, the other samples do not: give "
                         "TPM of all samples")


def advice(values, declared):
    """What values without a declaration look like that cannot be linear."""
    if is_centred(values):
        return "they look centred (z-scores or ratios), which cannot be undone: give linear values (TPM)"
    if 0 <= values.min() and values.max() <= 1:
        return "they look like shares: give TPM, which are shares times a million"
    if not declared.is_bulk:
        return "they look like logarithms: give linear values (TPM)"
    fits = f"; {worded(*found)} fits" if (found := fitting(values)) else ""
    return (f"they look like logarithms: give --log2 if they are log2(x + 1), --log2 0.001 if log2(x + 0.001), or a "
            f"table of TPM{fits}")


def is_centred(values):
    """Whether values lie around zero: many are negative, and their smallest is no zero that occurs again and again."""
    smallest = values.min()
    return (values < 0).mean() > CENTRED and (values <= smallest + ROUNDED).mean() < REPEATED


def refuse_other_log(values, path, declared):
    """ValueError unless the values can be log2(x + c) with the declared c."""
    offset = declared.log2_offset
    smallest, largest = values.min(), values.max()
    if not offset > 0:
        raise ValueError(f"--log2 {offset:g}: the constant must be above 0")
    if largest > LARGEST_LOG:
        raise ValueError(f"{path}: the largest value is {largest:.3g}, too large for a logarithm: leave out --log2")
    if is_centred(values):
        raise ValueError(f"{path}: values from {smallest:.3g} to {largest:.3g} look centred (z-scores or ratios), "
                         "which cannot be undone: give linear values (TPM) or log2(x + C)")
    n_smallest = int((values <= smallest + ROUNDED).sum())
    if smallest < np.log2(offset) - ROUNDED:
        raise ValueError(f"{path}: the smallest value is {smallest:.4g}, and no log2(x + {offset:g}) is below "
                         f"{np.log2(offset):.4g}: {remedy(smallest)}")
    if smallest > np.log2(offset) + ROUNDED and n_smallest > max(REPEATED * values.size, 10):
        raise ValueError(f"{path}: the smallest value, {smallest:.4g}, occurs {n_smallest} times and so is the "
                         f"logarithm of zero, which with --log2 {offset:g} would be {np.log2(offset):.4g}: "
                         f"{remedy(smallest)}")


def remedy(smallest):
    """What to give where the smallest value is the logarithm of zero: a constant, one of OFFSETS where one is near."""
    constant = next((usual for usual in OFFSETS if abs(np.log2(usual) - smallest) < ROUNDED), np.exp2(smallest))
    if constant > 1.01 * max(OFFSETS):
        return "nobody adds as much, so this is another scale (an array?): give TPM"
    return f"give --log2 {constant:.3g}, if this value is a zero"


def are_of_tpm(totals):
    """Whether the totals of samples are all about a million."""
    return np.abs(np.median(totals) / MILLION - 1) < ALIKE and np.std(totals) < ALIKE * MILLION


def fitting(values):
    """Base (a key of BASES) and constant of the logarithm that makes the totals of all samples a million; or None."""
    values = values[:, :LOOKED_AT].astype(float)
    for name, base in BASES.items():
        for offset in OFFSETS:
            if values.min() < np.log(offset) / np.log(base) - ROUNDED:
                continue
            with np.errstate(over="ignore"):
                totals = (np.power(float(base), values) - offset).clip(min=0).sum(axis=0)
            if are_of_tpm(totals):
                return name, offset
    return None


def worded(base, offset):
    return f"{base} of x + {offset:g}" if base == "natural logarithm" else f"{base}(x + {offset:g})"


def refuse_other_base(values, table, path, declared):
    """ValueError where another logarithm than the declared one gives TPM, or where whole samples add up to nothing."""
    totals = table.sum()
    said = worded("log2", declared.log2_offset)
    fits = None if are_of_tpm(totals) else fitting(values)
    if fits not in (None, ("log2", declared.log2_offset)):
        cure = f"give --log2 {fits[1]:g}" if fits[0] == "log2" else "undo it and give TPM"
        raise ValueError(f"{path}: as {said} the samples add up to {totals.median():.3g} (median), as {worded(*fits)} "
                         f"to a million, as TPM do: {cure}")
    if table.to_numpy().max() <= LARGEST_LOG:
        raise ValueError(f"{path}: as {said} the largest value is {table.to_numpy().max():.3g}, so that they look like "
                         "logarithms still: were they taken twice? give TPM")
    if len(table) >= FEWEST_OF_ALL and totals.median() < MILLION / 10:
        raise ValueError(f"{path}: as {said} the {len(table)} genes of a sample add up to {totals.median():.3g} "
                         "(median), TPM to a million: the values are no such logarithms")


def clipped(table, path, declared):
    """Linear values with negative ones set to zero, if so declared, and a note."""
    negative = (table < 0).to_numpy()
    share, where = negative.mean(), some(table.columns[negative.any(axis=0)])
    what = (f"{path}: {share:.2%} of the values are negative (down to {table.to_numpy().min():.3g}; in {where}) among "
            "linear ones, as batch correction leaves them")
    if share > MOST_CLIPPED:
        raise ValueError(f"{what}, but too many to be noise: give TPM")
    if not declared.clip_negative:
        raise ValueError(what + (": --clip-negative sets them to zero" if declared.is_bulk else ": set them to zero"))
    return table.clip(lower=0), [f"{path.name}: {negative.sum()} negative values ({share:.2%}) set to zero"]


def about_totals(table, path, declared):
    """A line where the samples do not look like TPM, or, of logarithms, like TPM of some genes only."""
    values, totals = table.to_numpy(), table.sum()
    is_whole = np.array_equal(values[:, :LOOKED_AT], values[:, :LOOKED_AT].round())
    low, high = OF_TPM
    far = totals.median() > 1.5 * MILLION or len(table) >= FEWEST_OF_ALL and not low <= totals.median() <= high
    if not (far or is_whole and table.size > 100):
        return [] if declared.log2_offset is None or are_of_tpm(totals) or len(table) >= FEWEST_OF_ALL else [
            f"{path.name}: without their logarithms the {len(table)} genes of a sample add up to {totals.median():.3g} "
            "(median); TPM of all genes add up to a million: look whether genes were left out"]
    what = "all values are whole numbers" if is_whole else f"the samples add up to {totals.median():.3g} (median)"
    return [f"{path.name}: {what}, TPM add up to a million: these look like counts (or RSEM, FPKM). Ranks of patients "
            "change little by that, levels and predictions for other cohorts do: give TPM, or counts with --counts to "
            "data/prepare_cohort.py or prepare_tcga.py"]


def tpm(counts, lengths, path):
    """TPM of counts (genes x samples) and lengths of the genes (text by gene); ValueError for a length that is none."""
    lengths = pd.to_numeric(lengths, errors="coerce")
    bad = counts.index[~(lengths > 0).to_numpy()]
    if len(bad):
        raise ValueError(f"{path}: no length above 0 for {len(bad)} genes: {some(bad)}: remove them or fill the column")
    rate = counts.div(lengths.to_numpy(), axis=0)
    return rate / rate.sum() * MILLION
