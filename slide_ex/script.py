"""How every script starts, stops, fails, logs and writes."""
import argparse
import contextlib
import functools
import glob
import logging
import multiprocessing
import os
import shutil
import signal
import socket
import sys
import threading
import time
from pathlib import Path

from tqdm.contrib.logging import logging_redirect_tqdm

WATCH_PARENT_S = 0.5    # how often a worker looks whether its parent is still there


def parser(doc):
    """Argument parser whose --help is the script's own docstring, with what every script takes."""
    p = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("project_path", type=Path, help="the project folder, see data/README.md")
    p.add_argument("--overwrite", action="store_true", help="redo what is already finished")
    p.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return p


def run(main, args, log_name):
    """Run `main(args)` and exit with what it returns; one line of `logging.info` per unit of work goes to
    stdout and to <project_path>/logs/<log_name>.log, an error becomes one line on stderr and exit code 1."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an exception, so that temporary files are removed
    try:
        if not args.project_path.is_dir():
            raise FileNotFoundError(f"{args.project_path} is not a folder: give the project folder (data/README.md)")
        refuse_published(args.project_path)
        start_logging(args.project_path / "logs" / f"{log_name}.log")
        with logging_redirect_tqdm():
            sys.exit(main(args))
    except KeyboardInterrupt:
        sys.exit("interrupted: run the same command again to go on")
    except Exception as error:
        if args.debug:
            raise
        if isinstance(error, OSError) and error.filename and error.strerror:  # raised by Python, not by one of us
            sys.exit(f"error: {error.filename}: {error.strerror}; check the path that you gave")
        kind = "" if isinstance(error, (ValueError, OSError)) else f"{type(error).__name__}: "
        sys.exit(f"error: {kind}{' '.join(str(error).split())}")


PUBLISHED = ("splits/train_valid_test_idx.npz", "breast_*_log_exp_merged.pkl", "breast_cell_frac_merged.pkl",
             "features.pkl", "feature/*.pkl")    # files of a project of the published scripts


def refuse_published(folder):
    """ValueError for the project folder of the published scripts."""
    found = next((path for pattern in PUBLISHED for path in folder.glob(pattern)), None)
    if found:
        raise ValueError(f"{folder} is a project of the published scripts ({found.relative_to(folder)}): make one of "
                         f"it with data/import_original.py {folder} <new folder> --encoder NAME")


def start_logging(path):
    """Lines to stdout and to a log file, and nothing to a file where the project cannot be written to."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[logging.StreamHandler(sys.stdout)])
    try:
        path.parent.mkdir(exist_ok=True)
        to_file = LogFile(path)
        to_file.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        logging.getLogger().addHandler(to_file)
    except OSError as error:
        logging.warning("no lines in %s: %s", path, error)
    for handler in logging.getLogger().handlers:  # our own lines, and no more than warnings of libraries
        handler.addFilter(lambda record: record.name == "root" or record.levelno >= logging.WARNING)


class LogFile(logging.FileHandler):
    """A log file that is given up, with one line instead of a traceback for each, when it cannot be written to."""

    def handleError(self, record):
        error = sys.exc_info()[1]
        logging.getLogger().removeHandler(self)
        logging.warning("no more lines in %s: %s", self.baseFilename, error)


@contextlib.contextmanager
def whole(path):
    """Give a temporary path in the folder of `path` that takes that name only when the block ends well.

    What a block writes there (a file or a folder) is therefore whole or absent under its final name. The name
    keeps its suffix, by which pandas and matplotlib choose a format, and carries host and process, so that two
    processes never share a part and a later run can sweep away what a killed one left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    before_pid = f".part-{socket.gethostname()}-"
    part = path.with_name(f"{before_pid}{os.getpid()}-{path.name}")
    try:
        yield part
        if part.is_dir() and path.is_dir():
            shutil.rmtree(path)  # a folder cannot be renamed over a filled one
        os.replace(part, path)
        for other in path.parent.glob(f"{glob.escape(before_pid)}*-{glob.escape(path.name)}"):
            pid = other.name[len(before_pid):-len(path.name) - 1]
            if pid.isdigit() and not is_running(int(pid)):
                remove(other)
    finally:
        remove(part)


@functools.cache
def end_with_parent():
    """Let this process, a worker, end soon after the one that started it, even when that is killed.

    Workers call it, of any kind (forked, spawned, joblib's); in the main process it does nothing.
    """
    if multiprocessing.current_process().name == "MainProcess":
        return
    known, parent = multiprocessing.parent_process(), os.getppid()

    def watch():
        while os.getppid() == parent:
            try:
                known.join(WATCH_PARENT_S)    # comes back at once when it ends
            except (AttributeError, ValueError):    # joblib's workers have no handle of it
                time.sleep(WATCH_PARENT_S)
        os._exit(1)
    threading.Thread(target=watch, daemon=True).start()


def is_running(pid):
    """Whether this machine has a process `pid`."""
    try:
        os.kill(pid, 0)  # signal 0 only asks
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def remove(path):
    """Remove a file or a folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
