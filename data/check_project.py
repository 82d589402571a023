"""How far is a project, what disagrees in it, and which command is next?

Looks at every stage: whether its output is there and was made from what is there now, whether ids agree across the
files, whether slides tell their magnification, which must suffice for tiles, and were encoded alike. Ends with 0 when
the next command can start (or all is done), with 1 when something must be fixed first.

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
from slide_ex.stages import plan, project_states
from slide_ex.stages.state import NOT_NEEDED

SHOWN = 6  # problems and notes on one screen


def main(args):
    states = project_states.of_project(args.project_path)
    following = project_states.following(states)
    for state in states:
        logging.info("  %-10s %-13s %s", state.status, state.name, state.about)
    show("to be fixed", [f"{state.name}: {problem}" for state in states for problem in state.problems])
    show("worth knowing", [f"{state.name}: {note}" for state in states for note in state.notes])
    if following is None:
        logging.info("everything is done%s", where_to_go(args.project_path, states))
        return 0
    if following.problems:
        what = "cannot be used as they are" if following.is_over() else "cannot start"
        logging.info("%s %s: fix what is listed above, then check again", following.name, what)
        return 1
    logging.info("next: %s", shlex.join([interpreter(), plan.BY_NAME[following.name].script, str(args.project_path),
                                         *project_states.next_words(following)]))
    return 0


def where_to_go(project, states):
    """What to do with a project in which nothing is left to do."""
    by_name = {state.name: state for state in states}
    if (project / "figures").is_dir():
        return f"; the figures are in {project / 'figures'}"
    if by_name["predictions"].status == NOT_NEEDED:
        return (f": the slides can be predicted by {interpreter()} {plan.BY_NAME['predictions'].script} {project} "
                "--models <trained project or exported folder>")
    return f"; the predictions are in {project / 'predictions'}"


def interpreter():
    """The Python that runs this, as one would type it: it has what the next script needs."""
    if shutil.which("python") == sys.executable:
        return "python"
    own = Path(sys.executable)
    return str(own.relative_to(Path.cwd()) if own.is_relative_to(Path.cwd()) else own)


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
