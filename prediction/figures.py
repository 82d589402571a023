"""Draw the figures of the paper from the result tables; nothing is computed here that is not in a table.

Reads   <project_path>/results/*.csv and predictions.h5 (written by prediction/collect_results.py)
Writes  <project_path>/figures/fig2_predictability, fig3_abundance, fig4_response (.pdf and .png each) and
        figures.json (checksums of the tables that were drawn); figures of unchanged tables are not drawn again

    python prediction/figures.py demo
"""
import hashlib
import json
import logging

import figure_panels
import prediction_script

FIGURES = {"fig2_predictability": (figure_panels.predictability, "summary.csv"),
           "fig3_abundance": (figure_panels.abundance, "abundance.csv"),
           "fig4_response": (figure_panels.response, "direct.csv")}  # name: (function, table it cannot do without)
TABLES = "summary.csv", "*_genes.csv", "abundance.csv", "direct.csv", "predictions.h5"


def main(args):
    results, figures = args.project_path / "results", args.project_path / "figures"
    tables = sorted(path for pattern in TABLES for path in results.glob(pattern))
    if not (results / "summary.csv").is_file():
        raise FileNotFoundError(f"{results / 'summary.csv'} is missing: run prediction/collect_results.py first")
    checksums = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in tables}
    record = figures / "figures.json"
    if record.is_file() and json.loads(record.read_text()) == checksums and not args.overwrite:
        logging.info(f"figures: finished, the tables have not changed ({figures})")
        return
    for name, (draw, table) in FIGURES.items():
        if not (results / table).is_file():
            logging.info(f"{name}: not drawn, there is no {results / table}")
            continue
        figure = draw(results)
        for suffix, options in ((".pdf", {"metadata": {"CreationDate": None}}), (".png", {"dpi": 200})):
            with prediction_script.whole(figures / f"{name}{suffix}") as part:
                figure.savefig(part, **options)
        logging.info(f"{name}: {figures / name}.pdf")
    with prediction_script.whole(record) as part:
        part.write_text(json.dumps(checksums, indent=1))


if __name__ == "__main__":
    prediction_script.run(main, prediction_script.parser(__doc__).parse_args(), "figures")
