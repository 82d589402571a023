"""What the native deconvolution found that a reader should know, one line each."""
import numpy as np

from model import confidence, patients, rank_choice, reference_fit, unknown_type
from slide_ex.ids import some


def of(done, data, batch_column=None):
    """Lines about native.Deconvolution of inputs_of_project.Inputs; batch_column: where batches were given."""
    errors = ", ".join(f"{rank}: {error:.3f}" for rank, error in done.held_out.items())
    lines = [f"at most {done.rank} factors a cell type; relative error of bulk entries left out, by rank: {errors}"]
    lines += about_copies(data.bulk.columns, done.sample)
    lines += about_size(done.sample.max() + 1, len(data.signature.columns)) + about_level(done.level)
    lines += about_batches(data.bulk.columns, done.batch, done.batch_effects, batch_column)
    lines += about_unexplained(data.bulk.index, *done.unexplained)
    lines += about_fractions(data.signature.columns, done.fractions.mean(axis=0), done.check)
    if done.unrelated > reference_fit.UNRELATED:
        lines.append("the reference predicts the genes' levels in bulk no better than one of other genes would: no "
                     "confidence is above 0.5; are the gene names right?")
    return lines


def about_copies(names, sample):
    """A line where patients are one sample; sample (n_patients,) as patients.same_sample gives it."""
    n_samples = sample.max() + 1
    if n_samples == len(sample):
        return []
    groups = ["=".join(names[sample == one]) for one in np.flatnonzero(np.bincount(sample) > 1)]
    return [f"{len(sample)} patients are {n_samples} samples: bulk of {some(groups)} is the same (log values correlate "
            f"above {patients.SAME}); each sample is counted once"]


def about_size(n_samples, n_cell_types):
    """Lines about a cohort that is too small for factors, or for a confidence."""
    lines = []
    if n_samples < rank_choice.SAMPLES_PER_TYPE * n_cell_types:
        lines.append(f"{n_samples} samples are fewer than {rank_choice.SAMPLES_PER_TYPE} a cell type: no factors are "
                     "fitted")
    if n_samples < confidence.MIN_SAMPLES:
        lines.append(f"{n_samples} samples are fewer than {confidence.MIN_SAMPLES}: no confidence is above "
                     f"{confidence.DOUBTFUL:g}")
    return lines


def about_level(level):
    if np.log(level).std() <= patients.USUAL_LEVEL_LOG_SD:
        return []
    return [f"all genes together differ in level between patients by {np.log(level).std():.2f} (standard deviation, "
            "natural log), which fractions do not explain: expression is given at a common level"]


def about_batches(names, batch, effects, column):
    """A line where batches were removed; effects (n_genes, n_batches) as native.Deconvolution has them."""
    if not batch.any():
        return []
    size = ", ".join(f"{patients.spread(effect):.2f}" for effect in effects.T)
    if column:
        return [f"{len(effects.T)} batches of {column} (patients: {some(map(str, np.bincount(batch)))}) were removed "
                f"from all genes; they differ from the mean by {size} (robust standard deviation over genes, natural "
                "log)"]
    members = batch == 1
    return [f"{members.sum()} patients differ from the others in very many genes of all cell types, as another "
            f"platform or batch would make it ({some(names[members])}): the two were brought to the mean of both, from "
            f"which they differ by {size} (robust standard deviation over genes, natural log)"]


def about_unexplained(names, rows, line):
    """The line that reference_fit.unexplained gives, with the first of its genes (rows of names)."""
    return [line.format(genes=some(names[rows[:5]]))] if len(rows) else []


def about_fractions(cell_types, mean_fraction, check):
    """Lines about fractions that cannot be trusted (unknown_type.Check)."""
    if check.is_of_another_tissue():
        k = check.state_of
        return [f"bulk shows the markers of {cell_types[k]}, {mean_fraction[k]:.0%} of the cells, at "
                f"{check.own_level[k]:.0%} of what the signature predicts: a cell type that makes much of bulk is "
                "missing from the signature, or it is of another tissue; no confidence is above 0.5"]
    reasons = [f"{name} (agreement {check.agreement[k]:.2f}, own markers at {check.own_level[k]:.0%} of the prediction)"
               for k, name in enumerate(cell_types) if check.doubtful()[k]]
    if not reasons:
        return []
    return [f"fractions of {some(reasons, len(reasons))} cannot be trusted: they change when bulk may hold one more, "
            f"unknown, cell type (agreement below {unknown_type.MIN_AGREEMENT}), or bulk hardly shows their markers "
            f"(below {unknown_type.MIN_OWN_LEVEL:.0%}); no confidence of theirs is above 0.5"]
