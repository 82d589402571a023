"""How scripts log, stop and write, and how processes keep out of each other's way."""
import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from slide_ex import claim, script

LINES = """
import logging
import sys
import time
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


def is_alive(pid):
    status = Path(f"/proc/{pid}/status")
    return status.is_file() and "State:\tZ" not in status.read_text()


def hears_ctrl_c():
    """What runs in the background of a shell does not, and hands that on to what it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture
def in_python(tmp_path):
    """Start a program that begins with these imports, with tmp_path as its argument; ended after the test."""
    started = []

    def start(text):
        program = tmp_path / f"program_{len(started)}.py"
        program.write_text("import fcntl, hashlib, os, sys, time\nfrom pathlib import Path\n"
                           "from slide_ex import claim, script\nfolder = Path(sys.argv[1])\n" + text)
        started.append(subprocess.Popen([sys.executable, program, tmp_path], stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True, preexec_fn=hears_ctrl_c))
        return started[-1]
    yield start
    for process in started:
        process.kill()
        process.communicate()


def wait_for(process, word):
    assert process.stdout.readline() == f"{word}\n", process.stderr.read()


def parts(folder):
    return [path.name for path in folder.iterdir() if path.name.startswith(".part-")]


@pytest.mark.parametrize("owner, name, is_done", [
    (Path, "mkdir", True), (os, "truncate", False), (os, "replace", False), (os, "replace", True),
    (shutil, "rmtree", False), (os, "rmdir", False), (Path, "unlink", False)])
def test_a_signal_at_any_moment_leaves_nothing_behind(owner, name, is_done, tmp_path, monkeypatch):
    """Its handler raises SystemExit before a call is done, or just after."""
    call, file = getattr(owner, name), tmp_path / "out"

    def interrupted(*words, **options):
        if ".part-" not in str(words[0]) and name == "mkdir":
            return call(*words, **options)
        monkeypatch.setattr(owner, name, call)      # once
        if is_done:
            call(*words, **options)
        raise SystemExit(143)
    monkeypatch.setattr(owner, name, interrupted)
    with pytest.raises(SystemExit), script.whole(file) as part:
        part.write_text("whole")
    assert not parts(tmp_path) and not script.rooms and (not file.exists() or file.read_text() == "whole")


WRITES_FOR_EVER = """
with script.whole(folder / "out") as part:
    part.write_text("half")
    print("begun", flush=True)
    time.sleep(60)
"""


def test_what_a_killed_process_left_is_swept_away_before_anybody_asked_for_its_exit_code(in_python, tmp_path):
    killed, running = in_python(WRITES_FOR_EVER), in_python(WRITES_FOR_EVER)
    for process in (killed, running):
        wait_for(process, "begun")
    killed.kill()
    while is_alive(killed.pid):
        time.sleep(0.01)
    assert len(parts(tmp_path)) == 2 and Path(f"/proc/{killed.pid}").exists(), "a zombie has its number still"
    with script.whole(tmp_path / "out") as part:
        part.write_text("all")
    left = parts(tmp_path)
    assert len(left) == 1 and (tmp_path / left[0] / "out").read_text() == "half", "of the one that still runs"
    assert (tmp_path / "out").read_text() == "all"


def test_the_place_of_a_part_cannot_be_guessed_or_entered_by_others(tmp_path):
    seen = set()
    for _ in range(3):
        with script.whole(tmp_path / "out.csv") as part:
            assert part.parent.stat().st_mode & 0o777 == 0o700 and part.name == "out.csv"
            part.touch()
            seen.add(part.parent)
    assert len(seen) == 3 and [path.name for path in tmp_path.iterdir()] == ["out.csv"]


def test_a_link_planted_in_the_place_of_a_claim_is_not_followed(tmp_path):
    (tmp_path / "claim").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="claim"), claim.held(tmp_path / "claim"):
        pass
    assert not (tmp_path / "elsewhere").exists()


def no_locks(*_):
    raise OSError(errno.ENOLCK, "No locks available")


