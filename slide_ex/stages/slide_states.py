"""The states of the stages about slides: features of each, masks, features of all in one file."""
from slide_ex import checksums, record
from slide_ex.ids import some
from slide_ex.project import feature_file, features_file, features_writing, mask_file, metadata_file
from slide_ex.slides import files, scale
from slide_ex.stages import plan
from slide_ex.stages.state import DONE, MISSING, PARTIAL, STALE, State, absent, ended, not_needed

TILE_OPTIONS = {"tile_px": ("--tile-px", 512), "magnification": ("--magnification", 20),
                "normalisation": ("--normalisation", "macenko")}    # attribute, option, as published

COPY_OPTIONS = {"float32": ["--copy"], "float16": ["--dtype", "float16"]}     # of a features.h5 with its own tiles
UNUSABLE = {    # kind of problem, or what slide_ex.slides.scale raises: what is told, and how to fix it
    "no file": ("slide files are not in slides/", "copy or link them"),
    "no mask": ("masks are not in regions/", "copy them, or empty the column Mask"),
    "no slide": ("files cannot be opened by OpenSlide", "or take them out of metadata.csv"),
    ValueError: ("slides do not tell their magnification", "fill the column Magnification (or MPP) of metadata.csv"),
    scale.Contradiction: ("slides contradict themselves about their scale", ""),
    scale.NotSquare: ("slides cannot be used", ""),
    scale.TooCoarse: ("slides are too coarse", "")}


def slides(project, facts):
    """Has every slide its features and mask, all made alike, from the slide as it is now?"""
    state, origin = State("slides"), source_of(facts)
    if origin:
        return not_needed("slides", f"features were imported ({origin})")
    if facts.made.empty and not facts.damaged and facts.features and facts.features["copied_as"]:
        return not_needed("slides", "features.h5 is there, without the files it was made from")
    if facts.metadata is None:
        state.problems.append("metadata.csv is missing or cannot be read")
        return state
    state.units = facts.metadata["slide_id"].tolist()
    slide_ids = facts.metadata["slide_id"]
    encoded = slide_ids.isin(facts.made.index)
    finished = encoded & slide_ids.map(lambda slide_id: mask_of(project, slide_id).is_file())
    allowed = slide_ids.isin(left_out(facts)) & ~finished & ~slide_ids.isin(facts.damaged)
    changed = changed_slides(project, facts.metadata[encoded], facts.made)
    state.stale = slide_ids[slide_ids.isin([*changed, *facts.damaged])].tolist()
    state.missing = slide_ids[~finished & ~allowed & ~slide_ids.isin(state.stale)].tolist()
    state.allowed = slide_ids[allowed].tolist()
    state.about = f"features of {finished.sum()} of {len(slide_ids)} slides"
    describe(state, facts)
    state.notes += without_mask(facts.metadata)
    state.problems += mixed(facts.made) + twins(facts.made) + unusable(
        project, facts.metadata[facts.metadata.slide_id.isin([*state.missing, *state.stale])], facts.made)
    state.status = DONE if not state.missing else PARTIAL if finished.any() else MISSING
    if state.stale:
        state.status = STALE
        if facts.damaged:
            state.about += f"; damaged: {some(facts.damaged, 3)}"
        if changed:
            state.about += (f"; {len(changed)} were made from another file, mask, patient or magnification: "
                            f"{some(changed, 3)}")
    return state


def mask_of(project, slide_id):
    """The quality-control page of a slide."""
    return plan.outputs(project, "slides", slide_id=slide_id)[0]


def source_of(facts):
    """The script that imported the features, None where they were made here."""
    return facts.features["attributes"].get("source") if facts.features else None


