"""How scripts log: our lines to stdout and a file, of libraries warnings only, and no error where no file can be."""
import subprocess
import sys
import time
from pathlib import Path

import pytest

LINES = """
import logging
import sys
import time
from pathlib import Path
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


WORKERS = """
import concurrent.futures, multiprocessing, sys, time
from slide_ex import script

def work(_):
    script.end_with_parent()
    time.sleep(60)

if __name__ == "__main__":
    if sys.argv[1] == "joblib":
        from sklearn.utils.parallel import Parallel, delayed
        with Parallel(n_jobs=2) as parallel:
            parallel(delayed(work)(i) for i in range(2))
    else:
        with concurrent.futures.ProcessPoolExecutor(2, multiprocessing.get_context(sys.argv[1])) as pool:
            list(pool.map(work, range(2)))
"""


def descendants(pid):
    """Process ids of all processes below one."""
    found = []
    for child in map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
        found += [child, *descendants(child)]
    return found


def is_alive(pid):
    status = Path(f"/proc/{pid}/status")
    return status.is_file() and "State:\tZ" not in status.read_text()


@pytest.mark.parametrize("kind", ["fork", "spawn", "joblib"])
def test_workers_end_when_their_parent_is_killed(kind, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(WORKERS)
    process = subprocess.Popen([sys.executable, program, kind])
    while len(descendants(process.pid)) < 2:
        assert process.poll() is None
        time.sleep(0.1)
    time.sleep(3)    # until they are at work
    workers = descendants(process.pid)
    process.kill()
    process.wait()
    deadline = time.monotonic() + 20
    while any(map(is_alive, workers)):
        assert time.monotonic() < deadline, "workers outlive their parent"
        time.sleep(0.1)
