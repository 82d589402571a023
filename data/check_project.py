"""How far is a project, what disagrees in it, and which command is next?

Looks at every stage: whether its output is there and was made from what is there now, whether ids agree across the
files, whether slides tell their magnification and were encoded alike. Ends with 0 when the next command can start (or
all is done), with 1 when something must be mended first.

Reads   every file of <project_path> that data/README.md lists
Writes  nothing but its log

    python data/check_project.py demo
"""
import logging
import shlex
import shutil
import sys
from pathlib import Path

from slide_ex.script import parser, run
from slide_ex.stages import project_stages

SHOWN = 6  # problems and notes on one screen


def main(args):
    stages = project_stages.of_project(args.project_path)
    following = next((stage for stage in stages if not stage.is_over()), None)
    for stage in stages:
        logging.info("  %-10s %-13s %s", stage.state, stage.name, stage.about)
    problems = [f"{stage.name}: {problem}" for stage in stages for problem in stage.problems]
    show("to be mended", problems)
    show("worth knowing", [f"{stage.name}: {note}" for stage in stages for note in stage.notes])
    if following is None:
        logging.info("everything is done; the figures are in %s", args.project_path / "figures")
        return 0
    if following.problems:
        logging.info("%s cannot start: mend what is listed above, then check again", following.name)
        return 1
    logging.info("next: %s %s %s %s", interpreter(), following.script, shlex.quote(str(args.project_path)),
                 following.options)
    return 0


def interpreter():
    """The Python that runs this, as one would type it: it has what the next script needs."""
    if shutil.which("python") == sys.executable:
        return "python"
    own = Path(sys.executable)
    return shlex.quote(str(own.relative_to(Path.cwd()) if own.is_relative_to(Path.cwd()) else own))


def show(heading, lines):
    """A few lines below a heading, none without lines."""
    if lines:
        logging.info("%s:", heading)
    for line in lines[:SHOWN]:
        logging.info("  %s", line)
    if len(lines) > SHOWN:
        logging.info("  and %d more", len(lines) - SHOWN)


if __name__ == "__main__":
    run(main, parser(__doc__).parse_args(), "check_project")
