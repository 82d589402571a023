"""One step of the pipeline in a project: how far it is, what stands in its way, and the script that does it."""
import dataclasses

from near_ids import some


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
