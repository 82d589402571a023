"""Data that break an assumption of the deconvolution, made from a set with known truth (bench_deconvolution.py).

Every function takes the data, a dict that it may change, and a random generator, and returns the data.
"""
import numpy as np


def as_it_is(data, random):
    return data


def corrupt_genes(data, random):
    """10 % of the genes multiplied by 0 to 50, each value on its own."""
    rows = random.permutation(len(data["bulk"]))[:len(data["bulk"]) // 10]
    data["bulk"][rows] *= random.uniform(0, 50, (len(rows), data["bulk"].shape[1]))
    return data


def noise(log_sd):
    """Bulk measured with lognormal noise in every value."""
    def damage(data, random):
        data["bulk"] *= random.lognormal(0, log_sd, data["bulk"].shape)
        return data
    return damage


def batch(share, log_sd):
    """A share of the samples with a lognormal factor of their own for every gene."""
    def damage(data, random):
        n_samples = data["bulk"].shape[1]
        samples = random.permutation(n_samples)[:round(share * n_samples)]
        data["bulk"][:, samples] *= random.lognormal(0, log_sd, (len(data["bulk"]), 1))
        return data
    return damage


def reference_of_other_platform(data, random):
    """Signature and reference with a lognormal(.8) factor for every gene."""
    factor = random.lognormal(0, .8, (len(data["bulk"]), 1))
    data["reference"] = data["reference"] * factor
    data["signature"] = data["signature"] * factor[data["markers"]]
    return data


def normal_tissue(data, random):
    """A fifth of the samples without the first type, the malignant one; the last, its normal twin, has most of what
    it had."""
    fractions = data["fractions"].copy()
    samples = random.permutation(len(fractions))[:len(fractions) // 5]
    fractions[samples, -1] += .7 * fractions[samples, 0]
    fractions[samples, 0] = 0
    return remixed(data, fractions / fractions.sum(axis=1, keepdims=True))


def twin(closeness):
    """The last type is moved towards the first, in logarithms, by `closeness` (0..1): nearly collinear."""
    def damage(data, random):
        data = only(data, data["scored"])
        first, old = data["expression"][0].mean(axis=1, keepdims=True), data["expression"][-1]
        new = (old + 1e-3) ** (1 - closeness) * (first + 1e-3) ** closeness
        mixed = np.einsum("kgi,ik->gi", data["expression"], data["fractions"]) + 1e-3
        data["bulk"] *= 1 + data["fractions"][:, -1] * (new - old) / mixed
        data["expression"][-1] = new
        reference = data["reference"] + 1e-3
        data["reference"][:, -1] = reference[:, -1] ** (1 - closeness) * reference[:, 0] ** closeness
        return with_markers(data, 60)
    return damage


def remixed(data, fractions):
    """The same expression mixed by other fractions; of genes without truth, bulk times the ratio of what the reference
    predicts."""
    after, before = (np.maximum(data["reference"] @ f.T, 1e-6) for f in (fractions, data["fractions"]))
    ratio = after / before
    ratio[data["scored"]] = (np.einsum("kgi,ik->gi", data["expression"], fractions) + 1e-6) / (
        np.einsum("kgi,ik->gi", data["expression"], data["fractions"]) + 1e-6)
    return data | {"bulk": data["bulk"] * ratio, "fractions": fractions}


def only(data, genes):
    """The data without other genes (rows of bulk, sorted), their markers chosen later."""
    place = np.searchsorted(genes, data["scored"])
    return data | {"bulk": data["bulk"][genes].copy(), "reference": data["reference"][genes].copy(), "scored": place}


def with_markers(data, n_per_type):
    """Marker genes chosen anew: the highest of every type relative to the next type."""
    floor = np.median(data["reference"])
    level = np.log(data["reference"] + floor)
    fold = np.stack([level[:, k] - np.delete(level, k, axis=1).max(axis=1) for k in range(level.shape[1])])
    markers = np.unique(np.argsort(-fold, axis=1)[:, :n_per_type])
    return data | {"markers": markers, "signature": data["reference"][markers]}


def sample_subset(data, samples):
    return data | {"bulk": data["bulk"][:, samples], "fractions": data["fractions"][samples],
                   "expression": data["expression"][:, :, samples]}


def fewer_samples(n_samples):
    return lambda data, random: sample_subset(data, np.arange(n_samples))


def repeated(copies, log_sd):
    """The first samples given several times, each with noise of its own."""
    def damage(data, random):
        n = data["bulk"].shape[1] // copies
        data = sample_subset(data, np.tile(np.arange(n), copies))
        data["bulk"] = data["bulk"] * random.lognormal(0, log_sd, data["bulk"].shape)
        return data
    return damage


def counts(data, random):
    """Read counts in the place of TPM: genes of different length, samples of different depth."""
    length = random.lognormal(0, .8, (len(data["bulk"]), 1))
    reads = data["bulk"] * length
    depth = random.uniform(1e7, 4e7, reads.shape[1])
    data["bulk"] = random.poisson(reads / reads.sum(axis=0) * depth).astype(float)
    seen = data["bulk"].sum(axis=1) > 0
    return data if seen.all() else without_genes(data, ~seen)


def without_genes(data, gone):
    """Without the genes of a mask."""
    place = np.cumsum(~gone) - 1
    markers, scored = ~gone[data["markers"]], ~gone[data["scored"]]
    return data | {"bulk": data["bulk"][~gone], "reference": data["reference"][~gone],
                   "signature": data["signature"][markers], "markers": place[data["markers"][markers]],
                   "expression": data["expression"][:, scored], "scored": place[data["scored"][scored]]}


def absent_type(data, random):
    """The third type is in no sample."""
    fractions = data["fractions"].copy()
    fractions[:, 2] = 0
    return remixed(data, fractions / fractions.sum(axis=1, keepdims=True))


def unknown_type(k):
    """Type k is missing from signature and reference."""
    def damage(data, random):
        data |= {name: np.delete(data[name], k, axis=1) for name in ("signature", "reference", "fractions")}
        data["fractions"] /= data["fractions"].sum(axis=1, keepdims=True)
        return data | {"expression": np.delete(data["expression"], k, axis=0),
                       "cell_types": data["cell_types"][:k] + data["cell_types"][k + 1:]}
    return damage


def other_tissue(data, random):
    """A signature whose malignant and stromal types are others: their values permuted within the markers, the rest
    wrong by lognormal(.8)."""
    reference = data["reference"] * random.lognormal(0, .8, data["reference"].shape)
    for k in (0, -1):
        reference[:, k] = reference[random.permutation(len(reference)), k]
    return data | {"reference": reference, "signature": reference[data["markers"]]}


def permuted_genes(data, random):
    """The genes of bulk in a random order, which makes all estimates meaningless."""
    data["bulk"] = data["bulk"][random.permutation(len(data["bulk"]))]
    return data


def of(cell_types):
    """{name: function} for data of these cell types."""
    return {"as it is": as_it_is, "60 samples": fewer_samples(60), "30 samples": fewer_samples(30),
            "reference of another platform": reference_of_other_platform, "a fifth normal tissue": normal_tissue,
            "a look-alike, a third of the way": twin(.33), "a look-alike, half-way": twin(.5),
            "half in another batch": batch(.5, .3), "30 % in another batch": batch(.3, .5),
            "given twice": repeated(2, 0), "given three times": repeated(3, 0),
            "nearly the same twice": repeated(2, .02),
            "noise of bulk, sd 0.2": noise(.2), "noise of bulk, sd 0.3": noise(.3),
            "counts": counts, "10 % of genes x 0-50": corrupt_genes, "a type absent": absent_type,
            "signature of another tissue": other_tissue, "genes permuted": permuted_genes,
            **{f"{name} unknown": unknown_type(k) for k, name in enumerate(cell_types)}}
