"""The one table of the stages: which script makes what, from what, and what it asks of a cluster.

Everything that knows the stages reads it here: what "finished" means for a script (its outputs), check_project.py and
submit_slurm.py (project_states.py), the demo, the table of files in data/README.md.

Outputs are paths from the project folder; <Slide.ID>, <cell type>, <outer>, <inner>, <name> and <setting> stand for the
names of units. The output that has the record of what the others were made from is the last one: scripts write it last
and take it away first.
"""
import re
from dataclasses import dataclass
from pathlib import Path

from slide_ex.project import model_folder

ROOT = Path(__file__).resolve().parents[2]    # of the repository
PROJECT, SLIDE, MODEL = "project", "slide", "model"   # what a stage is run for
PLACEHOLDER = re.compile(r"<([^>]+)>")
TO_KEYWORD = str.maketrans(" .", "__")           # <Slide.ID> takes the value slide_id


@dataclass(frozen=True)
class Needs:
    """What one task asks of a cluster."""
    minutes: int         # time limit: of the stage, or for each slide or model of a task
    memory_gb: int
    cpus: int
    gres: str = ""       # generic resources, as Slurm names GPUs


@dataclass(frozen=True)
class Stage:
    """One script and what it makes."""
    name: str
    script: str
    outputs: tuple           # that it always makes, the one with the record last
    after: tuple = ()        # stages whose outputs it reads
    optional: tuple = ()     # outputs that depend on options or on what there is
    made_for: str = PROJECT
    needs: Needs | None = None   # None: it is not a step of the pipeline, but run when it is asked for


def of_models(target, outputs, model=model_folder.NETWORK):
    """Outputs of a training script: the files of one model."""
    folder = model_folder.folder(model_folder.root(Path("results"), model), target, "<outer>", "<inner>")
    return tuple(str(folder / name) for name in outputs)


def of_low_rank_models(target):
    """What a training script writes with --model low-rank, in the place of a network or beside it."""
    return of_models(target, model_folder.files(target, model=model_folder.LOW_RANK), model_folder.LOW_RANK)


PIPELINE = (
    Stage("deconvolution", "deconvolution/1main_deconvolution.py",
          ("deconvolution/estimated_cell_fractions.txt", "deconvolution/confidence_score.txt",
           "deconvolution/summary.csv", "deconvolution/report.pdf", "deconvolution/expression.h5"),
          optional=("deconvolution/expression_<cell type>.txt",), needs=Needs(240, 32, 8)),
    Stage("targets", "deconvolution/prepare_targets.py", ("deconvolution/target_genes.csv", "targets.h5"),
          optional=("deconvolution/summary.csv",), after=("deconvolution",), needs=Needs(30, 16, 1)),
    Stage("slides", "slide_processing/1main_processing.py", ("mask/<Slide.ID>.pdf", "features/<Slide.ID>.h5"),
          optional=("logs/slide_processing.csv",), made_for=SLIDE, needs=Needs(15, 32, 8, "gpu:1")),
    Stage("masks", "slide_processing/collect_mask.py", ("mask.pdf",), after=("slides",), needs=Needs(60, 8, 1)),
    Stage("features", "slide_processing/collect_features.py", ("tile_counts.pdf", "features.h5"), after=("slides",),
          needs=Needs(120, 8, 1)),
    Stage("splits", "prediction/make_splits.py", ("splits.json",), after=("features", "targets"),
          needs=Needs(10, 8, 1)),
    Stage("expression", "prediction/1main_cs_exp_regression.py",
          of_models("<cell type>", model_folder.files("<cell type>")), after=("features", "targets", "splits"),
          optional=of_low_rank_models("<cell type>"), made_for=MODEL, needs=Needs(15, 16, 4)),
    Stage("abundance", "prediction/1main_abundance_regression.py",
          of_models("abundance", model_folder.files("abundance")), after=("features", "targets", "splits"),
          optional=of_low_rank_models("abundance"), made_for=MODEL, needs=Needs(15, 16, 4)),
    Stage("direct", "prediction/1main_direct.py", of_models("direct", model_folder.files("direct")),
          after=("features", "targets", "splits"), optional=of_low_rank_models("direct"), made_for=MODEL,
          needs=Needs(15, 16, 4)),
    Stage("results", "prediction/collect_results.py",
          ("results/summary.csv", "results/missing_slides.csv", "results/predictions.h5"),
          optional=("results/<cell type>_genes.csv", "results/abundance.csv", "results/direct.csv"),
          after=("expression", "abundance", "direct"), needs=Needs(120, 16, 4)),
    Stage("figures", "prediction/figures.py", ("figures/figures.json",),
          optional=("figures/<name>.pdf", "figures/<name>.png", "figures/<name>.svg", "figures/<name>.txt"),
          after=("results",), needs=Needs(20, 8, 1)))

