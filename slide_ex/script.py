"""How every script starts, stops, fails, logs and writes.

Scripts import this module before any library, so that Ctrl-C is answered in one line while those are imported.
"""
import argparse
import contextlib
import logging
import os
import secrets
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

from slide_ex import claim

OBEY_S = 5              # after a signal; Slurm kills after 30 s
TOKEN_BYTES = 8         # of the name of a room
ROOM = ".part-" + "[0-9a-f]" * 2 * TOKEN_BYTES
LOCK = ".part.lock"     # in a room
STOPPED = "interrupted: run the same command again to go on"
rooms = set()           # of this process that are in use, see `whole`


def say_stopped(kind, error, traceback, otherwise=sys.excepthook):
    """In the place of a traceback where Ctrl-C is behind an exception: libraries turn it into others on import."""
    behind = error
    while behind and not isinstance(behind, KeyboardInterrupt):
        behind = behind.__cause__ or behind.__context__
    if behind:
        print(STOPPED, file=sys.stderr)
    else:
        otherwise(kind, error, traceback)


sys.excepthook = say_stopped


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
    from tqdm.contrib.logging import logging_redirect_tqdm
    obey_signals()
    try:
        if not args.project_path.is_dir():
            raise FileNotFoundError(f"{args.project_path} is not a folder: give the project folder (data/README.md)")
        refuse_published(args.project_path)
        start_logging(args.project_path / "logs" / f"{log_name}.log")
        with logging_redirect_tqdm():
            sys.exit(main(args))
    except SystemExit as ended:
        if ended.code == 128 + signal.SIGTERM:    # at once: libraries whose threads still run may abort at the end
            put_away()
            logging.shutdown()
            os._exit(ended.code)
        raise
    except KeyboardInterrupt:
        print(STOPPED, file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
    except Exception as error:
        if args.debug:
            raise
        if isinstance(error, OSError) and error.filename and error.strerror:  # raised by Python, not by one of us
            sys.exit(f"error: {error.filename}: {error.strerror}; check the path that you gave")
        kind = "" if isinstance(error, (ValueError, OSError)) else f"{type(error).__name__}: "
        sys.exit(f"error: {kind}{' '.join(str(error).split())}")


def obey_signals():
    """End on SIGTERM and SIGINT: by an exception, so that temporary files are removed, and soon.

    The main thread hears of a signal only when the call at hand comes back, and waits for its threads; a batch of a
    slow encoder takes longer than Slurm waits. So a thread looks after it, and does what must be done in its place.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    told, tell = os.pipe()
    os.set_blocking(tell, False)

    def listen(descriptor):
        if threading.current_thread() is threading.main_thread():    # nobody else may
            signal.set_wakeup_fd(descriptor, warn_on_full_buffer=False)
    listen(tell)
    os.register_at_fork(before=lambda: listen(-1), after_in_parent=lambda: listen(tell))  # a worker's are its own

    def look_after():
        while (number := os.read(told, 1)[0]) not in (signal.SIGTERM, signal.SIGINT):
            pass
        time.sleep(OBEY_S)
        put_away()
        if number == signal.SIGINT:
            print(STOPPED, file=sys.stderr, flush=True)
        os._exit(128 + number)
    threading.Thread(target=look_after, daemon=True).start()


def put_away():
    """Remove the temporary files and claims of this process."""
    for room in list(rooms):
        remove(room)
    for path in list(claim.mine):
        path.unlink(missing_ok=True)


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
    """Give a temporary path that takes the name `path` only when the block ends well.

    What a block writes there (a file or a folder) is therefore whole or absent under its final name. The temporary
    path has the same name, by which pandas and matplotlib choose a format, in a folder of its own beside `path` that
    nobody else can guess or write to. A later run sweeps away what a killed one left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with room_beside(path) as room:
        part = room / path.name
        yield part
        if part.is_dir() and path.is_dir():
            shutil.rmtree(path)  # a folder cannot be renamed over a filled one
        os.replace(part, path)
    for other in path.parent.glob(ROOM):
        with contextlib.suppress(OSError), claim.held(other / LOCK) as is_abandoned:
            if is_abandoned:
                remove(other)


@contextlib.contextmanager
def room_beside(path):
    """A new folder beside `path` that this process claims, and removes at the end."""
    with contextlib.ExitStack() as stack:
        is_ours = False
        while not is_ours:    # until no other run takes it for abandoned before it is claimed
            room = path.with_name(f".part-{secrets.token_hex(TOKEN_BYTES)}")
            stack.callback(remove, room)    # as a signal may come before the block begins, or within the other removal
            room.mkdir(mode=0o700)
            with contextlib.suppress(FileNotFoundError):
                is_ours = stack.enter_context(claim.held(room / LOCK))
        rooms.add(room)
        stack.callback(rooms.discard, room)
        stack.callback(remove, room)
        yield room


def remove(path):
    """Remove a file or a folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
