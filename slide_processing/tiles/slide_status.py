"""How far the slides are: done, empty, failed or missing, with indexes to paste into the next command."""
import pandas as pd

from slide_ex.ids import format_indexes, some
from slide_ex.project import feature_file, processing_log
from slide_ex.slides import scale
from tiles.slide_files import paths

MEANING = {"done": "features and mask are there",
           "empty": "no tile is tissue; the feature file has zero rows",
           "failed": "tried and failed, see logs/slide_processing.csv",
           "missing": "not tried yet, or not finished"}


def of_slides(project_path, slides):
    """The table of slides with the columns status (a key of MEANING), reason, n_tiles (NaN where unknown), has_mask."""
    attempts = processing_log.last_attempts(project_path)
    rows = []
    for slide_id in slides.slide_id:
        mask, features = paths(project_path, slide_id)
        n_tiles = feature_file.read_n_tiles(features) if features.is_file() else None
        attempt = attempts.loc[slide_id] if slide_id in attempts.index else None
        if n_tiles is not None and mask.is_file():
            state, reason = "done" if n_tiles else "empty", ""
        elif attempt is not None and attempt.status == "failed":
            state, reason = "failed", attempt.reason
        else:
            state, reason = "missing", ""
        rows.append((state, reason, n_tiles, mask.is_file()))
    found = pd.DataFrame(rows, slides.index, ["status", "reason", "n_tiles", "has_mask"])
    return slides.join(found.astype({"n_tiles": float, "has_mask": bool}))


def remarks(project_path, slides):
    """Lines about what is odd in the slides that are there: two statements of scale, stain, blur, pen."""
    lines, differing = [], {}
    for slide_id in slides.slide_id:
        path = feature_file.path_of(project_path, slide_id)
        made = feature_file.read_attributes(path) if path.is_file() else {}
        if made.get("scale_difference", 0) > scale.MAX_AGREEMENT:
            differing.setdefault(made["magnification_source"], []).append(slide_id)
        if odd := feature_file.oddities(made):
            lines.append(f"{slide_id}: {', '.join(odd)}")
        if made.get("n_dropped"):
            lines.append(f"{slide_id}: {made['n_dropped']} tissue tiles left out (--drop {made['drop']})")
        if made.get("mask_file"):
            lines.append(f"{slide_id}: {made['n_outside']} tissue tiles outside the mask {made['mask_file']}")
    with_mask = slides.mask_file != ""
    if with_mask.any() and not with_mask.all():
        lines.append(f"{(~with_mask).sum()} of {len(slides)} slides have no Mask, all their tissue counts: "
                     f"{some(slides.slide_id[~with_mask])}")
    return lines + [f"{len(ids)} slides: power and MPP differ by more than {scale.MAX_AGREEMENT:.0%}, {source} is "
                    f"used: {some(ids)}" for source, ids in sorted(differing.items())]


def report(status):
    """Lines that say how many slides are in each state and which, in the form that <slide_index> takes."""
    lines = []
    for state, meaning in MEANING.items():
        indexes = status.index[status.status == state]
        which = f": {format_indexes(indexes)}" if len(indexes) and state != "done" else ""
        lines.append(f"{len(indexes)} {state} ({meaning}){which}")
    return lines
