"""Test which gene sets are over-represented among the robustly predicted genes of each cell type.

Robust genes are those with R > 0.4, or the best N with --top N, which serves cohorts where few genes reach 0.4. The
background is all genes that were predicted in that cell type; p-values are one-sided and corrected within it.

Reads   <project_path>/results/<cell type>_genes.csv (written by prediction/collect_results.py), a GMT file
Writes  <project_path>/results/enrichment.csv (columns: data/README.md), enrichment.json (what it was made from)

    python prediction/enrich_genes.py demo --gmt gene_sets.gmt
"""
import logging
from pathlib import Path

from slide_ex import script

import pandas as pd

from evaluation import gene_sets, result_tables
from slide_ex import checksums, record, text_table
from slide_ex.ids import counted
from slide_ex.project import predictions_file
from slide_ex.stages import plan

MADE_BY = "prediction/enrich_genes.py"
FALSE_DISCOVERY_RATE = 0.05  # of the counts that are logged


def main(args):
    results = args.project_path / "results"
    sets = gene_sets.read_gmt(args.gmt)
    paths = predictions_file.tables_of_genes(results)
    if not paths:
        raise FileNotFoundError(f"{results} has no <cell type>_genes.csv: run prediction/collect_results.py first")
    settings = {"top": args.top, "min_genes": args.min_genes,
                "sha256": {path.name: checksums.of_file(path) for path in (args.gmt, *paths.values())}}
    output, marker = plan.outputs(args.project_path, "enrichment")
    if not args.overwrite and output.is_file() and marker.is_file() and record.read(marker, MADE_BY) == settings:
        logging.info(f"enrichment: finished, tables and gene sets have not changed ({output})")
        return
    tables, predicted = [], set()
    for cell_type, path in paths.items():
        table = text_table.read_results(path, "prediction/collect_results.py", ["gene", "pearson_r"])
        genes = table.dropna(subset="pearson_r").set_index("gene")["pearson_r"]
        predicted.update(genes.index)
        robust = genes[genes > result_tables.R_THRESHOLDS[0]] if args.top is None else genes.nlargest(args.top)
        table = gene_sets.over_representation(set(robust.index), set(genes.index), sets, args.min_genes)
        table.insert(0, "cell_type", cell_type)
        logging.info(f"{cell_type}: {report(table, robust, genes)}")
        if len(robust):
            tables.append(table)
    described = gene_sets.genes_as_descriptions(args.gmt, predicted)
    if described:
        logging.info(f"genes in the column of descriptions of {counted(described)}: they do not count; a line is name, "
                     "description and genes between tabs")
    enrichment = scaled(pd.concat(tables)) if tables else pd.DataFrame()
    if not len(enrichment):
        first = next(iter(paths.values()))
        raise ValueError(f"nothing to test, see the lines above: give --top N for the best N genes of each cell type, "
                         f"a lower --min-genes (now {args.min_genes}), or gene sets with symbols as in {first.name}")
    marker.unlink(missing_ok=True)  # made in seconds, so with other settings without asking
    with script.whole(output) as part:
        text_table.write_results(enrichment, part)
    record.write(marker, settings, [output])


def report(table, robust, genes):
    """What was tested in a cell type and found, in words."""
    if not len(robust):
        return f"no robust gene among {len(genes)}, left out"
    if not len(table):
        return "no gene set has enough genes, left out"
    if len(robust) == len(genes):
        return f"all {len(genes)} genes are chosen, so that no gene set can be over-represented: give a smaller --top"
    n_enriched = (table["p_benjamini_hochberg"] < FALSE_DISCOVERY_RATE).sum()
    return (f"{len(robust)} of {len(genes)} genes, {n_enriched} of {len(table)} gene sets enriched (false discovery "
            f"rate {FALSE_DISCOVERY_RATE:.0%}), first {table['term'][0]} (p {table['p'][0]:.2g})")


def scaled(table):
    """The table with scaled_odds_ratio: a gene set's odds ratio as a share of its highest over the cell types."""
    return table.assign(scaled_odds_ratio=table["odds_ratio"] / table.groupby("term")["odds_ratio"].transform("max"))


if __name__ == "__main__":
    parser = script.parser(__doc__)
    parser.add_argument("--gmt", type=Path, required=True, help="gene sets, one a line: name, description, genes")
    parser.add_argument("--top", type=int, metavar="N", help="test the best N genes, not those with R > 0.4")
    parser.add_argument("--min-genes", type=int, default=5, help="of a gene set in a cell type, default %(default)s")
    script.run(main, parser.parse_args(), "enrich_genes")
