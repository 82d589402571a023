"""Runs a script again and again, killed at each of its file events, and compares what the next run leaves.

    python tests/killed_runs.py EVERY SCRIPT BEFORE WORK PROJECT [ARGUMENT ...]

BEFORE is a folder of projects, copied to WORK before each run; PROJECT and the arguments are those of the script, with
paths relative to WORK. A file event is a call that renames, removes or makes a file or a folder. The script runs in a
forked process of this one, which has imported it once. Of slow scripts only each EVERY-th event and output is tried.

Prints one line of JSON: events, and for each fault what was different.
"""
import json
import os
import runpy
import shutil
import signal
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
EVERY = 1
EVENTS = ("replace", "rename", "unlink", "remove", "mkdir", "rmdir", "symlink")


def main(every, script, before, work, *arguments):
    global EVERY
    EVERY = int(every)
    before, work = Path(before).resolve(), Path(work).resolve()
    sys.path.insert(0, str((ROOT / script).parent))
    runpy.run_path(str(ROOT / script), run_name="imported")
    if "--weights" in arguments or "--processes" in arguments:
        import torch  # noqa: F401  which the script imports when there is something to do
    outputs = expected(script, before, work, arguments)
    print(json.dumps({"kills": kills(script, before, work, arguments, outputs),
                      "deletions": deletions(script, before, work, arguments, outputs)}))


def expected(script, before, work, arguments):
    """Contents after an undisturbed run, by path from WORK."""
    restore(before, work)
    code, said = run(script, work, arguments)
    assert code == 0, said
    return contents(work)


def kills(script, before, work, arguments, outputs):
    """Number of events, and of each after which the same command does not leave the expected files, what differs."""
    faults = {}
    for event in range(1, 10000, EVERY):
        restore(before, work)
        code, _ = run(script, work, arguments, kill_at=event)
        if code == 0:
            return {"events": event - 1, "faults": faults}
        code, said = run(script, work, arguments)
        found = contents(work)
        if code or found != outputs:
            faults[event] = said[-300:] if code else different(found, outputs)


def deletions(script, before, work, arguments, outputs):
    """Of each output that the same command does not make again when it is gone, what differs."""
    faults, made = {}, sorted(set(outputs) - set(contents(before)))
    for name in made[::EVERY]:
        write(outputs, work)
        (work / name).unlink()
        code, said = run(script, work, arguments)
        found = contents(work)
        if code or found != outputs:
            faults[name] = said[-300:] if code else different(found, outputs)
    return {"outputs": len(made), "faults": faults}


def run(script, work, arguments, kill_at=None, lines=os.devnull):
    """Exit code and stderr of one run in a forked process; it kills itself before event number `kill_at`.

    lines : file that takes its stdout
    """
    errors = work.with_suffix(".stderr")
    child = os.fork()
    if not child:
        os.chdir(work)
        sys.stdout = open(lines, "w")
        sys.stderr = open(errors, "w")
        if kill_at:
            kill_before(kill_at)
        sys.argv = [str(ROOT / script), *arguments]
        code = 0
        try:
            runpy.run_path(str(ROOT / script), run_name="__main__")
        except SystemExit as end:
            if isinstance(end.code, str):
                print(end.code, file=sys.stderr)
            code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        finally:
            sys.stdout.flush(), sys.stderr.flush()
            os._exit(code or 0)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), errors.read_text()


def kill_before(number):
    """Let this process be killed before file event `number`."""
    count = 0

    def counted(function):
        def call(*arguments, **options):
            nonlocal count
            count += 1
            if count == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **options)
        return call
    for name in EVENTS:
        setattr(os, name, counted(getattr(os, name)))


def restore(before, work):
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(before, work, symlinks=True)


def write(outputs, work):
    """Make WORK hold exactly these files."""
    shutil.rmtree(work, ignore_errors=True)
    for name, content in outputs.items():
        path = work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(content) if isinstance(content, str) else path.write_bytes(content)


def contents(folder):
    """Bytes of every file, targets of links; without logs and without parts that a killed run left."""
    return {str(path.relative_to(folder)): os.readlink(path) if path.is_symlink() else path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file() and "logs" not in path.parts and ".part-" not in str(path)}


def different(found, outputs):
    return sorted(name for name in {**found, **outputs} if found.get(name) != outputs.get(name))[:5]


if __name__ == "__main__":
    main(*sys.argv[1:])
