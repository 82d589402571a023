"""One step of the pipeline in a project: how far it is, what stands in its way, and the script that does it."""
import dataclasses

from slide_ex.ids import some

MADE_FROM = {"targets": ("deconvolution",), "features.h5": ("slides",),
             "expression": ("targets", "features.h5", "folds"), "abundance": ("targets", "features.h5", "folds"),
             "direct": ("features.h5", "folds"), "tables": ("expression", "abundance", "direct"),
             "figures": ("tables",)}


@dataclasses.dataclass
class Stage:
    """state: done, missing, partial, stale (its inputs have changed) or not needed; options follow the project path."""
    name: str
    state: str = "missing"
    about: str = ""
    script: str = ""
    options: str = ""
    problems: list = dataclasses.field(default_factory=list)  # what must be mended before the script can run
    notes: list = dataclasses.field(default_factory=list)

    def is_over(self):
        return self.state in ("done", "not needed")


@dataclasses.dataclass
class Facts:
    """What the files of a project say; None for files that are absent."""
    metadata: object
    made: object  # attributes of features/<Slide.ID>.h5, no rows where none are
    bulk: object
    response: object
    targets: object
    features: object
    splits: object


def ended(stage, changed):
    """The stage as done, or as stale with what has changed."""
    stage.state = "stale" if changed else "done"
    if changed:
        stage.about += f"; changed since: {some(changed)}"
        stage.options = f"{stage.options} --overwrite".strip()
    return stage


def pass_down(stages):
    """What is done, but was made from the output of a stage that has to run again, is stale too."""
    by_name = {stage.name: stage for stage in stages}
    for stage in stages:
        again = [name for name in MADE_FROM.get(stage.name, ()) if by_name[name].state in ("stale", "partial")]
        if stage.state == "done" and again:
            stage.state = "stale"
            stage.about += f"; comes after {some(again)}"
    return stages
