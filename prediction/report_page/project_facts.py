"""What a report says of a project: its tables, its cohort in numbers, its settings, and the checksum of all of it."""
import importlib.metadata
import platform

import pandas as pd

from slide_ex import checksums, text_table
from slide_ex.project import clinical_file, description_file, model_folder, predictions_file, splits_file, targets_file
from slide_ex.stages.result_states import checksum as checksum_of_file

TABLES = ("deconvolution/target_genes.csv", "results/summary.csv", "results/abundance.csv", "results/direct.csv",
          "results/enrichment.csv", "response/*/comparison.csv", "survival/*/comparison.csv",
          "predictions/*/summary.csv", "predictions/*/abundance.csv", "predictions/*/direct.csv",
          "predictions/*/overlap.csv",
          "predictions/*/slides.csv")
GENES = f"results/*{predictions_file.GENES}.csv"
GENE_COLUMNS = ["cell_type", "gene", "n_patients", "pearson_r", "slope", "p_benjamini_hochberg", "confidence"]
CONFIGS = "results/*_preds/result_*/config.json", "results/low_rank/*_preds/result_*/config.json"
INPUTS = (*TABLES, GENES, *CONFIGS, "metadata.csv", "clinical.csv", "project.json", "splits.json",
          "logs/slide_processing.csv", "features.h5", "figures/figures.json", "figures/*.png", "figures/*.svg",
          "figures/*.txt", "maps/*/*.json")
PACKAGES = "numpy", "pandas", "scipy", "scikit-learn", "h5py", "matplotlib", "torch", "openslide-python"


def read_tables(project):
    """Tables of results, dict of path relative to the project to DataFrame; those of all cell types' genes as one."""
    tables = {}
    for pattern in TABLES:
        for path in sorted(project.glob(pattern)):
            tables[path.relative_to(project).as_posix()] = text_table.read_results(path, "the script that wrote it")
    genes = [text_table.read_results(path, "prediction/collect_results.py").assign(cell_type=cell_type)
             for cell_type, path in predictions_file.tables_of_genes(project / "results").items()]
    if genes:
        genes = pd.concat(genes)
        tables[GENES] = genes[[name for name in GENE_COLUMNS if name in genes]]
    return {path: table for path, table in tables.items() if len(table)}


def of_cohort(project, slides, features):
    """The cohort in numbers, list of (name, value)."""
    counts, said = slides["status"].value_counts(), description_file.read(project)
    facts = [("tissue", said.tissue)] if said.tissue else []
    facts += [("slides", f"{len(slides)} ({', '.join(f'{n} {status}' for status, n in counts.items())})"),
              ("patients", slides["patient_id"].nunique())]
    if features:
        tiles = slides["tiles"].dropna()
        facts += [("tissue tiles", f"{tiles.sum():,.0f}; {tiles.min():.0f} to {tiles.max():.0f} a slide, median "
                                   f"{tiles.median():.0f}")]
        facts += [(name, features.attributes[name]) for name in ("encoder", "weights", "normalisation", "precision",
                                                                 "tile_px", "magnification")
                  if name in features.attributes]
    if (project / "targets.h5").is_file():
        path = project / targets_file.NAME
        facts.append(("patients with labels", len(targets_file.read_patients(path))))
        facts += [(f"genes of {name}", len(targets_file.read_confidence(path, name)))
                  for name in targets_file.read_cell_types(path)]
    if clinical_file.has_responses(project / "clinical.csv"):
        responses = pd.Series(clinical_file.read_responses(project / "clinical.csv")).replace("", "not known")
        facts.append(("response", ", ".join(f"{n} {value}" for value, n in responses.value_counts().items())))
    return facts


def settings(project, features):
    """What decided the features, the labels and the folds, and the versions of today, list of (name, value)."""
    found = {f"features: {name}": value for name, value in features.attributes.items()} if features else {}
    if (project / "targets.h5").is_file():
        attributes = targets_file.read_attributes(project / targets_file.NAME)
        found |= {f"targets: {name}": value for name, value in attributes.items()}
    if (project / "splits.json").is_file():
        splits = splits_file.read(project / "splits.json")
        found |= {f"folds: {name}": value for name, value in splits.items() if name not in ("patients", "outer")}
    found["version: python"] = platform.python_version()
    return list((found | {f"version: {name}": importlib.metadata.version(name) for name in PACKAGES}).items())


def settings_of_models(project):
    """One row a target and kind of model: number of models, what their config.json share; None without models."""
    configs = pd.DataFrame([model_folder.read_config(path.parent, model_folder.target_of(path.parts[-3]))
                            for pattern in CONFIGS for path in sorted(project.glob(pattern))])
    if configs.empty:
        return None
    of_folds = ("target", "model", "outer", "inner")
    shown = [name for name in configs if name not in of_folds and not name.endswith("_sha256")]
    configs["model"] = [model_folder.model_of({"model": model} if isinstance(model, str) else {})
                        for model in configs.get("model", [None] * len(configs))]
    groups = configs.groupby(["target", "model"])
    return pd.concat([groups.size().rename("models"), groups[shown].first()], axis=1).reset_index()


def checksum(project, slides, *shown):
    """SHA-256 of everything that a report shows, without reading slides or tile features."""
    files = {path.relative_to(project).as_posix(): checksum_of_file(path)
             for pattern in INPUTS for path in sorted(project.glob(pattern))}
    paths = [project / "slides" / filename for filename in slides["filename"]]
    sizes = [path.stat().st_size if path.is_file() else None for path in paths]
    return checksums.of_content(files, sizes, *shown)
