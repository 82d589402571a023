"""How scripts log: our lines to stdout and a file, of libraries warnings only, and no error where no file can be."""
import subprocess
import sys

import pytest

LINES = """
import logging
import sys
from pathlib import Path
from slide_ex import script
script.start_logging(Path(sys.argv[1]))
logging.info("ours")
logging.getLogger("library").info("chatter")
logging.getLogger("library").warning("trouble")
"""


@pytest.fixture
def say():
    """Log four lines to a path, in a process of its own; gives its stdout."""
    def run(path):
        done = subprocess.run([sys.executable, "-c", LINES, str(path)], capture_output=True, text=True)
        assert done.returncode == 0 and done.stderr == "", done.stderr
        return done.stdout.splitlines()
    return run


def test_lines_go_to_stdout_and_to_the_log_which_grows(say, tmp_path):
    path = tmp_path / "logs" / "x.log"
    for n_runs in (1, 2):
        assert say(path) == ["ours", "trouble"]
        logged = path.read_text().splitlines()
        assert [line.split()[-1] for line in logged] == ["ours", "trouble"] * n_runs
        assert all(line[:2] == "20" for line in logged)     # the date


def test_without_a_place_for_the_log_there_is_a_line_about_it(say, tmp_path):
    (tmp_path / "logs").write_text("a file where the folder should be")
    first, *others = say(tmp_path / "logs" / "x.log")
    assert first.startswith(f"no lines in {tmp_path}/logs/x.log: ") and others == ["ours", "trouble"]
