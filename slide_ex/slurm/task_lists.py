"""Task lists and what a task does where it runs: as a Slurm job, or on this machine.

Everything of one submission is in <project_path>/logs/slurm/<time>/:

    <step>.tsv            task list: index, command, units; a task of several commands has several rows
    <step>.sh             job script of the array
    <step>_<index>.log    what the task printed, from all its tries, each ending with a line "exit <code> ..."
    jobs.tsv              step, job id, sbatch command, one row after each submission

A step is a stage, with -retry after a kill for memory and a number where MaxArraySize asks for several arrays.
"""
import concurrent.futures
import contextlib
import datetime
import fcntl
import functools
import os
import shlex
import signal
import subprocess
import threading
import time

SIGNAL_DELAY_S = 1.5
RETRY = "-retry"      # ends the name of a step that is tried again with more memory
running, stopping = set(), threading.Event()  # of this process: child processes, and whether it was told to stop


def new_folder(project, is_dry_run=False):
    """Make the folder of this submission; its name sorts after all earlier ones, whatever the clocks of nodes say."""
    latest = max((path.name for path in folders(project)), default="")
    moment = datetime.datetime.now()
    while (name := f"{moment:%Y%m%d-%H%M%S}") <= latest:
        moment += datetime.timedelta(seconds=1)
    folder = project / "logs" / "slurm" / name
    if not is_dry_run:
        folder.mkdir(parents=True)
    return folder


def folders(project, since=""):
    """Folders of submissions, oldest first."""
    return sorted(path for path in (project / "logs" / "slurm").glob("*-*") if path.name >= since)


@contextlib.contextmanager
def only_one(project, is_waiting):
    """Hold the project's lock: two submissions at the same moment would not see each other's jobs."""
    (project / "logs" / "slurm").mkdir(parents=True, exist_ok=True)
    with open(project / "logs" / "slurm" / "lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX if is_waiting else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"another submit_slurm.py is at work on {project}: wait for it") from None
        yield


def task_list(tasks):
    """Text of a task list."""
    return "".join(f"{index}\t{command}\t{shlex.join(task.units)}\n" for index, task in enumerate(tasks)
                   for command in task.commands)


@functools.lru_cache(maxsize=None)
def read_task_list(path):
    """Index to (commands, units)."""
    found = {}
    for line in path.read_text().splitlines():
        index, command, units = line.split("\t")
        found.setdefault(int(index), ([], shlex.split(units)))[0].append(command)
    return found


def log_of(path, index):
    """The log of a task, "%a" for that of any, of a task list or a job script."""
    return path.with_name(f"{path.stem}_{index}.log")


def begin_log(log, context):
    """The first line of a try in an open log: when it was, and who made it."""
    print(f"# {datetime.datetime.now():%Y-%m-%d %H:%M:%S} {context}", file=log, flush=True)


def log_as_not_submitted(path, n_tasks, why):
    """Log for each task of a job script or task list why it was not even submitted."""
    for index in range(n_tasks):
        with open(log_of(path, index), "w") as log:
            begin_log(log, "not submitted")
            print("error:", *why.split(), file=log)


def stage_name(path):
    """Name of the stage that a task list or a job script is for."""
    return path.stem.split("-")[0]


def run_here(folder, step, n_processes, cpus):
    """Run the tasks of a step on this machine, `n_processes` at a time with `cpus` CPUs each."""
    path = folder / f"{step.name}.tsv"
    path.write_text(task_list(step.tasks))

    def run(index):
        if not stopping.is_set():
            log = log_of(path, index)
            with open(log, "a") as file:
                code = run_task(path, index, file, cpus, "this machine")
            print(f"{step.name} {index + 1} of {len(step.tasks)}: exit {code} ({log})", flush=True)

    with concurrent.futures.ThreadPoolExecutor(n_processes) as pool:
        list(pool.map(run, range(len(step.tasks))))


def stop(*_):
    """Signal handler: start no further command, and end those that run.

    Slurm's scancel and a terminal signal all processes, Slurm's time limit this one alone. A second signal would cut
    short the cleaning up after the first one, so only those are told that still run after a moment.
    """
    stopping.set()
    timer = threading.Timer(SIGNAL_DELAY_S, lambda: [child.terminate() for child in list(running)])
    timer.daemon = True
    timer.start()


def run_task(task_list, index, log, cpus, context):
    """Run the commands of one task, one after the other, and end the log with the worst exit code, which is returned.

    A command that is stopped drops the slide or model at hand, and leaves nothing half-written. `context` says in the
    log's first line who runs the task.
    """
    started, worst = time.monotonic(), 0
    environment = dict(os.environ, OMP_NUM_THREADS=str(cpus), SLURM_CPUS_PER_TASK=str(cpus))
    begin_log(log, context)
    for command in read_task_list(task_list)[index][0]:
        if stopping.is_set():
            worst = worst or 128 + signal.SIGTERM
            break
        print(f"$ {command}", file=log, flush=True)
        with subprocess.Popen(shlex.split(command), stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                              env=environment) as child:
            running.add(child)
            code = child.wait()
            running.discard(child)
        worst = max(worst, 128 - code if code < 0 else code)
    print(f"exit {worst} after {time.monotonic() - started:.1f} s", file=log, flush=True)
    return worst