ON_DEMAND = (
    Stage("enrichment", "prediction/enrich_genes.py", ("results/enrichment.csv", "results/enrichment.json"),
          after=("results",)),
    Stage("predictions", "prediction/predict_cohort.py",
          ("predictions/<name>/slides.csv", "predictions/<name>/predictions.h5"),
          optional=("predictions/<name>/<cell type>_genes.csv", "predictions/<name>/abundance.csv",
                    "predictions/<name>/direct.csv", "predictions/<name>/summary.csv",
                    "predictions/<name>/overlap.csv", "predictions/<name>/<cell type>.csv",
                    "predictions/<name>/abundance_predictions.csv", "predictions/<name>/direct_predictions.csv",
                    "predictions/<name>/<cell type>_intervals.csv", "predictions/<name>/abundance_intervals.csv"),
          after=("features",)),
    Stage("response", "prediction/predict_response.py", ("response/<setting>/settings.json",),
          optional=("response/<setting>/comparison.csv", "response/<setting>/scores.csv",
                    "response/<setting>/new_patients.csv"), after=("results",)),
    Stage("survival", "prediction/predict_response.py", ("survival/<setting>/settings.json",),
          optional=("survival/<setting>/comparison.csv", "survival/<setting>/scores.csv",
                    "survival/<setting>/kaplan_meier.csv", "survival/<setting>/new_patients.csv"), after=("results",)),
    Stage("maps", "prediction/map_slide.py",
          ("maps/<Slide.ID>/<name>.png", "maps/<Slide.ID>/<name>.pdf", "maps/<Slide.ID>/<name>.csv",
           "maps/<Slide.ID>/<name>.geojson", "maps/<Slide.ID>/<name>.json"),
          optional=("maps/<Slide.ID>/<name>.h5ad",), after=("expression", "abundance")),
    Stage("spatial truth", "prediction/validate_spatial.py",
          ("spatial/<Slide.ID>/maps.png", "spatial/<Slide.ID>/maps.pdf", "spatial/<Slide.ID>/spatial.json"),
          optional=("spatial/<Slide.ID>/genes.csv", "spatial/<Slide.ID>/cell_types.csv"),
          after=("expression", "abundance")),
    Stage("report", "prediction/report.py", ("report.html",), after=("results", "figures")),
    Stage("demo summary", "data/summarise_demo.py", ("results/demo_summary.csv",),
          optional=("results/demo_models.csv", "results/demo_response.csv", "predictions/<name>/demo_summary.csv"),
          after=("results",)))

PREPARATIONS = (
    Stage("TCGA", "data/prepare_tcga.py", ("metadata.csv", "bulk_expression.tsv.gz", "preparation.csv",
                                           "preparation.json"),
          optional=("slides/", "clinical.csv", "download_again.txt")),
    Stage("cohort", "data/prepare_cohort.py", ("metadata.csv", "preparation.csv", "preparation.json"),
          optional=("slides/", "bulk_expression.tsv.gz", "clinical.csv")),
    Stage("original project", "data/import_original.py", ("metadata.csv", "targets.h5", "features.h5",
                                                          "preparation.json"),
          optional=("splits.json", "clinical.csv", *of_models("<cell type>", model_folder.IMPORTED),
                    *of_models("abundance", model_folder.IMPORTED), *of_models("direct", model_folder.IMPORTED))),
    Stage("imported features", "data/import_features.py", ("features.h5",)),
    Stage("signature", "deconvolution/make_signature.py",
          ("signature.tsv.gz", "reference.tsv.gz", "signature_choice.csv", "signature.json"),
          optional=("reference_states.tsv.gz", "reference_donors.tsv.gz")),
    Stage("demo cohort", "data/make_demo_cohort.py",
          ("metadata.csv", "bulk_expression.tsv.gz", "signature.tsv.gz", "reference.tsv.gz", "clinical.csv",
           "gene_sets.gmt", "truth/expression.h5", "truth/fractions.tsv", "truth/states.csv",
           "truth/parameters.json"), optional=("slides/",)))

BY_NAME = {stage.name: stage for stage in (*PIPELINE, *ON_DEMAND, *PREPARATIONS)}


def filled(pattern, values):
    """The paths that a pattern stands for: each placeholder takes its value, or each of a list of values."""
    found = PLACEHOLDER.search(pattern)
    if not found:
        return [pattern]
    of_name = values[found[1].lower().translate(TO_KEYWORD)]
    return [path for value in ([of_name] if isinstance(of_name, (str, int)) else of_name)
            for path in filled(pattern[:found.start()] + str(value) + pattern[found.end():], values)]


def outputs(project, stage_name, /, also=(), **values):
    """Paths of the outputs of a stage, the one with the record last.

    Parameters
    ----------
    also : patterns among the stage's optional outputs that belong to it here
    values : for the placeholders: slide_id, cell_type, outer, inner, name, setting; a list stands for all of them
    """
    stage = BY_NAME[stage_name]
    assert set(also) <= set(stage.optional), f"{stage_name} has no output {set(also) - set(stage.optional)}"
    return [project / path for pattern in (*also, *stage.outputs) for path in filled(pattern, values)]


def ancestors(name):
    """Names of all stages before a stage."""
    after = BY_NAME[name].after
    return set(after).union(*map(ancestors, after))


def of_target(target):
    """Name of the stage that trains the models of a target."""
    return target if target in model_folder.FOLDERS else "expression"
