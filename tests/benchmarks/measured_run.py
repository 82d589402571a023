"""Runs a script of the repository, and measures it with all processes that it starts."""
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
POLL_S = 0.1    # between two looks at the memory


def run(script, *words):
    """Seconds and CPU seconds that a script took, and its peak memory, GiB; its lines are not shown unless it fails."""
    started, before, peak = time.perf_counter(), os.times(), 0
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen([sys.executable, ROOT / script, *map(str, words)], stdout=said, stderr=said)
        while process.poll() is None:
            peak = max(peak, sum(map(memory_kib, family(process.pid))))
            time.sleep(POLL_S)
        if process.returncode:
            said.seek(0)
            sys.exit(said.read())
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - started, cpu, peak / 2**20


def family(pid):
    """A process and all that it started; without those that have just ended."""
    try:
        children = [int(child) for task in Path(f"/proc/{pid}/task").iterdir()
                    for child in (task / "children").read_text().split()]
    except OSError:
        return []
    return [pid, *(one for child in children for one in family(child))]


def memory_kib(pid):
    """Memory of a process, KiB, pages that it shares with others divided by their number."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
