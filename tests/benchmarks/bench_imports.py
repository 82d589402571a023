"""How long each script takes to say --help: what it imports before it does anything. CPU seconds, the slowest first.

    python tests/benchmarks/bench_imports.py
"""
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
N_TRIES = 3     # of which the fastest counts


def main():
    scripts = sorted(path for folder in ("data", "deconvolution", "slide_processing", "prediction")
                     for path in (ROOT / folder).glob("*.py"))
    seconds = {path.relative_to(ROOT): min(cpu_seconds(path) for _ in range(N_TRIES))
               for path in (ROOT / "submit_slurm.py", *scripts)}
    for path, took in sorted(seconds.items(), key=lambda pair: -pair[1]):
        print(f"{took:6.2f}  {path}")


def cpu_seconds(path):
    before = os.times()
    subprocess.run([sys.executable, path, "--help"], stdout=subprocess.DEVNULL, check=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


if __name__ == "__main__":
    main()