def describe(state, facts):
    """Encoder, options that process further slides alike, and slides that are left out or empty."""
    if state.allowed:
        state.notes.append(f"{len(state.allowed)} slides were allowed to be missing from features.h5: "
                           f"{some(state.allowed, 3)}")
    if len(facts.made):
        state.about += f", {some(facts.made['encoder'].unique())}, weights {some(facts.made['weights'].unique())}"
        state.options = options_like(facts.made.iloc[0])
        state.options += ["--scale", choice_of(facts.made)] if choice_of(facts.made) else []
        if was_upsampled(facts.made):
            state.options.append("--allow-upsampling")
        empty = facts.made.index[facts.made["n_tiles"] == 0]
        state.notes += [f"{len(empty)} slides have no tissue: {some(empty, 3)}"] if len(empty) else []
        state.notes += differing(facts.made)


def differing(made):
    """A line for slides whose power and resolution differ, but not so much that they say nothing."""
    if "scale_difference" not in made:
        return []
    few = made.index[made["scale_difference"] > scale.MAX_AGREEMENT]
    return [f"power and MPP of {len(few)} slides differ by more than {scale.MAX_AGREEMENT:.0%}: {some(few, 3)}"
            ] if len(few) else []


def without_mask(metadata):
    """A line for slides without a mask where others have one."""
    without = metadata["slide_id"][metadata["mask_file"] == ""]
    return [f"{len(without)} slides have no Mask, all their tissue counts: {some(without, 3)}"
            ] if 0 < len(without) < len(metadata) else []


def choice_of(made):
    """What --scale was given for the slides that are there."""
    chosen = [choice for choice in made["scale_choice"].dropna() if choice] if "scale_choice" in made else []
    return chosen[0] if chosen else ""


def magnification_of(made):
    """At which power the tiles of further slides are."""
    return made["magnification"].iloc[0] if "magnification" in made else TILE_OPTIONS["magnification"][1]


def was_upsampled(made):
    """Whether slides that are too coarse for their tiles are among those that are there (--allow-upsampling)."""
    return "slide_magnification" in made and bool(
        scale.is_coarse(made["slide_magnification"], magnification_of(made)).any())


def left_out(facts):
    """Ids of the slides that features.h5 was collected without, by --allow-missing."""
    return features_file.missing_slides(facts.features["attributes"]) if facts.features else []


def options_like(made):
    """Options that process further slides as this one was (a row of attributes).

    Settings of the tiles are named always where they are not the published ones; an encoder whose model card states
    just these does not need them, and takes them.
    """
    is_own = ".py:" in made["encoder"]      # a file of the user's own, of which only the name is known
    options = [word for name, (option, published) in TILE_OPTIONS.items() if made.get(name, published) != published
               for word in (option, f"{made[name]:g}" if name == "magnification" else str(made[name]))]
    if made["encoder"] != "resnet50":
        options += ["--encoder", f"PATH/{made['encoder']}" if is_own else made["encoder"]]
    if made["weights"] != "imagenet" and not is_own:  # of a file only the name is known
        options += ["--weights", "random" if made["weights"] == "random" else f"PATH/{made['weights']}"]
    if made.get("weights_seed", -1) not in (-1, 0):
        options += ["--seed", str(made["weights_seed"])]
    options += ["--drop", *made["drop"].split(",")] if made.get("drop") else []
    options += ["--mask-class", *made["mask_class"].split(";")] if made.get("mask_class") else []
    return options + (["--precision", made["precision"]] if made["precision"] != "fp32" else [])


def changed_slides(project, table, made):
    """Ids of slides whose features were made from another file, patient or scale than stands there now."""
    changed = []
    for slide in table.itertuples():
        was = made.loc[slide.slide_id].dropna().to_dict()
        now = feature_file.now_of(project, slide, was)
        if record.differences({name: was.get(name) for name in now}, now):
            changed.append(slide.slide_id)
    return changed


def mixed(made):
    """A line for each attribute in which the slides' features differ."""
    lines = []
    for name in feature_file.DECIDING:
        if name in made and made[name].nunique() > 1:
            counts = made[name].value_counts()
            few = made.index[made[name] == counts.index[-1]]
            kinds = ", ".join(f"{n} x {checksums.shown(value)}" for value, n in counts.items())
            lines.append(f"slides differ in {name} ({kinds}): process {some(few, 3)} again, with --overwrite")
    return lines


