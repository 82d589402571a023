"""A small cohort with known truth for the tests of deconvolution: bulk mixed from four cell types."""
import numpy as np
import pandas as pd

TYPES = ["Cancer Epithelial", "T-cells", "CAFs", "Myeloid"]


def mix(n_genes=240, n_patients=60, noise=.05, spread=.5, seed=0):
    """Tables bulk, signature, reference (DataFrame), fractions (n_patients, 4), expression (4, n_genes, n_patients).

    Every type has markers; in every type one programme of genes varies between patients by `spread`, natural log."""
    random = np.random.default_rng(seed)
    genes = [f"GENE{g}" for g in range(n_genes)]
    patients = [f"P{i:03d}" for i in range(n_patients)]
    means = random.lognormal(4, 1, (n_genes, 4))
    n_markers = n_genes // 3
    means[np.arange(n_markers), np.arange(n_markers) % 4] *= 20
    fractions = random.dirichlet([4, 2, 2, 1], n_patients)
    expression = np.stack([means[:, k, None] * np.exp(spread * np.outer(
        random.standard_normal(n_genes) * (random.random(n_genes) < .5), random.standard_normal(n_patients)))
        for k in range(4)])
    bulk = np.einsum("kgi,ik->gi", expression, fractions)
    bulk *= np.exp(noise * random.standard_normal((n_genes, n_patients)))
    reference = pd.DataFrame(means, genes, TYPES)
    return {"bulk": pd.DataFrame(bulk, genes, patients), "signature": reference[:n_markers], "reference": reference,
            "fractions": fractions, "expression": expression}


def write(folder, data):
    """The input tables of a project folder."""
    folder.mkdir(exist_ok=True)
    for name, table in (("bulk_expression", data["bulk"]), ("signature", data["signature"]),
                        ("reference", data["reference"])):
        table.to_csv(folder / f"{name}.tsv", sep="\t", index_label="gene")
    return folder
