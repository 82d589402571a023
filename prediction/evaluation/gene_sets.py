"""Sets of genes from a GMT file, and which of them are over-represented among chosen genes of a cell type."""
import pandas as pd
from scipy import stats

from evaluation import association
from slide_ex import text_table


def read_gmt(path):
    """Gene sets of a GMT file (tab-separated lines: name, description, genes); dict of name to set of str.

    Raises FileNotFoundError, and ValueError for a line without genes, a name given twice and a file without sets.
    """
    gene_sets = {}
    for number, line in enumerate(text_table.read_lines(path, "a GMT file, one gene set a line"), 1):
        if not line.strip():
            continue
        name, *rest = (field.strip() for field in line.split("\t"))
        genes = set(rest[1:]) - {""}  # after the description
        if not genes:
            raise ValueError(f"{path}, line {number}: no genes; a line is name, description and genes between tabs")
        if name in gene_sets:
            raise ValueError(f"{path}, line {number}: a second gene set {name}; rename one of them")
        gene_sets[name] = genes
    if not gene_sets:
        raise ValueError(f"{path} has no gene set: give a GMT file, one gene set a line")
    return gene_sets


def genes_as_descriptions(path, genes):
    """Lines 'name: description' of a GMT file whose descriptions are genes: of a file without descriptions the first
    gene of each set."""
    rows = [line.split("\t") for line in text_table.read_lines(path, "a GMT file, one gene set a line") if line.strip()]
    return [f"{name.strip()}: {description.strip()}" for name, description, *_ in rows if description.strip() in genes]


def over_representation(chosen, background, gene_sets, min_genes):
    """Test of each gene set for more `chosen` genes than a draw from the background has; one row a set, lowest p first.

    Parameters
    ----------
    chosen : set of str      part of the background
    background : set of str  all genes that could have been chosen
    min_genes : int          sets with fewer genes in the background are left out

    Returns
    -------
    DataFrame
        term, n_term (genes in the background), n_robust (chosen genes), n_both, odds_ratio, p (one-sided Fisher test,
        that is the upper tail of the hypergeometric distribution), p_benjamini_hochberg. Half a gene is added to each
        of the four counts of the odds ratio (Haldane and Anscombe), so that it is finite when one of them is zero.
    """
    rows = []
    for term, genes in gene_sets.items():
        genes = genes & background
        if len(genes) < min_genes:
            continue
        both = len(genes & chosen)
        chosen_only, term_only = len(chosen) - both, len(genes) - both
        neither = len(background) - both - chosen_only - term_only
        rows.append({"term": term, "n_term": len(genes), "n_robust": len(chosen), "n_both": both,
                     "odds_ratio": (both + .5) * (neither + .5) / ((chosen_only + .5) * (term_only + .5)),
                     "p": stats.hypergeom.sf(both - 1, len(background), len(genes), len(chosen))})
    table = pd.DataFrame(rows, columns=["term", "n_term", "n_robust", "n_both", "odds_ratio", "p"])
    table["p_benjamini_hochberg"] = association.benjamini_hochberg(table["p"])
    return table.sort_values(["p", "term"], ignore_index=True)
