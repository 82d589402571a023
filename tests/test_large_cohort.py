"""Slow: a thousand slides with flat memory and exact accounting; a slide of 100,000 x 100,000 px below 2 GB."""
import os
import subprocess
import sys
import time

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT

import painted_slides
from encoding import encoder_weights
from encoding.encoders import ENCODERS

pytestmark = pytest.mark.slow
N_SLIDES = 1000


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "w.pth"
    torch.save(encoder_weights.load(ENCODERS["resnet50"], "random", 0)[0].state_dict(), path)
    return path


def watch(project, *arguments):
    """Run slide processing; give its exit code, stderr and resident memory (MB) by number of slides done."""
    log, memory = project / "logs" / "slide_processing.csv", {}
    script = str(ROOT / "slide_processing" / "1main_processing.py")
    with subprocess.Popen([sys.executable, script, str(project), "all", *map(str, arguments)],
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            time.sleep(0.2)
            n_rows = log.read_bytes().count(b"\n") - 1 if log.exists() else 0
            with open(f"/proc/{process.pid}/statm") as statm:
                pages = int(statm.read().split()[1])    # resident
            memory[n_rows] = max(memory.get(n_rows, 0), pages * os.sysconf("SC_PAGE_SIZE") / 2**20)
        return process.returncode, process.stderr.read(), memory


def test_a_thousand_slides(tmp_path, weights, run_script):
    """Every tenth slide is glass, every fiftieth is missing; all are links to two files."""
    project = painted_slides.make_project(tmp_path / "project", {f"s{i:03d}": None for i in range(N_SLIDES)})
    metadata = pd.read_csv(project / "metadata.csv")
    metadata["Patient.ID"] = "P"    # who may have one scan twice
    metadata.to_csv(project / "metadata.csv", index=False)
    kinds = np.select([np.arange(N_SLIDES) % 50 == 7, np.arange(N_SLIDES) % 10 == 0], ["failed", "empty"], "done")
    for kind, glass in (("done", ()), ("empty", "all")):
        painted_slides.write_svs(tmp_path / f"{kind}.svs", painted_slides.slide_picture(1, 1, glass=glass))
    (project / "slides").mkdir()
    for i, kind in enumerate(kinds):
        if kind != "failed":
            (project / "slides" / f"s{i:03d}.svs").symlink_to(tmp_path / f"{kind}.svs")
    returncode, error, memory = watch(project, "--weights", weights)
    missing = ",".join(map(str, np.flatnonzero(kinds == "failed")))
    assert returncode == 1 and error.rstrip().endswith(f"run again with {missing}")
    log = pd.read_csv(project / "logs" / "slide_processing.csv")
    assert log.slide_index.tolist() == list(range(N_SLIDES)) and log.status.tolist() == kinds.tolist()
    early = max(mb for n, mb in memory.items() if 100 <= n < 300)
    late = max(mb for n, mb in memory.items() if 700 <= n < N_SLIDES)    # the end of the process takes memory
    assert late < early * 1.05 + 20, f"{early:.0f} MB after 100-300 slides, {late:.0f} MB after 700"
    print(f"resident memory {early:.0f} MB early, {late:.0f} MB late")

    for i in np.flatnonzero(kinds == "failed"):
        (project / "slides" / f"s{i:03d}.svs").symlink_to(tmp_path / "empty.svs")
    assert run_script("slide_processing/1main_processing.py", project, missing, "--weights", weights).returncode == 0
    for script in ("collect_mask", "collect_features"):
        done = run_script(f"slide_processing/{script}.py", project)
        assert done.returncode == 0, done.stderr
    with h5py.File(project / "features.h5") as file:
        np.testing.assert_array_equal(np.diff(file["first_tile"][:]), (kinds == "done").astype(int))


def test_memory_is_bounded_by_the_queue_not_the_slide(tmp_path, weights):
    project = painted_slides.make_project(tmp_path / "project", {"huge": None})
    (project / "slides").mkdir()
    painted_slides.write_huge_svs(project / "slides" / "huge.svs", 100_000)
    returncode, error, memory = watch(project, "--weights", weights, "--precision", "bf16")
    assert returncode == 0, error
    with h5py.File(project / "features" / "huge.h5") as file:
        assert file.attrs["n_tiles_total"] == 97 * 97 and len(file["features"]) > 100
    assert max(memory.values()) < 2000
