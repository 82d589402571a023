"""The README.md of a bundle: what its bundle.json says, for a person who has to decide whether to use it."""
from evaluation import intervals

PREPARATION = ("encoder", "encoder_version", "weights", "weights_sha256", "tile_px", "magnification", "normalisation",
               "precision")
SELECTION = ("drop", "mask_class")      # which tiles were left out, said where some were


def text(content):
    """The model card of a bundle from its bundle.json, a dict."""
    training = content["training"]
    return "\n".join([
        f"# {content['name']}", "",
        "Predicts expression in cell types, their abundance or the response to treatment from H&E slides"
        + (f" (tissue: {training['tissue']})" if training.get("tissue") else "; of which tissue was not recorded")
        + ", by the method of Wang et al. 2026 (npj Precision Oncology, doi 10.1038/s41698-026-01419-9).", "",
        "**For research, not for decisions on patients.** The labels of expression and abundance were not measured in "
        "cell types: they are bulk RNA-seq, deconvolved.", "",
        f"Licence of the weights: {content['licence']}.", "",
        "## Use", "",
        "    python prediction/predict_cohort.py <project_path> --models <this folder>", "",
        "The project needs `features.h5` made in exactly this way; other features are refused:", "",
        *(f"- {key}: {content['features'].get(key, 'not recorded')}" for key in PREPARATION),
        *(f"- {key}: {chosen}" for key in SELECTION if (chosen := content["features"].get(key))), "",
        "`slides.csv` of the predictions flags slides that are unlike those of the training cohort. The flag knows "
        "only the mean feature of a slide: a slide without it may still be predicted wrongly.", "",
        "## Training", "",
        f"{training['n_patients']} patients, {training['n_slides']} slides, {training['n_tiles']} tissue tiles; "
        f"{training['n_outer']} x {training['n_inner']} nested folds by patient.", "",
        f"Labels: {listed(training['labels']) or 'nothing recorded'}.", "",
        "Out of fold, that is in patients of this cohort whom the models had not seen:", "",
        "| target | models | outputs | patients | median R | outputs with R > 0.4 | AUC (95 % interval) |",
        "|---|---|---|---|---|---|---|", *(row(name, content) for name in content["targets"]), "",
        *intervals_of(content), "On other scanners, stains and populations it can do worse: with labels of your own, "
        "`summary.csv` of the predictions tells how much.", "",
        "## Files", "",
        "Weights are safetensors and contain no code; `bundle.json` has the order of the outputs and the SHA-256 of "
        "each file. It also has the SHA-256 of the ids of the training patients, by which cohorts that share patients "
        "are refused; ids that can be guessed can be confirmed by it.", "",
        *(f"- `{name}`: {shape(name, content)}" for name in content["files"]), "",
        f"Exported with {listed(content['versions'])}.", ""])


def intervals_of(content):
    """Lines about the intervals of the predictions."""
    known = [name for name, target in content["targets"].items() if intervals.NAME in target]
    if not known:
        return []
    return [f"Intervals ({', '.join(known)}): prediction +- `{intervals.NAME}` of `bundle.json` holds the label of "
            f"about {intervals.COVERAGE:.0%} of further patients of this population, by the residuals above. Of other "
            "hospitals it promises nothing; with labels of your own, the predictions' tables count what is inside.", ""]


def listed(facts):
    """A dict in a sentence."""
    return ", ".join(f"{key} {value}" for key, value in facts.items())


def row(name, content):
    """A row of the table of targets; results that were not collected are shown as not known."""
    target, known = content["targets"][name], content["training"]["out_of_fold"].get(name, {})
    auc = "{auc:.2f} ({auc_low:.2f}-{auc_high:.2f})".format(**known) if "auc" in known else "-"
    cells = [name, f"{target['n_models']}{' (some missing)' if target['missing'] else ''}", len(target["outputs"]),
             known.get("n_patients", "not known"), f"{known['median_r']:.2f}" if "median_r" in known else "-",
             f"{known['n_r_above_0.40']:.0f}" if "median_r" in known else "-", auc]
    return f"| {' | '.join(map(str, cells))} |"


def shape(name, content):
    """What a file of weights holds, in words."""
    target = content["targets"].get(name.removesuffix(".safetensors"))
    if target is None:
        return "what the distance to the training slides needs"
    parts = []
    if name != "direct.safetensors":
        parts.append("the mean of all models as one matrix")
    if target["folds"]:
        parts.append("the layers of each model")
    return ", ".join(parts)
