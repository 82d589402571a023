"""The states of the inputs, of the labels and of the folds."""
from slide_ex import checksums, gene_table
from slide_ex.ids import some, with_near_matches
from slide_ex.project import expression_file, targets_file
from slide_ex.stages.state import DONE, MISSING, State, absent, ended, not_needed

TARGET_OPTIONS = {"min_confidence": "--confidence", "min_nonzero_fraction": "--min-nonzero",
                  "min_variance": "--min-variance", "log_base": "--log-base"}  # of prepare_targets.py
DECONVOLUTION_OPTIONS = {"method": ("--method", "native"), "min_markers_found": ("--min-markers-found", .5),
                         "seed": ("--seed", 42), "log2": ("--log2", None), "batch": ("--batch", None),
                         "codefacs_args": ("--codefacs-args", "-e mem=80g,time=96:00:00 -n 15")}  # parameter, default
DECONVOLUTION_FLAGS = {"text": "--text", "clip_negative": "--clip-negative", "scale_fractions": "--scale-fractions",
                       "no_states": "--no-states"}
FILES_GIVEN = {"gene_map": "--gene-map", "fractions": "--fractions", "purity": "--purity", "genes": "--genes"}
SPLITS_OPTIONS = {"n_outer": ("--outer", 5), "n_inner": ("--inner", 5), "seed": ("--seed", 42),
                  "stratify": ("--stratify", None), "group_by": ("--group-by", None)}
TABLES = ("bulk_expression", "signature", "reference")
OF_STATES = ("reference_states", "reference_donors")    # that the native model reads where they are there


def is_to_predict_only(project, facts):
    """Whether nothing of a project is about expression: its slides can be predicted by the models of another."""
    expression = project / "deconvolution" / "expression.h5"
    return (facts.targets is None and not expression.is_file() and not (project / "targets.h5").is_file()
            and not any(gene_table.find(project, name) for name in ("bulk_expression", "signature")))


def inputs(project, facts):
    """Are the tables there, and do their ids agree?"""
    state = State("inputs", problems=list(facts.problems))
    if facts.metadata is None and facts.features is None and not state.problems:
        state.problems.append("metadata.csv is missing: see data/prepare_tcga.py and data/prepare_cohort.py")
    deconvolved_here = (project / "deconvolution" / "expression.h5").is_file() or facts.targets is None
    if is_to_predict_only(project, facts):
        state.notes.append("no bulk_expression.tsv[.gz]: no models can be trained here, slides can be predicted by "
                           "those of another project")
    elif facts.bulk is None and deconvolved_here:
        state.problems.append("bulk_expression.tsv[.gz] is missing: genes x patients, TPM")
    parts = []
    if facts.metadata is not None:
        parts.append(f"{len(facts.metadata)} slides of {facts.metadata['patient_id'].nunique()} patients")
    if facts.bulk is not None:
        parts.append(f"bulk of {len(facts.bulk)} patients")
    if facts.response is not None:
        known = {*facts.said.responders, *facts.said.non_responders}
        parts.append(f"response of {sum(one in known for one in facts.response.values())}")
    state.about = "; ".join(parts)
    compare_patients(state, facts)
    state.status = MISSING if state.problems else DONE
    return state


def compare_patients(state, facts):
    """Note which patients have slides and no bulk, no row in clinical.csv, or the reverse."""
    if facts.metadata is None:
        return
    with_slides = set(facts.metadata["patient_id"])
    for patients, article, what in ((facts.bulk, "", "bulk"), (facts.response, "a ", "row in clinical.csv")):
        if patients is None:
            continue
        patients = set(patients)
        if not with_slides & patients:
            state.problems.append(f"no patient has both slides and {article}{what}: "
                                  + with_near_matches(sorted(with_slides), sorted(patients), 3))
            continue
        for lonely, free, words in ((with_slides - patients, patients - with_slides, f"slides but no {what}"),
                                    (patients - with_slides, with_slides - patients, f"{article}{what} but no slide")):
            if lonely:
                state.notes.append(f"{len(lonely)} patients have {words}: "
                                   + with_near_matches(sorted(lonely), sorted(free), 3))