@pytest.mark.parametrize("flock", [fcntl.flock, no_locks])
def test_a_claim_ends_with_its_process(in_python, tmp_path, monkeypatch, caplog, flock):
    """Also on a file system without locks, which is said."""
    monkeypatch.setattr(fcntl, "flock", flock)
    claim.say_no_locks.cache_clear()
    without = "def none(*_): raise OSError(37, 'No locks available')\nfcntl.flock = none\n" * (flock is no_locks)
    process = in_python(without + "with claim.held(folder / 'claim') as is_free:\n    print(is_free, flush=True)\n"
                        "    time.sleep(60)")
    wait_for(process, "True")
    with claim.held(tmp_path / "claim") as is_free:
        assert not is_free and claim.holder(tmp_path / "claim") == f"process {process.pid} on {os.uname().nodename}"
    process.kill()
    while is_alive(process.pid):
        time.sleep(0.01)
    with claim.held(tmp_path / "claim") as is_free:
        assert is_free
        with claim.held(tmp_path / "claim") as is_free_again:
            assert not is_free_again
    assert not (tmp_path / "claim").exists()
    assert ("has no locks" in caplog.text) == (flock is no_locks)


def test_without_locks_the_same_number_in_another_container_is_another_process(tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", no_locks)
    for started, is_ours in ((int(claim.start_of(os.getpid())) - 1, True), (claim.start_of(os.getpid()), False)):
        (tmp_path / "claim").write_text(f"{os.uname().nodename} {os.getpid()} {started}\n")
        with claim.held(tmp_path / "claim") as is_free:
            assert is_free == is_ours
    (tmp_path / "claim").write_text(f"another-host {os.getpid()} 1\n")
    with claim.held(tmp_path / "claim") as is_free:
        assert not is_free, "nobody can tell from here"


BUSY = """
import argparse
script.OBEY_S = 1
def main(args):
    with claim.left_to_do(folder / "out", "out", lambda: False), script.whole(folder / "out") as part:
        part.write_text("half")
        print("begun", flush=True)
        hashlib.pbkdf2_hmac("sha256", b"", b"", 500_000_000)    # minutes in C, deaf to signals
script.run(main, argparse.Namespace(project_path=folder, debug=False), "busy")
"""


@pytest.mark.parametrize("number, said", [(signal.SIGTERM, ""), (signal.SIGINT, script.STOPPED + "\n")])
def test_a_signal_is_obeyed_within_ten_seconds_in_the_middle_of_a_long_call(in_python, tmp_path, number, said):
    process = in_python(BUSY)
    wait_for(process, "begun")
    process.send_signal(number)
    assert process.wait(5) == 128 + number and script.OBEY_S < 8
    assert process.stderr.read() == said and parts(tmp_path) == [] and not (tmp_path / "out").exists()


FORKS = """
import argparse, multiprocessing, signal
script.OBEY_S = 1
def main(args):
    begun = multiprocessing.get_context("fork").Event()

    def work():
        begun.set()
        time.sleep(60)
    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    begun.wait()
    os.kill(child.pid, signal.SIGTERM)
    child.join()
    time.sleep(script.OBEY_S + 1)
    print("alive", flush=True)
script.run(main, argparse.Namespace(project_path=folder, debug=False), "forks")
"""


def test_a_signal_to_a_worker_is_not_one_to_the_script(in_python):
    process = in_python(FORKS)
    wait_for(process, "alive")
    assert process.wait(10) == 0


@pytest.mark.parametrize("library", [
    "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n",
    "import os, signal\ntry:\n    os.kill(os.getpid(), signal.SIGINT)\n"
    "except KeyboardInterrupt:\n    raise ImportError('half')\n"])
def test_ctrl_c_while_libraries_are_imported_is_one_line(in_python, tmp_path, library):
    """Also where a library makes another exception of it."""
    (tmp_path / "library.py").write_text(library)
    process = in_python("import library\n")
    assert process.communicate(timeout=30) == ("", f"{script.STOPPED}\n") and process.returncode != 0
