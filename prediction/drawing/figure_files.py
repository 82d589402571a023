"""Which files a figure is drawn from, and checksums of what it shows of them."""
import dataclasses
import glob
import os
from collections.abc import Callable

from drawing import marks
from slide_ex.stages.result_states import checksum

EXTERNAL = "external/"  # before patterns of files in the projects of --external


@dataclasses.dataclass(frozen=True)
class Figure:
    """A figure and the patterns of its files; {trained} stands for the name of the project."""
    draw: Callable     # of the project's path and, where a pattern says so, a dict of external names to paths
    needs: tuple       # it is drawn when one of these is there
    reads: tuple = ()  # what it shows besides
    chosen: Callable = lambda project: []  # further files: paths that are chosen by what is in others

    def drawn(self, project, external):
        """The figure and its caption, a style.Drawn."""
        takes_external = any(pattern.startswith(EXTERNAL) for pattern in self.needs + self.reads)
        return self.draw(project, external) if takes_external else self.draw(project)

    def missing(self, project):
        """Files of which it needs one, in words."""
        return " or ".join(
            f"{pattern.removeprefix(EXTERNAL)} of --external" if pattern.startswith(EXTERNAL) else pattern
            for pattern in self.needs).format(trained=project.resolve().name)

    def checksums(self, project, external):
        """SHA-256 of what is shown of each file, by path relative to the project; empty when it cannot be drawn."""
        if not matching(self.needs, project, external):
            return {}
        return {os.path.relpath(path, project): checksum(path)
                for path in [*matching(self.needs + self.reads, project, external), *self.chosen(project)]}


def matching(patterns, project, external):
    """Paths of the files that match patterns, in the project or in the external ones."""
    paths = []
    for pattern in patterns:
        folders = external.values() if pattern.startswith(EXTERNAL) else [project]
        pattern = pattern.removeprefix(EXTERNAL).format(trained=glob.escape(project.resolve().name))
        paths += [path for folder in folders for path in sorted(folder.glob(pattern))]
    return paths


def external_projects(paths, project):
    """Dict of folder name to path; errors name missing predictions, names that are not unique, and too many."""
    trained = project.resolve().name
    external = {}
    for path in paths:
        name = path.resolve().name
        if not (path / "predictions" / trained).is_dir():
            raise FileNotFoundError(f"{path / 'predictions' / trained} is missing: run prediction/predict_cohort.py "
                                    f"{path} --models {project} first")
        if name in (trained, *external):
            raise ValueError(f"two projects are named {name}: rename one of the folders, so that figures can tell them "
                             "apart")
        external[name] = path
    if len(external) >= len(marks.COHORTS):
        raise ValueError(f"{len(external)} external projects, but figures have colours for "
                         f"{len(marks.COHORTS) - 1}: give fewer at a time")
    return external
