"""What a report says of a project: its tables, its cohort in numbers, its settings, and the checksum of all of it."""
import importlib.metadata
import json
import platform

import h5py
import pandas as pd

from drawing import figure_files
from slide_ex.project import cohort_files

TABLES = ("results/summary.csv", "results/abundance.csv", "results/direct.csv", "results/enrichment.csv",
          "response/*/comparison.csv", "predictions/*/summary.csv", "predictions/*/abundance.csv",
          "predictions/*/direct.csv", "predictions/*/overlap.csv", "predictions/*/slides.csv")
GENES = "results/*_genes.csv"
GENE_COLUMNS = ["cell_type", "gene", "n_patients", "pearson_r", "slope", "p_benjamini_hochberg", "confidence"]
CONFIGS = "results/*_preds/result_*/config.json"
INPUTS = (*TABLES, GENES, CONFIGS, "metadata.csv", "clinical.csv", "splits.json", "logs/slide_processing.csv",
          "features.h5", "figures/figures.json", "figures/*.png", "maps/*/*.json")
PACKAGES = "numpy", "pandas", "scipy", "scikit-learn", "h5py", "matplotlib", "torch", "openslide-python"


def read_tables(project):
    """Tables of results, dict of path relative to the project to DataFrame; those of all cell types' genes as one."""
    tables = {}
    for pattern in TABLES:
        for path in sorted(project.glob(pattern)):
            tables[path.relative_to(project).as_posix()] = pd.read_csv(path)
    genes = [pd.read_csv(path, dtype={"gene": str}, keep_default_na=False, na_values=[""]).assign(
        cell_type=path.name.removesuffix("_genes.csv")) for path in sorted(project.glob(GENES))]
    if genes:
        genes = pd.concat(genes)
        tables[GENES] = genes[[name for name in GENE_COLUMNS if name in genes]]
    return {path: table for path, table in tables.items() if len(table)}


def of_cohort(project, slides, features):
    """The cohort in numbers, list of (name, value)."""
    counts = slides["status"].value_counts()
    facts = [("slides", f"{len(slides)} ({', '.join(f'{n} {status}' for status, n in counts.items())})"),
             ("patients", slides["patient_id"].nunique())]
    if features:
        tiles = slides["tiles"].dropna()
        facts += [("tissue tiles", f"{tiles.sum():,.0f}; {tiles.min():.0f} to {tiles.max():.0f} a slide, median "
                                   f"{tiles.median():.0f}")]
        facts += [(name, features.attributes[name]) for name in ("encoder", "weights", "normalisation", "precision",
                                                                 "tile_px", "magnification")
                  if name in features.attributes]
    if (project / "targets.h5").is_file():
        with h5py.File(project / "targets.h5") as file:
            facts.append(("patients with labels", len(file["patient_ids"])))
            facts += [(f"genes of {name}", len(group["genes"])) for name, group in file["expression"].items()]
    if (project / "clinical.csv").is_file():
        responses = pd.Series(cohort_files.read_clinical(project / "clinical.csv", "Response")).replace("", "not known")
        facts.append(("response", ", ".join(f"{n} {value}" for value, n in responses.value_counts().items())))
    return facts


def settings(project, features):
    """What decided the features, the labels and the folds, and the versions of today, list of (name, value)."""
    found = {f"features: {name}": value for name, value in features.attributes.items()} if features else {}
    if (project / "targets.h5").is_file():
        with h5py.File(project / "targets.h5") as file:
            found |= {f"targets: {name}": cohort_files.plain(value) for name, value in sorted(file.attrs.items())}
    if (project / "splits.json").is_file():
        splits = json.loads((project / "splits.json").read_text())
        found |= {f"folds: {name}": value for name, value in splits.items() if name not in ("patients", "outer")}
    found["version: python"] = platform.python_version()
    return list((found | {f"version: {name}": importlib.metadata.version(name) for name in PACKAGES}).items())


def settings_of_models(project):
    """One row a target: number of models and what their config.json have in common; None without models."""
    configs = pd.DataFrame([json.loads(path.read_text()) for path in sorted(project.glob(CONFIGS))])
    if configs.empty:
        return None
    shown = [name for name in configs if name not in ("target", "outer", "inner") and not name.endswith("_sha256")]
    groups = configs.groupby("target")
    return pd.concat([groups.size().rename("models"), groups[shown].first()], axis=1).reset_index()


def checksum(project, slides, *shown):
    """SHA-256 of everything that a report shows, without reading slides or tile features."""
    files = {path.relative_to(project).as_posix(): figure_files.checksum(path)
             for pattern in INPUTS for path in sorted(project.glob(pattern))}
    paths = [project / "slides" / filename for filename in slides["filename"]]
    sizes = [path.stat().st_size if path.is_file() else None for path in paths]
    return cohort_files.checksum(files, sizes, *shown)