def deconvolution(project, facts):
    """Is deconvolution/ there, and made from the tables that are there now?"""
    state = State("deconvolution")
    if is_to_predict_only(project, facts):
        return not_needed("deconvolution", "no bulk expression")
    folder = project / "deconvolution"
    marker = folder / "expression.h5"
    tables = {name: gene_table.find(project, name) for name in TABLES}
    if facts.targets and (are_foreign(facts.targets) or not marker.is_file()):
        method = facts.targets["attributes"].get("deconvolution_method")
        return not_needed("deconvolution", f"targets.h5 is there ({method})")
    if not marker.is_file():
        if tables["signature"] is None:
            example = {"": " (breast: Wu et al. 2021, GSE176078)", "breast": " (Wu et al. 2021, GSE176078)"}
            state.problems.append("signature.tsv[.gz] is missing: deconvolution/make_signature.py makes it from "
                                  f"annotated single cells of {facts.said.tissue or 'the tissue'}"
                                  + example.get(facts.said.tissue.lower(), ""))
        return absent(state)
    try:
        made = expression_file.read_record(marker)
        cell_types, genes, patients = expression_file.read_names(marker)
    except ValueError as error:
        state.about = str(error)
        return ended(state, ["it is damaged"])
    state.about = f"{made['method']}, {len(cell_types)} cell types, {len(genes)} genes, {len(patients)} patients"
    if made["method"] == "native" and not made["parameters"].get("no_states"):
        tables |= {name: gene_table.find(project, name) for name in OF_STATES}
    changed = [name for name, table in tables.items()
               if (checksums.of_file(table) if table else None) != made["inputs"].get(name)]
    state.options = options_like(made)
    lacking = [name for name in ("estimated_cell_fractions.txt", "confidence_score.txt", "summary.csv", "report.pdf")
               if not (folder / name).is_file()]
    return lacks(state, lacking) if lacking and not changed else ended(state, changed)


def options_like(made):
    """Options that deconvolve as was done before (dict of parameters and inputs); PATH stands for files, of which only
    the content is known."""
    parameters, files = made["parameters"], made["inputs"]
    options = differing(DECONVOLUTION_OPTIONS, parameters)
    options += [option for name, option in DECONVOLUTION_FLAGS.items() if parameters.get(name)]
    options += [word for cell_type in parameters.get("malignant", ()) for word in ("--malignant", cell_type)]
    if parameters.get("method") == "codefacs":
        options += ["--codefacs-output" if "confidence_score.txt" in files else "--codefacs-dir", "PATH"]
    return options + files_given(files)


def differing(options, parameters):
    """Words for the parameters that differ from the defaults of the options, {parameter: (option, default)}."""
    return [word for name, (option, default) in options.items() if parameters.get(name, default) != default
            for word in (option, str(parameters[name]))]


def files_given(inputs):
    """Words for the files that were given by an option; PATH stands for them, of which only the content is known."""
    return [word for name, option in FILES_GIVEN.items() if name in inputs for word in (option, "PATH")]


def lacks(state, names):
    """The state of a stage of which some outputs are gone: the same command makes them again."""
    state.about += f"; not there: {some(names)}"
    return absent(state)


def are_foreign(targets):
    """Whether labels were not made from deconvolution/: by another tool (--labels), or imported."""
    return not targets["attributes"].get("deconvolution_sha256")


def targets(project, facts):
    """Is targets.h5 there, and made from the deconvolution that is there now?"""
    state = State("targets")
    if is_to_predict_only(project, facts):
        return not_needed("targets", "no bulk expression")
    if facts.targets is None:
        return absent(state)
    attributes = facts.targets["attributes"]
    state.about = f"{len(facts.targets['cell_types'])} cell types, {len(facts.targets['patients'])} patients"
    if are_foreign(facts.targets):
        return ended(state)
    made = expression_file.made_from(attributes, project / targets_file.NAME, targets_file.MADE_BY)
    parameters = made["parameters"]
    state.options = [word for name, option in TARGET_OPTIONS.items() if name in parameters
                     for word in (option, str(parameters[name]))]
    if parameters.get("bulk"):
        state.options.append("--bulk")
    state.options += files_given(made["inputs"])
    changed = [name for name, digest in made["inputs"].items()
               if (path := project / "deconvolution" / name).is_file() and checksums.of_file(path) != digest]
    if not changed and not (project / "deconvolution" / "target_genes.csv").is_file():
        return lacks(state, ["deconvolution/target_genes.csv"])
    return ended(state, changed)


def splits(project, facts):
    """Are the folds drawn, for patients that have slides with tissue and labels?"""
    state = State("splits")
    if is_to_predict_only(project, facts):
        return not_needed("splits", "no labels")
    if facts.targets is None or facts.features is None:
        return absent(state) if facts.splits is None else ended(state)
    slides = facts.features["slides"]
    with_tissue, labelled = set(slides.loc[slides["n_tiles"] > 0, "patient_id"]), set(facts.targets["patients"])
    usable = with_tissue & labelled
    if not usable:
        state.problems.append("no patient has both features and targets: "
                              + with_near_matches(sorted(with_tissue), sorted(labelled), 3))
    if facts.splits is None:
        return absent(state)
    patients = set(facts.splits["patients"])
    state.about = f"{facts.splits['n_outer']} x {facts.splits['n_inner']}, {len(patients)} patients"
    state.options = ["--import", "PATH"] if "imported" in facts.splits else differing(SPLITS_OPTIONS, facts.splits)
    lacking = sorted(patients - usable)
    if usable - patients:
        state.notes.append(f"{len(usable - patients)} patients with features and targets are in no fold: "
                           f"{some(sorted(usable - patients), 3)}")
    return ended(state, [f"{len(lacking)} patients of the folds lack features or targets ({some(lacking, 3)})"]
                 if lacking else [])
