"""How far a project is: one Stage for each step of the pipeline, with what stands in its way and the command to run."""
import json

from inputs.preparation import checksum
from slide_ex.ids import some, with_near_matches
from slide_ex.stages import project_facts, slide_stages, training_stages
from slide_ex.stages.pipeline_stage import Facts, Stage, ended, pass_down

TARGET_OPTIONS = {"min_confidence": "--confidence", "min_nonzero_fraction": "--min-nonzero",
                  "min_variance": "--min-variance", "log_base": "--log-base"}  # of prepare_targets.py


def of_project(project):
    """All stages in the order in which they run."""
    inputs = Stage("inputs")
    readers = {"metadata": project_facts.read_metadata, "response": project_facts.read_response,
               "targets": project_facts.read_targets, "features": project_facts.read_features,
               "splits": project_facts.read_splits,
               "bulk": lambda project: (path := project_facts.find_table(project, "bulk_expression"))
               and project_facts.read_columns(path)}
    found = {}
    for name, read in readers.items():
        try:
            found[name] = read(project)
        except ValueError as error:
            found[name] = None
            inputs.problems.append(str(error))
    metadata = found["metadata"]
    facts = Facts(made=None if metadata is None else project_facts.read_slide_features(project, metadata), **found)
    check_inputs(inputs, project, facts)
    return pass_down([inputs, deconvolution(project, facts), targets(project, facts),
                      slide_stages.slides(project, facts), slide_stages.collected(project, facts), folds(facts),
                      *training_stages.models(project, facts), tables(project, facts), figures(project)])


def check_inputs(stage, project, facts):
    """Fill the stage of the inputs: are they there, and do their ids agree?"""
    imported = facts.targets is not None and facts.targets["attributes"].get("deconvolution_method") == "imported"
    if facts.metadata is None and facts.features is None and not stage.problems:
        stage.problems.append("metadata.csv is missing: see data/prepare_tcga.py and data/prepare_cohort.py")
    if facts.bulk is None and not imported:
        stage.problems.append("bulk_expression.tsv[.gz] is missing: genes x patients, TPM")
    parts = []
    if facts.metadata is not None:
        parts.append(f"{len(facts.metadata)} slides of {facts.metadata['patient_id'].nunique()} patients")
    if facts.bulk is not None:
        parts.append(f"bulk of {len(facts.bulk)} patients")
    if facts.response is not None:
        parts.append(f"response of {facts.response.isin(project_facts.RESPONSES).sum()}")
    stage.about, stage.state = "; ".join(parts), "missing" if stage.problems else "done"
    if facts.metadata is None or facts.bulk is None:
        return
    with_slides, with_bulk = set(facts.metadata["patient_id"]), set(facts.bulk)
    if not with_slides & with_bulk:
        stage.state = "missing"
        stage.problems.append("no patient has both slides and bulk: "
                              + with_near_matches(sorted(with_slides), sorted(with_bulk), 3))
        return
    for lonely, other, what in ((with_slides - with_bulk, with_bulk, "slides but no bulk"),
                                (with_bulk - with_slides, with_slides, "bulk but no slide")):
        if lonely:
            free = sorted(other - (with_slides & with_bulk))
            stage.notes.append(f"{len(lonely)} patients have {what}: {with_near_matches(sorted(lonely), free, 3)}")
    if facts.response is not None:
        unknown = set(facts.response.index) - with_slides
        if unknown:
            stage.notes.append(f"{len(unknown)} patients of clinical.csv have no slide: {some(sorted(unknown), 3)}")


