"""The two stages of a project that are about slides: features of each, and features of all in one file."""
import hashlib
import json

import openslide
from tqdm import tqdm

from slide_ex.ids import some
from slide_ex.stages.pipeline_stage import Stage

SAME_IN_ALL = ("encoder", "weights", "weights_sha256", "weights_seed", "precision", "normalisation", "tile_px",
               "magnification")


def slides(project, facts):
    """Has every slide its features and mask, all made alike, from the slide as it is now?"""
    stage = Stage("slides", script="slide_processing/1main_processing.py")
    imported = facts.features is not None and facts.features["attributes"].get("source")
    if imported:
        return Stage("slides", "not needed", f"features were imported ({imported})")
    if facts.metadata is None:
        stage.problems.append("metadata.csv is missing or cannot be read")
        return stage
    made = facts.made
    if made.empty and facts.features:
        return Stage("slides", "not needed", "features.h5 is there, without the files it was made from")
    masked = facts.metadata["slide_id"].map(lambda slide_id: (project / "mask" / f"{slide_id}.pdf").is_file())
    finished = facts.metadata["slide_id"].isin(made.index) & masked
    allowed = facts.metadata["slide_id"].isin(left_out(facts.features)) & ~finished
    unfinished, stale = facts.metadata[~finished & ~allowed], changed_slides(project, facts.metadata[finished], made)
    stage.about = f"features of {finished.sum()} of {len(facts.metadata)} slides"
    if allowed.any():
        stage.notes.append(f"{allowed.sum()} slides were allowed to be missing from features.h5: "
                           f"{some(facts.metadata['slide_id'][allowed], 3)}")
    if len(made):
        stage.about += f", {some(made['encoder'].unique())}, weights {some(made['weights'].unique())}"
        empty = made.index[made["n_tiles"] == 0]
        stage.notes += [f"{len(empty)} slides have no tissue: {some(empty, 3)}"] if len(empty) else []
    stage.problems += mixed(made) + unusable(project, unfinished)
    rows = facts.metadata.index[facts.metadata["slide_id"].isin(stale)] if stale else unfinished.index
    stage.options = "all" if len(rows) == len(facts.metadata) else indexes(rows)
    stage.options += options_like(made.iloc[0]) if len(made) else ""
    stage.state = "done" if (finished | allowed).all() else "partial" if finished.any() else "missing"
    if stage.state == "done" and not (project / "mask.pdf").is_file():
        stage.notes.append("mask.pdf shows which tiles were kept: slide_processing/collect_mask.py makes it")
    if stale:
        stage.state, stage.options = "stale", f"{stage.options} --overwrite"
        stage.about += f"; {len(stale)} were made from another file, patient or magnification: {some(stale, 3)}"
    return stage


def left_out(features):
    """Ids of the slides that features.h5 was collected without, by --allow-missing."""
    return json.loads(features["attributes"].get("missing_slide_ids", "[]")) if features else []


def options_like(made):
    """Options that process further slides as this one was."""
    options = ""
    if made["encoder"] != "resnet50":
        options += f" --encoder {made['encoder']}"
    if made["weights"] != "imagenet":  # of a file only the name is known
        options += " --weights " + ("random" if made["weights"] == "random" else f"PATH/{made['weights']}")
    if made.get("weights_seed", -1) not in (-1, 0):
        options += f" --seed {made['weights_seed']}"
    return options + (f" --precision {made['precision']}" if made["precision"] != "fp32" else "")


def changed_slides(project, finished, made):
    """Ids of slides whose features were made from another file, patient or magnification than stands there now."""
    changed = []
    for slide in finished.itertuples():
        was, source = made.loc[slide.slide_id], project / "slides" / slide.filename
        if (was["patient_id"] != slide.patient_id or was.get("filename", slide.filename) != slide.filename
                or source.is_file() and was.get("slide_bytes", source.stat().st_size) != source.stat().st_size
                or slide.magnification and float(slide.magnification) != was["slide_magnification"]):
            changed.append(slide.slide_id)
    return changed


def mixed(made):
    """A line for each attribute in which the slides' features differ."""
    lines = []
    for name in SAME_IN_ALL:
        if name in made and made[name].nunique() > 1:
            counts = made[name].value_counts()
            few = made.index[made[name] == counts.index[-1]]
            lines.append(f"slides differ in {name} ({', '.join(f'{n} x {value}' for value, n in counts.items())}): "
                         f"process {some(few, 3)} again, with --overwrite")
    return lines


def unusable(project, unfinished):
    """Lines about slides to be processed that are absent, are no slides, or do not tell their magnification."""
    absent, foreign, silent = [], [], []
    for slide in tqdm(unfinished.itertuples(), total=len(unfinished), unit="slide", disable=None):
        path = project / "slides" / slide.filename
        if not path.is_file():
            absent.append(slide.filename)
        elif not (slide.magnification or slide.mpp):
            try:
                with openslide.OpenSlide(path) as opened:
                    if not {"openslide.objective-power", "openslide.mpp-x"} & set(opened.properties):
                        silent.append(slide.slide_id)
            except openslide.OpenSlideError:
                foreign.append(slide.filename)
    lines = ((absent, "slide files are not in slides/", "copy or link them"),
             (foreign, "files cannot be opened by OpenSlide", "fetch them again, or take them out of metadata.csv"),
             (silent, "slides do not tell their magnification", "fill the column Magnification of metadata.csv"))
    return [f"{len(names)} {what}: {some(names, 3)}; {remedy}" for names, what, remedy in lines if names]


def collected(project, facts):
    """Is features.h5 there, and made from the slides' files that are there now?"""
    stage = Stage("features.h5", script="slide_processing/collect_features.py")
    if facts.features is None:
        return stage
    there, attributes = facts.features["slides"], facts.features["attributes"]
    stage.about = f"{len(there)} slides, {there['n_tiles'].sum()} tiles, {attributes.get('encoder', 'mixed encoders')}"
    stage.state = "done"
    if facts.metadata is None:
        return stage
    absent = sorted(set(there["slide_id"]) - set(facts.metadata["slide_id"]))
    if absent:
        stage.notes.append(f"{len(absent)} slides of features.h5 are not in metadata.csv: {some(absent, 3)}")
    if len(facts.made):
        digest = hashlib.sha256()
        for slide in facts.metadata[facts.metadata["slide_id"].isin(facts.made.index)].itertuples():
            content = facts.made.loc[slide.slide_id, "content_sha256"]
            digest.update(f"{slide.slide_id}\t{slide.patient_id}\t{content}\n".encode())
        if digest.hexdigest() != attributes.get("content_sha256"):
            stage.state, stage.options = "stale", "--overwrite"
            stage.about += "; the slides' features have changed since"
    return stage


def indexes(rows):
    """Slide indexes as slide processing takes them: '0-2,5'."""
    runs = []
    for row in rows:
        if runs and row == runs[-1][1] + 1:
            runs[-1][1] = row
        else:
            runs.append([row, row])
    return ",".join(f"{first}-{last}" if last > first else str(first) for first, last in runs)
