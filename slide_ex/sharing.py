"""Work that is shared between forked processes, and how many of them there are CPUs and memory for."""
import logging
import multiprocessing
import os
import signal
import threading
import typing
from multiprocessing import connection

import numpy as np
from tqdm import tqdm

LOOK_S = 0.2            # how often the progress of processes is looked at
WATCH_PARENT_S = 0.5    # how often a process looks whether its parent is still there
REASON_BYTES = 1000     # of a failure, kept of what is said
FREE_SHARE = 0.8    # of the memory that is free now, to be used


def n_cpus():
    """CPUs that this job may use: of its affinity mask, and of its Slurm allocation where that is smaller."""
    available = len(os.sched_getaffinity(0))
    return min(available, int(os.environ.get("SLURM_CPUS_PER_TASK", available)))


def affordable(n_processes, bytes_each):
    """As many processes as are asked for and the free memory has room for; at least one."""
    return max(1, min(n_processes, int(FREE_SHARE * free_bytes() / max(1, bytes_each))))


def free_bytes():
    """Free memory of this machine, or all that a Slurm job was given where this is less."""
    with open("/proc/meminfo") as file:
        available = next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable:"))
    of_node, of_cpu, n_job_cpus = (int(os.environ.get(f"SLURM_{name}", 0))
                                   for name in ("MEM_PER_NODE", "MEM_PER_CPU", "CPUS_ON_NODE"))
    allocated = (of_node or of_cpu * n_job_cpus) * 2**20
    return min(available, allocated) if allocated else available    # 0: the whole node


class Failed(typing.NamedTuple):
    """A task that was not done, and why."""
    task: object
    reason: str


def listed(failed):
    """The labels of failed tasks (list of Failed), those of one reason together, each time with the reason."""
    labels = {}
    for task, reason in failed:
        labels.setdefault(reason, []).append(task.label)
    return "; ".join(f"{', '.join(of_reason)}: {reason}" for reason, of_reason in labels.items())


def array(n):
    """n numbers, ndarray of float64, that this process shares with what it forks from now on: what is written there is
    here."""
    return np.frombuffer(multiprocessing.get_context("fork").RawArray("d", n))


def share_all(tasks, work, n_processes, unit, done):
    """`share` a list of tasks, each a `unit` to be `done`; ValueError where any failed, with the reasons."""
    failed = share(tasks, work, n_processes, unit)
    if failed:
        raise ValueError(f"{len(failed)} of {len(tasks)} {unit}s could not be {done}: {listed(failed)}; when that is "
                         "fixed, run the same command again")


def share(tasks, work, n_processes, unit="model"):
    """Call work(task) for each task in n_processes forked processes; list of Failed, each logged on a line, too.

    tasks : list of anything with a `label`; of a model or another `unit`

    Forked processes share the data of this one without copies. They end with it, even when it is killed.
    """
    context = multiprocessing.get_context("fork")
    next_task, done, is_over = context.Value("i", 0), context.Array("b", len(tasks)), context.RawValue("b", False)
    reasons = [context.RawArray("c", REASON_BYTES) for _ in tasks]

    def work_on_all():
        while True:
            with next_task.get_lock():
                number, next_task.value = next_task.value, next_task.value + 1
            if number >= len(tasks) or is_over.value:
                return
            task = tasks[number]
            try:
                work(task)
                done[number] = True
            except Exception as error:
                reason = " ".join(f"{type(error).__name__}: {error}".split())
                reasons[number].value = reason.encode()[:REASON_BYTES]
                logging.error(f"failed: {task.label}: {reason}")

    def in_process():
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it too, and ends this process
        threading.Thread(target=end_with_parent, daemon=True).start()
        work_on_all()

    n_processes = min(n_processes, len(tasks))
    if n_processes <= 1:
        work_on_all()
    else:
        processes = [context.Process(target=in_process) for _ in range(n_processes)]
        try:
            for process in processes:
                process.start()
            with tqdm(total=len(tasks), unit=unit, disable=None) as bar:
                while alive := [process.sentinel for process in processes if process.is_alive()]:
                    connection.wait(alive, LOOK_S)
                    bar.update(sum(done) - bar.n)
        finally:
            is_over.value = True    # Python may lose the end that a signal asks for, in a callback of a weak reference
            for process in processes:
                process.terminate()
                process.join()
    return [Failed(task, reason.value.decode(errors="ignore") or "its process ended, perhaps for lack of memory")
            for task, is_done, reason in zip(tasks, done, reasons) if not is_done]


def end_with_parent():
    """End this process, a forked one, soon after the one that forked it, even when that is killed."""
    parent = multiprocessing.parent_process()
    while os.getppid() == parent.pid:
        parent.join(WATCH_PARENT_S)     # comes back at once when it ends
    os._exit(1)
