"""Marker genes of cell types from single cells, and how many of them to take.

Every type is cut into random halves, several times, and the cells of each half are added up. Genes are ranked by a
one-sided Wilcoxon test of the type's halves against the other types', then by fold change; as many markers a type are
taken as give the signature the smallest condition number.
"""
import numpy as np
from scipy.stats import mannwhitneyu

from sources import cell_profiles

N_DRAWS = 10              # random halves of a type's cells, twice as many parts
MAX_P = .01               # of the one-sided Wilcoxon (Mann-Whitney) test
MIN_FOLD = 2              # over the next highest type
N_MARKERS = range(50, 501, 10)  # markers a type that are tried
PSEUDO_TPM = 1


def random_halves(counts, codes, n_types, random):
    """Profiles of random halves of each type's cells: (n_genes, n_types, 2 N_DRAWS)."""
    profiles = []
    for _ in range(N_DRAWS):
        half = np.empty(len(codes), dtype=int)
        for k in range(n_types):
            cells = random.permutation(np.flatnonzero(codes == k))
            half[cells[::2]], half[cells[1::2]] = 0, 1
        profiles += [cell_profiles.add_up(counts, np.where((half == side) & (codes >= 0), codes, -1), n_types)
                     for side in (0, 1)]
    return np.stack(profiles, axis=2)


def rank(profiles):
    """Row numbers of each type's marker genes, best first (list of arrays).

    `profiles` (n_genes, n_types, n_parts). A marker differs at MAX_P and is MIN_FOLD times above every other type."""
    mean = np.log2(profiles.mean(axis=2) + PSEUDO_TPM)
    ranked = []
    for k in range(profiles.shape[1]):
        others = np.delete(profiles, k, axis=1).reshape(len(profiles), -1)
        fold = mean[:, k] - np.delete(mean, k, axis=1).max(axis=1)
        p = mannwhitneyu(profiles[:, k], others, alternative="greater", axis=1).pvalue
        genes = np.flatnonzero((p < MAX_P) & (fold >= np.log2(MIN_FOLD)))
        ranked.append(genes[np.lexsort((-fold[genes], p[genes].round(12)))])
    return ranked


def choose(ranked, profile):
    """Rows of the signature and {markers a type: condition number} for all that was tried.

    `profile` (n_genes, n_types), linear. A type with fewer markers gives all that it has."""
    conditions = {n: float(np.linalg.cond(profile[union(ranked, n)])) for n in N_MARKERS}
    best = min(conditions, key=conditions.get)
    return union(ranked, best), conditions


def union(ranked, n):
    """Rows of the first n markers of all types, without repetition."""
    return np.unique(np.concatenate([genes[:n] for genes in ranked]))
