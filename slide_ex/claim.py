"""Claims: which process is at work on an output, so that no two are.

A claim is a lock on a small file beside the output. The kernel frees it when the process ends, however it ends, also
when nobody has asked for its exit code yet. A host name and a process number would not do: in containers both come
again. They stand in the file for people, and for file systems without locks: there the claim counts as long as that
process runs and started when the file says.
"""
import contextlib
import errno
import fcntl
import functools
import logging
import os
import socket
from pathlib import Path

NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)    # as file systems without locks answer
START_FIELD = 19    # of /proc/<pid>/stat, counted behind the name of the program: when it started, in ticks since boot
mine = set()        # files of the claims that this process holds


@contextlib.contextmanager
def held(path):
    """Claim `path` (a file of this name is made) while the block runs; gives whether it was free.

    OSError when it is a link or cannot be written.
    """
    descriptor = take(path)
    try:
        if descriptor is not None:
            mine.add(path)
        yield descriptor is not None
    finally:
        if descriptor is not None:
            path.unlink(missing_ok=True)    # before the lock ends, so that nobody takes a file that goes
            mine.discard(path)
            os.close(descriptor)


@contextlib.contextmanager
def left_to_do(output, label, is_finished):
    """Claim an output while the block runs; gives whether it is to be made here.

    It is not when another process is at work on it, which is said with its label, or when one has finished it since
    this one looked (`is_finished`, a function without arguments).
    """
    output.parent.mkdir(parents=True, exist_ok=True)
    path = path_of(output)
    with held(path) as is_free:
        if not is_free:
            logging.info("%s: %s is at work on it; left to that", label, holder(path))
        yield is_free and not is_finished()


def forget(output):
    """Remove the claim of a finished output that a process left, killed between its last step and giving it back.

    Of a finished output only: of another one somebody may be about to take the claim, and would leave the work to us.
    """
    path = path_of(output)
    if path.exists():
        with contextlib.suppress(OSError), held(path):
            pass


def path_of(output):
    """The file that is locked."""
    return output.with_name(f".part-{output.name}.lock")


def holder(path):
    """Who claims a file, in words."""
    try:
        host, pid, _ = path.read_text().split()
    except (OSError, ValueError):    # just gone, or not yet written
        return "another process"
    return f"process {pid} on {host}"


def take(path):
    """Descriptor of the file that is claimed now, or None when a process that runs has the claim."""
    while True:
        is_new = True
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)
        except FileExistsError:
            is_new = False
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
            except FileNotFoundError:    # given back in between
                continue
        if not is_free(descriptor, path, is_new):
            os.close(descriptor)
            return None
        if is_at(descriptor, path):
            os.truncate(descriptor, 0)
            os.pwrite(descriptor, f"{socket.gethostname()} {os.getpid()} {start_of(os.getpid())}\n".encode(), 0)
            return descriptor
        os.close(descriptor)    # given back in between: the name is free or another's


def is_free(descriptor, path, is_new):
    """Lock an open file; whether no living process has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        say_no_locks(path.parent)
        return is_new or not runs(os.pread(descriptor, 1000, 0).decode(errors="replace"))


def is_at(descriptor, path):
    """Whether an open file still has its name."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path, follow_symlinks=False))
    except FileNotFoundError:
        return False


@functools.cache
def say_no_locks(folder):
    logging.warning("the file system of %s has no locks: what a process is at work on is told by its host, number and "
                    "start, and a file .part-*.lock that one on another host left must be removed by hand", folder)


def runs(text):
    """Whether the process that wrote a claim runs; one on another host, or not yet named, is believed to."""
    host, pid, start = (*text.split(), "", "", "")[:3]
    return host != socket.gethostname() or start == start_of(pid)


def start_of(pid):
    """When a process of this host started, in ticks since boot, as text; None when it does not run (any more)."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if state in "ZX" else fields[START_FIELD - 1]
