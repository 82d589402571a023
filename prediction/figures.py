"""Draw the figures of the paper from the result tables; nothing is computed here that is not in a table.

Reads   <project_path>/results/ (written by prediction/collect_results.py and enrich_genes.py), response/ and
        survival/ (by predict_response.py), features.h5, splits.json, deconvolution/target_genes.csv; of each project
        given by --external predictions/<name of the project> and response/<name of the project>
Writes  <project_path>/figures/fig1_overview, fig2_predictability, fig2_examples, fig2_external, fig3_abundance,
        fig4_response, fig5_enrichment, fig6_training, fig6_calibration, fig6_confidence, fig7_survival (.pdf and .png,
        or the formats of --format, and .txt, the caption, of each) and figures.json (checksums of what each shows); a
        figure whose tables have not changed is not drawn again

    python prediction/figures.py demo --external demo_hospital2
"""
import logging
import typing
from pathlib import Path

from slide_ex import script

from drawing import (
    abundance,
    enrichment,
    examples,
    external_cohorts,
    figure_files,
    overview,
    predictability,
    quality,
    response,
    style,
    survival,
    training,
)
from drawing.figure_files import Figure
from slide_ex import record, sharing
from slide_ex.project import predictions_file
from slide_ex.stages import plan

MADE_BY = "prediction/figures.py"
PREDICTIONS = "results/predictions.h5"
SUMMARY, GENES = "results/summary.csv", f"results/*{predictions_file.GENES}.csv"
EXTERNAL = "external/predictions/{trained}/"
SETTINGS = "response/*/comparison.csv", "external/response/{trained}/comparison.csv"
FIGURES = {
    "fig1_overview": Figure(overview.overview, ("features.h5",), (
        "splits.json", "deconvolution/target_genes.csv", SUMMARY), overview.slide_shown),
    "fig2_predictability": Figure(predictability.predictability, (GENES,), (SUMMARY,)),
    "fig2_examples": Figure(examples.examples, (GENES,), (SUMMARY, PREDICTIONS)),
    "fig2_external": Figure(external_cohorts.external_cohorts, (EXTERNAL + "overlap.csv",), (
        SUMMARY, EXTERNAL + "summary.csv")),
    "fig3_abundance": Figure(abundance.abundance, ("results/abundance.csv",), (
        PREDICTIONS, EXTERNAL + "abundance.csv")),
    "fig4_response": Figure(response.response, ("results/direct.csv", *SETTINGS), (
        PREDICTIONS, *(pattern.replace("comparison", "scores") for pattern in SETTINGS))),
    "fig5_enrichment": Figure(enrichment.enrichment, ("results/enrichment.csv",)),
    "fig6_training": Figure(training.training, ("results/*_preds/result_*/history.csv",)),
    "fig6_calibration": Figure(quality.calibration, ("results/direct.csv",), (PREDICTIONS,)),
    "fig6_confidence": Figure(quality.confidence, (GENES,), (SUMMARY,)),
    "fig7_survival": Figure(survival.survival, ("survival/*/comparison.csv",), ("survival/*/kaplan_meier.csv",))}


class Task(typing.NamedTuple):
    """A figure to be drawn, and its name."""
    label: str
    figure: Figure


def main(args):
    project, folder = args.project_path, args.project_path / "figures"
    if not (project / SUMMARY).is_file():
        raise FileNotFoundError(f"{project / SUMMARY} is missing: run prediction/collect_results.py first")
    external = figure_files.external_projects(args.external, project)
    marker, = plan.outputs(project, "figures")
    before = record.read(marker, MADE_BY) if marker.is_file() and not args.overwrite else {}
    shown, tasks = {}, []
    for name, figure in FIGURES.items():
        checksums = figure.checksums(project, external)
        files = [folder / f"{name}.{suffix}" for suffix in (*args.format, "txt")]
        others = [folder / f"{name}.{suffix}" for suffix in style.FORMATS if suffix not in args.format]
        if not checksums:
            logging.info(f"{name}: not drawn, there is no {figure.missing(project)}")
            for path in files + others:  # an earlier one would pass for a picture of what is there now
                path.unlink(missing_ok=True)
            continue
        shown[name] = checksums
        if checksums == before.get(name) and all(path.is_file() for path in files):
            logging.info(f"{name}: finished, its tables have not changed")
            continue
        marker.unlink(missing_ok=True)
        for path in others if checksums != before.get(name) else ():
            path.unlink(missing_ok=True)
        tasks.append(Task(name, figure))

    def draw(task):
        style.save(task.figure.drawn(project, external), folder, task.label, args.format)
        logging.info(f"{task.label}: {folder / task.label}.{args.format[0]}")
    sharing.share_all(tasks, draw, sharing.n_cpus(), "figure", "drawn")
    record.write(marker, shown | {"formats": list(args.format)})


if __name__ == "__main__":
    parser = script.parser(__doc__)
    parser.add_argument("--external", type=Path, nargs="+", default=[], metavar="PROJECT",
                        help="cohorts that this project's models predicted (prediction/predict_cohort.py)")
    parser.add_argument("--format", nargs="+", default=["pdf", "png"], choices=style.FORMATS,
                        help="of the pictures, default %(default)s")
    script.run(main, parser.parse_args(), "figures")
