"""The stages of the three training scripts: which models are there, and were they trained on what is there now?"""
import json

from slide_ex.ids import some
from slide_ex.stages import project_facts, training_checksums
from slide_ex.stages.pipeline_stage import Stage

OPTIONS = ("pooling", "hidden", "max_epochs", "patience", "seed", "keep")  # of the scripts, as config.json names them


def models(project, facts):
    """One stage for each of the three training scripts."""
    stages = {name: Stage(name, script=f"prediction/{script}") for name, script in (
        ("expression", "1main_cs_exp_regression.py"), ("abundance", "1main_abundance_regression.py"),
        ("direct", "1main_direct.py"))}
    hindrance = without_direct(facts)
    wrong = sorted(set(facts.response) - {*project_facts.RESPONSES, ""}) if facts.response is not None else []
    if wrong:
        stages["direct"].problems.append(f"clinical.csv, column Response: {some(wrong, 3)} is not pCR, RD or empty; "
                                         "write one of these")
    elif hindrance:
        stages["direct"] = Stage("direct", "not needed", hindrance)
    if facts.targets is None or facts.features is None or facts.splits is None:
        return list(stages.values())
    now = {"features_sha256": training_checksums.of_features(project / "features.h5", facts.features["attributes"]),
           "splits_sha256": training_checksums.checksum(facts.splits)}
    n_folds = facts.splits["n_outer"] * facts.splits["n_inner"]
    names = {"expression": facts.targets["cell_types"], "abundance": ["abundance"],
             "direct": [] if hindrance else ["direct"]}
    for kind, targets_ in names.items():
        counts = {}
        stages[kind].options = options_like(project, targets_)
        for name in targets_:
            labels = (training_checksums.of_response(facts.response) if name == "direct" else
                      training_checksums.of_target(project / "targets.h5", name))
            counts[name] = trained(project, name, now | {"targets_sha256": labels}, facts.splits)
        if counts:
            fill(stages[kind], counts, n_folds)
    return list(stages.values())


def without_direct(facts):
    """Why the direct models cannot be trained; "" where they can."""
    if facts.response is None or not facts.response.isin(project_facts.RESPONSES).any():
        return "no response in clinical.csv"
    if facts.splits is None or facts.features is None:
        return ""
    slides = facts.features["slides"]
    response = facts.response[facts.response.index.isin(slides.loc[slides["n_tiles"] > 0, "patient_id"])]
    for k, outer in enumerate(facts.splits["outer"]):
        for i, inner in enumerate(outer["inner"]):
            for part, patients in inner.items():
                if not set(project_facts.RESPONSES) <= set(response[response.index.isin(patients)]):
                    return (f"fold {k} {i} has no pCR or no RD in {part}: more responses are needed, or "
                            "make_splits.py --stratify response --overwrite before any training")
    return ""


def options_like(project, names):
    """Options that train further models of these targets as the first one that is there was; "" where there is none."""
    for name in names:
        for path in sorted(model_folder(project, name).glob("result_*/config.json")):
            config = json.loads(path.read_text())
            return "".join(f" --{key.replace('_', '-')} {config[key]}" for key in OPTIONS
                           if key in config and not (name == "direct" and key == "pooling"))
    return ""


def model_folder(project, name):
    """Folder of the models of a target."""
    folder = {"abundance": "cell_fraction_preds", "direct": "direct_preds"}.get(name, f"{name}_preds")
    return project / "results" / folder


def trained(project, name, now, splits):
    """Number of models of a target that are there, and of those that were trained on something else."""
    n_there = n_stale = 0
    for outer in range(splits["n_outer"]):
        for inner in range(splits["n_inner"]):
            path = model_folder(project, name) / f"result_{outer}_{inner}" / "config.json"
            if path.is_file():
                config = json.loads(path.read_text())
                n_there += 1
                n_stale += any(config.get(key, value) != value for key, value in now.items())
    return n_there, n_stale


def fill(stage, counts, n_folds):
    """State and text of a training stage, and what comes before its options, from {target: (models there, stale)}."""
    unfinished = [name for name, (there, _) in counts.items() if there < n_folds]
    stale = [name for name, (_, n_stale) in counts.items() if n_stale]
    there = sum(number for number, _ in counts.values())
    stage.about = f"{there} of {n_folds * len(counts)} models"
    if len(counts) > 1 and unfinished and there:
        stage.about += f", missing some of {some(unfinished, 3)}"
    wanted = stale or unfinished
    chosen = f" {json.dumps(wanted[0]) if len(wanted) == 1 else 'all'}" if stage.name == "expression" else ""
    stage.options = f"all all{chosen}{stage.options}" + (" --overwrite" if stale else "")
    if stale:
        stage.state = "stale"
        stage.about += f"; features, targets or folds have changed since {some(stale, 3)} were trained"
    else:
        stage.state = "done" if not unfinished else "partial" if there else "missing"