def deconvolution(project, facts):
    """Is deconvolution/expression.h5 there, and made from the tables that are there now?"""
    stage = Stage("deconvolution", script="deconvolution/1main_deconvolution.py")
    path = project / "deconvolution" / "expression.h5"
    tables = {name: project_facts.find_table(project, name) for name in ("bulk_expression", "signature", "reference")}
    if not path.is_file():
        if facts.targets:
            method = facts.targets["attributes"].get("deconvolution_method")
            return Stage("deconvolution", "not needed", f"targets.h5 is there ({method})")
        if tables["signature"] is None:
            stage.problems.append("signature.tsv[.gz] is missing: deconvolution/make_signature.py makes it from "
                                  "annotated single cells of the tissue (breast: Wu et al. 2021, GSE176078)")
        return stage
    with project_facts.open_h5(path) as file:
        attributes = project_facts.plain_attributes(file)
        stage.about = (f"{attributes['method']}, {len(file['cell_types'])} cell types, {len(file['genes'])} genes, "
                       f"{len(file['patient_ids'])} patients")
    made_from = json.loads(attributes["inputs"])
    changed = [name for name, table in tables.items() if (checksum(table) if table else None) != made_from.get(name)]
    if changed:
        stage.notes.append(f"it was made with {attributes.get('parameters', 'no')} parameters: give the same options")
    return ended(stage, changed)


def targets(project, facts):
    """Is targets.h5 there, and made from the deconvolution that is there now?"""
    stage = Stage("targets", script="deconvolution/prepare_targets.py")
    if facts.targets is None:
        return stage
    attributes = facts.targets["attributes"]
    made_from = json.loads(attributes.get("inputs", "{}"))
    changed = [name for name, digest in made_from.items()
               if (path := project / "deconvolution" / name).is_file() and checksum(path) != digest]
    stage.about = f"{len(facts.targets['cell_types'])} cell types, {len(facts.targets['patients'])} patients"
    parameters = json.loads(attributes.get("parameters", "{}"))
    stage.options = " ".join([f"{option} {parameters[name]}" for name, option in TARGET_OPTIONS.items()
                              if name in parameters] + ["--bulk"] * bool(parameters.get("bulk")))
    return ended(stage, changed)


def folds(facts):
    """Are the folds drawn, for patients that have slides with tissue and labels?"""
    stage = Stage("folds", script="prediction/make_splits.py")
    if facts.targets is None or facts.features is None:
        return stage
    slides = facts.features["slides"]
    with_tissue, labelled = set(slides.loc[slides["n_tiles"] > 0, "patient_id"]), set(facts.targets["patients"])
    usable = with_tissue & labelled
    if not usable:
        stage.problems.append("no patient has both features and targets: "
                              + with_near_matches(sorted(with_tissue), sorted(labelled), 3))
    if facts.splits is None:
        return stage
    patients = set(facts.splits["patients"])
    stage.about = f"{facts.splits['n_outer']} x {facts.splits['n_inner']}, {len(patients)} patients"
    lacking = sorted(patients - usable)
    if usable - patients:
        stage.notes.append(f"{len(usable - patients)} patients with features and targets are in no fold: "
                           f"{some(sorted(usable - patients), 3)}")
    return ended(stage, [f"{len(lacking)} patients of the folds lack features or targets ({some(lacking, 3)})"]
                 if lacking else [])


def tables(project, facts):
    """Are the tables there, and younger than the models?"""
    stage, results = Stage("tables", script="prediction/collect_results.py"), project / "results"
    if not (results / "summary.csv").is_file() or not (results / "predictions.h5").is_file():
        return stage
    age = (results / "predictions.h5").stat().st_mtime
    younger = [path.parent for path in results.glob("*_preds/result_*/config.json") if path.stat().st_mtime > age]
    stage.about = "results/summary.csv"
    return ended(stage, [f"{len(younger)} models are younger"] if younger else [])


def figures(project):
    """Are the figures there, and drawn from the tables that are there now?"""
    stage, record = Stage("figures", script="prediction/figures.py"), project / "figures" / "figures.json"
    if not record.is_file():
        return stage
    drawn = {name: digest for tables in json.loads(record.read_text()).values() for name, digest in tables.items()}
    changed = [name for name, digest in drawn.items() if not (table := project / name).is_file()
               or name != "features.h5" and checksum(table) != digest]  # of which slides and tile counts are drawn
    stage.about = "figures/*.pdf"
    stage = ended(stage, changed)
    stage.options = ""  # the script sees itself that tables have changed
    return stage
