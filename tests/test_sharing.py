"""Work that is shared between processes: what is done, what is told of what is not."""
import io
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest

from slide_ex import sharing

TASKS = [SimpleNamespace(label=f"task {i}", number=i) for i in range(6)]


@pytest.mark.parametrize("n_processes", [1, 2])
def test_each_task_is_done_once_and_failures_are_told_with_their_reasons(tmp_path, n_processes):
    def work(task):
        if task.number % 2:
            raise ValueError(f"no µm\nin {'odd' if task.number < 5 else 'x' * 2000}")
        with open(tmp_path / task.label, "x") as file:
            file.write("done")

    failed = sharing.share(TASKS, work, n_processes)
    assert [task.number for task, _ in failed] == [1, 3, 5] and len(os.listdir(tmp_path)) == 3
    assert failed[0].reason == "ValueError: no µm in odd" and 900 < len(failed[2].reason) <= sharing.REASON_BYTES
    many = [sharing.Failed(task, "OSError: full") for task in TASKS]
    assert sharing.listed(many) == "task 0, task 1, task 2, task 3, task 4, task 5: OSError: full"
    assert sharing.listed(failed[:2]) == "task 1, task 3: ValueError: no µm in odd"
    assert sharing.listed(failed).startswith("task 1, task 3: ValueError: no µm in odd; task 5: ValueError: no µm in x")


def test_a_process_that_is_killed_loses_its_own_task_only():
    def work(task):
        if task.number == 2:
            os.kill(os.getpid(), signal.SIGKILL)

    (task, reason), = sharing.share(TASKS, work, 2)
    assert task.number == 2 and reason == "its process ended, perhaps for lack of memory"


@pytest.mark.parametrize("slurm, expected", [(None, 2), ("1", 1), ("64", 2)])
def test_cpus_are_those_of_the_job(monkeypatch, slurm, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5})
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    if slurm:
        monkeypatch.setenv("SLURM_CPUS_PER_TASK", slurm)
    assert sharing.n_cpus() == expected


@pytest.mark.parametrize("slurm, share", [
    ({}, 1), ({"MEM_PER_NODE": 0}, 1), ({"MEM_PER_NODE": 300}, .3), ({"MEM_PER_CPU": 100, "CPUS_ON_NODE": 2}, .2)])
def test_memory_is_that_of_the_job(monkeypatch, slurm, share):
    """Amounts in MB, as Slurm gives them."""
    for name in ("MEM_PER_NODE", "MEM_PER_CPU", "CPUS_ON_NODE"):
        monkeypatch.delenv(f"SLURM_{name}", raising=False)
    for name, value in slurm.items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))
    monkeypatch.setattr("builtins.open", lambda _: io.StringIO("MemTotal: 9\nMemAvailable: 1024000 kB\n"))
    assert sharing.free_bytes() == share * 1000 * 2**20


def test_a_parent_that_waits_does_not_compute():
    """The first process ends at once, the other one sleeps."""
    before = time.process_time()
    sharing.share([SimpleNamespace(label=i, seconds=2 * i) for i in range(2)], lambda task: time.sleep(task.seconds), 2)
    assert time.process_time() - before < .5


def test_there_are_no_more_processes_than_memory_has_room_for():
    assert sharing.affordable(3, 1) == 3 and sharing.affordable(3, 0) == 3
    assert sharing.affordable(3, 2**60) == 1 and sharing.affordable(1, 1) == 1


@pytest.mark.parametrize("n_processes", [1, 2])
def test_what_processes_write_into_a_shared_array_is_here(n_processes):
    squares = sharing.array(len(TASKS))

    def work(task):
        squares[task.number] = task.number ** 2
    assert sharing.share(TASKS, work, n_processes) == [] and np.array_equal(squares, [0, 1, 4, 9, 16, 25])


WORKS_FOR_EVER = """
import time
from types import SimpleNamespace
from slide_ex import sharing

def work(task):
    print("at work", flush=True)
    time.sleep(60)

sharing.share([SimpleNamespace(label=i) for i in range(2)], work, 2)
"""


@pytest.mark.parametrize("n_at_work", [1, 2])
def test_processes_end_when_their_parent_is_killed(n_at_work):
    """At work, or still on their way to it."""
    parent = subprocess.Popen([sys.executable, "-c", WORKS_FOR_EVER], stdout=subprocess.PIPE, text=True)
    for _ in range(n_at_work):
        parent.stdout.readline()
    parent.kill()
    killed = time.monotonic()
    parent.stdout.read()   # until nobody is left who could write
    parent.wait()
    assert time.monotonic() - killed < 30, "processes outlive their parent"