def unusable(project, unfinished, made):
    """Lines about slides to be processed that are absent, are no slides, or whose scale does not fit tiles or is not
    known, if they are processed like those that are there (`made`)."""
    if unfinished.empty:
        return []
    from slide_ex.slides import opening  # and OpenSlide with it, which is not needed where all slides are finished

    found, choice, accepts_coarse = {kind: {} for kind in UNUSABLE}, choice_of(made), was_upsampled(made)
    for slide in unfinished.itertuples():
        path, mask = files.find(project / "slides", slide.filename), metadata_file.mask_of(project, slide)
        if mask is not None and not mask.is_file():
            found["no mask"][slide.mask_file] = ""
        try:
            if not slide.filename or not path.exists():
                found["no file"][slide.filename or slide.slide_id] = ""
                continue
            with opening.open_slide(path) as opened:
                said = scale.said_by(opened.properties)
        except (ValueError, OSError, opening.OpenSlideError) as error:
            found["no slide"][slide.filename] = str(error)
            continue
        try:
            decided = scale.decide(said, slide.magnification, slide.mpp, choice)
            if not accepts_coarse:
                scale.refuse_coarse(decided, magnification_of(made))
        except ValueError as error:
            found[type(error)][slide.slide_id] = str(error)
    return [f"{len(names)} {UNUSABLE[kind][0]}: {some(names, 3)}; {reasons(names)}{UNUSABLE[kind][1]}"
            .removesuffix("; ")
            for kind, names in found.items() if names]


def reasons(names):
    """The different reasons of some slides (dict of name to reason), the first two."""
    different = list(dict.fromkeys(filter(None, names.values())))
    return "".join(f"{reason}; " for reason in different[:2])


def twins(made):
    """A line for slides whose features are the same under two patients: the same scan."""
    with_tiles = made[made["n_tiles"] > 0] if len(made) else made
    if with_tiles.empty:
        return []
    try:
        features_writing.refuse_twins(with_tiles.index, with_tiles["patient_id"], with_tiles["content_sha256"])
    except ValueError as error:
        return [str(error)]
    return []


def masks(project, facts):
    """Is mask.pdf there, and made from the masks that the slides have now?"""
    state, out = State("masks", redo=()), plan.outputs(project, "masks")[-1]
    slide_ids = [] if facts.metadata is None else facts.metadata.slide_id
    pages = [page for slide_id in slide_ids if (page := mask_of(project, slide_id)).is_file()]
    if source_of(facts) or not pages:
        return not_needed("masks", "no masks of slides here") if source_of(facts) or facts.features else absent(state)
    if not out.is_file():
        return absent(state)
    state.about = "mask.pdf"
    is_made_from = mask_file.made_from(out) == mask_file.sha256_of(pages)
    return ended(state, [] if is_made_from else ["the masks of the slides"])


def features(project, facts):
    """Is features.h5 there, and made from the slides' files that are there now?"""
    state = State("features")
    if facts.features is None:
        return absent(state)
    there, attributes = facts.features["slides"], facts.features["attributes"]
    state.about = f"{len(there)} slides, {there['n_tiles'].sum()} tiles, {attributes.get('encoder', 'mixed encoders')}"
    if facts.metadata is None:
        return ended(state)
    gone = sorted(set(there["slide_id"]) - set(facts.metadata["slide_id"]))
    if gone:
        state.notes.append(f"{len(gone)} slides of features.h5 are not in metadata.csv: {some(gone, 3)}")
    if source_of(facts) or facts.made.empty:
        return ended(state)
    collected = facts.metadata[facts.metadata["slide_id"].isin(facts.made.index)]
    now = features_writing.collected_sha256(collected, facts.made.loc[collected["slide_id"], "content_sha256"])
    state.options = ["--allow-missing", str(len(left_out(facts)))] if left_out(facts) else []
    state.options += COPY_OPTIONS.get(facts.features["copied_as"], [])
    if now == attributes.get("content_sha256") and not plan.outputs(project, "features")[0].is_file():
        state.about += "; tile_counts.pdf is not there"
        return absent(state)
    return ended(state, ["the slides' features"] if now != attributes.get("content_sha256") else [])
