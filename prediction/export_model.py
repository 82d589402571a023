"""Put the trained models of a project into one folder that another hospital can use, without patients or slides.

Reads   <project_path>/results/*_preds/, results/summary.csv and *_genes.csv if they are there, features.h5, targets.h5,
        splits.json, clinical.csv
Writes  <out folder>/bundle.json, <target>.safetensors, training_range.safetensors, README.md (format:
        prediction/transfer/model_bundle.py)

The models of a regression are linear, so their mean is one matrix; it predicts the same. --all-models adds the layers
of each, which predict_cohort.py needs for the spread over models and for --outer-only.

    python prediction/export_model.py demo demo_model --cell-types CAFs abundance
"""
import importlib.metadata
import logging
import platform
from pathlib import Path

from slide_ex import script

import pandas as pd

from slide_ex import ids, record, text_table
from slide_ex.project import description_file, features_file, splits_file, targets_file
from transfer import model_bundle, model_card, trained_models

PACKAGES = "numpy", "torch", "torchvision", "safetensors"  # whose versions are recorded
LABELS = "deconvolution_method", "log_base", "min_confidence"  # of targets.h5
OUT_OF_FOLD = "n_patients", "n_genes", "median_r", "n_r_above_0.40", "auc", "auc_low", "auc_high"  # of summary.csv


def main(args):
    description_file.write(args.project_path, args)
    name = args.name or args.project_path.resolve().name
    ids.refuse_unsafe([name], "the name", "--name")
    if args.out_folder.exists() and not model_bundle.is_part_of_one(args.out_folder):
        raise ValueError(f"{args.out_folder} is there and is no bundle: give a folder that is not there yet")
    models = trained_models.read_project(args.project_path, args.cell_types, args.partial, args.use)
    facts = {"name": name, "licence": args.licence, "all_models": args.all_models, "models_sha256": models.sha256,
             "training": training_facts(args.project_path, models)}
    if not args.overwrite and is_exported(args.out_folder, facts):
        logging.info(f"bundle: finished ({args.out_folder})")
        return
    with script.whole(args.out_folder) as part:
        part.mkdir()
        facts["versions"] = {"python": platform.python_version(),
                             **{package: importlib.metadata.version(package) for package in PACKAGES}}
        model_bundle.write(part, models, facts)
        content = model_bundle.read_content(part)
        (part / model_bundle.CARD).write_text(model_card.text(content))
        n_bytes = sum(path.stat().st_size for path in part.iterdir())
    logging.info(f"{len(models.targets)} targets, {n_bytes / 1e6:.1f} MB: {args.out_folder}")


def is_exported(folder, facts):
    """Whether the bundle is there; ValueError when it is of other models or options."""
    if not model_bundle.is_whole(folder):
        return False
    found = model_bundle.read_content(folder)
    record.refuse_other(folder, {name: found.get(name) for name in facts}, facts,
                        "export into another folder, or replace it with --overwrite")
    return True


def training_facts(project, models):
    """What the models learnt from and how well they did there, for bundle.json."""
    slides = features_file.read_slides(project / "features.h5")
    splits = splits_file.read(project / "splits.json")
    rows = slides.rows_of(splits["patients"])
    attributes = targets_file.read_attributes(project / targets_file.NAME)
    labels = {key: attributes[key] for key in LABELS
              if key in attributes and pd.notna(attributes[key])}  # NaN where an import did not know
    facts = {"n_patients": len(splits["patients"]), "n_slides": len(rows), "n_tiles": int(slides.n_tiles[rows].sum()),
             "n_outer": splits["n_outer"], "n_inner": splits["n_inner"], "labels": labels, "out_of_fold": {}}
    if tissue := description_file.read(project).tissue:
        facts["tissue"] = tissue
    if (project / "results" / "summary.csv").is_file():
        table = text_table.read_results(project / "results" / "summary.csv", "prediction/collect_results.py")
        for _, row in table[(table["model"] == "slide-ex") & table["target"].isin(list(models.targets))].iterrows():
            facts["out_of_fold"][row["target"]] = {
                key: int(row[key]) if key.startswith("n_") else float(row[key])
                for key in OUT_OF_FOLD if key in row and pd.notna(row[key])}
    return facts


if __name__ == "__main__":
    parser = script.parser(__doc__)
    parser.add_argument("out_folder", type=Path, help="folder to make")
    parser.add_argument("--name", help="of the model, under which predictions are filed; default the project's folder")
    parser.add_argument("--cell-types", nargs="+", default=[], metavar="NAME",
                        help="cell types, abundance or direct; default all that are trained")
    trained_models.add_arguments(parser)
    parser.add_argument("--all-models", action="store_true", help="add the layers of every model")
    description_file.add_tissue_option(parser)
    parser.add_argument("--licence", default="not stated", help="of the weights, default %(default)s")
    parser.add_argument("--partial", action="store_true", help="export although models are missing")
    script.run(main, parser.parse_args(), "export_model")
