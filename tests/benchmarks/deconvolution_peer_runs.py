"""Runs deconvolution_peers.py on the data of bench_deconvolution.py, in the environments where a tool is installed."""
import os
import resource
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from deconvolution_peers import TOOLS

PROGRAM = Path(__file__).with_name("deconvolution_peers.py")
TIMEOUT_S = 1800    # of one tool
PARTS = "bulk", "reference", "markers", "scored", "profiles", "of_type"
ENVIRONMENT = os.environ | {"MPLBACKEND": "Agg", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"}  # TAPE reads its own network


def of(data, pythons):
    """(tool, arrays that it wrote, CPU seconds) of every tool, or (tool, None, why not); data with "profiles" and their
    "of_type" (deconvolution_cases.with_profiles)."""
    pythons = [Path(python).absolute() for python in pythons]
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        np.savez(folder / "input.npz", **{part: data[part] for part in PARTS})
        for tool, (_, module, package) in TOOLS.items():
            python = next((python for python in pythons if has(python, module)), None)
            yield (tool, *run(tool, python, folder)) if python else (tool, None, f"{package} is not installed")


def has(python, module):
    return not subprocess.run([python, "-c", f"import {module}"], env=ENVIRONMENT, capture_output=True).returncode


def run(tool, python, folder):
    """Arrays and CPU seconds, or None and the last line that the tool said."""
    before = cpu_s()
    try:
        done = subprocess.run([python, PROGRAM, tool, "input.npz", "output.npz"], cwd=folder, env=ENVIRONMENT,
                              capture_output=True, text=True, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return None, f"no result in {TIMEOUT_S} s"
    if done.returncode:
        return None, (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
    with np.load(folder / "output.npz") as output:
        return dict(output), cpu_s() - before


def cpu_s():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
