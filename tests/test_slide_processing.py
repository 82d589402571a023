"""The three scripts as a user runs them: real slides, bad slides, interruptions, shared work, full disks."""
import os
import resource
import shutil
import subprocess
import sys
import time

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from conftest import ROOT
from pypdf import PdfReader

import painted_slides
from encoding import encoder_weights
from encoding.encoders import ENCODERS
from slide_ex import claim, hdf5

MAIN = "slide_processing/1main_processing.py"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Random weights in a file, which loads faster than they are made."""
    path = tmp_path_factory.mktemp("weights") / "w.pth"
    torch.save(encoder_weights.load(ENCODERS["resnet50"], "random", 0)[0].state_dict(), path)
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory, run_script, weights):
    """A project of four small slides, all processed: the third is glass."""
    project = tmp_path_factory.mktemp("finished") / "project"
    pictures = {f"s{i}": painted_slides.slide_picture(2, 3, glass="all" if i == 2 else (i,), seed=i) for i in range(4)}
    painted_slides.make_project(project, pictures)
    done = run_script(MAIN, project, "all", "--weights", weights)
    assert done.returncode == 0, done.stderr
    return project


def outputs(project):
    """Bytes of all features and masks by name."""
    return {path.relative_to(project).as_posix(): path.read_bytes()
            for folder in ("features", "mask") for path in sorted((project / folder).iterdir())}


def unprocessed(project, path):
    """A copy of a project before processing."""
    shutil.copytree(project, path, ignore=shutil.ignore_patterns("features*", "mask*", "logs", "tile_counts.pdf"))
    return path


def start(project, weights, **options):
    command = [sys.executable, str(ROOT / MAIN), str(project), "all", "--weights", str(weights)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, **options)


def wait_for(path, process):
    while not path.exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)


def parts(project):
    return list(project.rglob(".part-*"))


def test_real_slides(tmp_path, shared_data, run_script, weights):
    (tmp_path / "slides").mkdir()
    for slide in (shared_data / "slides").iterdir():
        (tmp_path / "slides" / slide.name).symlink_to(slide)
    table = "Slide.ID,Filename,Patient.ID,Magnification\nCMU-1,CMU-1-Small-Region.svs,P1,\n" \
            "TCGA-CR-7395-01A-01-TS1,TCGA-CR-7395-01A-01-TS1.svs,,"
    (tmp_path / "metadata.csv").write_text(table)
    done = run_script(MAIN, tmp_path, "all", "--weights", weights)
    assert done.returncode == 1
    assert "add the column Magnification (or MPP) to metadata.csv" in done.stdout
    assert done.stderr.startswith("error: 1 of 2 slides failed") and done.stderr.rstrip().endswith("run again with 1")
    (tmp_path / "metadata.csv").write_text(table + "20")
    assert run_script(MAIN, tmp_path, "1", "--weights", weights).returncode == 0
    log = pd.read_csv(tmp_path / "logs" / "slide_processing.csv")
    done = log[log.status == "done"].set_index("slide_index")
    assert done[["tiles", "kept"]].values.tolist() == [[20, 6], [48, 35]]
    with h5py.File(tmp_path / "features" / "TCGA-CR-7395-01A-01-TS1.h5") as file:
        assert file["features"].shape == (35, 2048) and np.isfinite(file["features"]).all()
        assert file.attrs["patient_id"] == "TCGA-CR-7395"


def test_collection(finished, run_script):
    assert run_script("slide_processing/collect_mask.py", finished).returncode == 0
    pdf = PdfReader(finished / "mask.pdf")
    assert [item.title for item in pdf.outline] == ["s0", "s1", "s2", "s3"] and len(pdf.pages) == 4

    done = run_script("slide_processing/collect_features.py", finished)
    assert done.returncode == 0, done.stderr
    assert "1 empty (no tile is tissue; the feature file has zero rows): 2" in done.stdout
    with h5py.File(finished / "features.h5") as file:
        assert file["slide_ids"].asstr()[:].tolist() == ["s0", "s1", "s2", "s3"]
        assert file["patient_ids"].asstr()[:].tolist() == ["P0", "P1", "P2", "P3"]
        assert file["features"].is_virtual and file["coords"].is_virtual
        assert {source.file_name for source in file["features"].virtual_sources()} == {
            f"features/s{i}.h5" for i in (0, 1, 3)}
        first = file["first_tile"][:]
        assert first.tolist() == [0, 5, 10, 10, 15]
        assert file.attrs["encoder"] == "resnet50" and file.attrs["weights"] == "w.pth"
        for i in (0, 1, 3):
            rows = slice(first[i], first[i + 1])
            with h5py.File(finished / "features" / f"s{i}.h5") as slide:
                np.testing.assert_array_equal(file["features"][rows], slide["features"])
                np.testing.assert_array_equal(file["coords"][rows], slide["coords"])
                mean = slide["features"][:].astype(np.float64).mean(axis=0)
            np.testing.assert_array_equal(file["mean_features"][i], mean.astype(np.float32))
        assert np.isnan(file["mean_features"][2]).all() and np.isnan(file["mean_rgb"][2]).all()

    before = (finished / "features.h5").stat().st_mtime_ns
    assert "features.h5 is finished" in run_script("slide_processing/collect_features.py", finished).stdout
    assert (finished / "features.h5").stat().st_mtime_ns == before
    done = run_script("slide_processing/collect_features.py", finished, "--dtype", "float16")
    assert done.returncode == 1
    assert ("features.h5 was made in another way (dtype was float32, now float16; copy was False, now True): use "
            "--overwrite") in done.stderr
    done = run_script("slide_processing/collect_features.py", finished, "--dtype", "float16", "--overwrite")
    assert done.returncode == 0
    with h5py.File(finished / "features.h5") as file:
        assert file["features"].dtype == "f2" and file["mean_features"].dtype == "f4"
        assert not file["features"].is_virtual
    assert run_script("slide_processing/collect_features.py", finished, "--copy", "--overwrite").returncode == 0
    before = (finished / "features.h5").read_bytes()
    for options in ((), ("--copy",), ("--dtype", "float32")):     # a copy, as all versions made it, is enough for all
        done = run_script("slide_processing/collect_features.py", finished, *options)
        assert "features.h5 is finished" in done.stdout and (finished / "features.h5").read_bytes() == before


def test_collection_goes_on_without_as_many_slides_as_allowed_and_names_them(finished, run_script, tmp_path):
    project = tmp_path / "project"
    shutil.copytree(finished, project, ignore=shutil.ignore_patterns("features.h5"))
    (project / "features" / "s1.h5").unlink()
    done = run_script("slide_processing/collect_features.py", project)
    assert done.returncode == 1 and "no features of 1 of 4 slides, s1: run" in done.stderr
    done = run_script("slide_processing/collect_features.py", project, "--allow-missing", 1)
    assert done.returncode == 0, done.stderr
    with h5py.File(project / "features.h5") as file:
        assert file["slide_ids"].asstr()[:].tolist() == ["s0", "s2", "s3"]
        assert file.attrs["missing_slide_ids"] == '["s1"]'
    shutil.rmtree(project / "features")
    done = run_script("slide_processing/collect_features.py", project, "--allow-missing", 4, "--overwrite")
    assert done.returncode == 1 and "no features of 4 of 4 slides" in done.stderr


def test_collection_refuses_mixed_encoders(finished, run_script, tmp_path):
    project = tmp_path / "project"
    shutil.copytree(finished, project, ignore=shutil.ignore_patterns("features.h5"))
    with hdf5.writing(project / "features" / "s3.h5", add=True) as file:
        file.attrs["weights_sha256"] = "another"
    done = run_script("slide_processing/collect_features.py", project)
    assert done.returncode == 1 and "s3.h5 has weights_sha256 = another" in done.stderr
    assert not (project / "features.h5").exists() and not parts(project)


def test_finished_slides_are_skipped_fast_and_other_weights_refused(finished, run_script, weights):
    before = outputs(finished)
    done = run_script(MAIN, finished, "all", "--weights", weights)
    assert done.returncode == 0 and done.stdout == "4 of 4 slides are finished\n"
    done = run_script(MAIN, finished, "1", "--weights", "random")
    assert done.returncode == 1 and "s1.h5 was made in another way" in done.stderr and done.stderr.count("\n") == 1
    assert outputs(finished) == before


def test_interrupted_work_ends_in_the_same_files(finished, tmp_path, weights):
    """SIGTERM after the first slide: gone before the last, nothing left; SIGKILL after the next; then to the end."""
    project = unprocessed(finished, tmp_path / "project")
    process = start(project, weights)
    wait_for(project / "features" / "s0.h5", process)
    process.terminate()
    assert process.wait(60) == 143
    assert not parts(project) and not (project / "features" / "s3.h5").exists()
    process = start(project, weights)
    wait_for(project / "features" / "s1.h5", process)
    process.kill()
    process.wait()
    process = start(project, weights)
    assert process.wait() == 0
    assert outputs(project) == outputs(finished)


def test_a_claim_that_was_left_at_the_last_step_goes_with_the_next_run(finished, tmp_path, run_script, weights):
    project = shutil.copytree(finished, tmp_path / "project")
    locks = [project / "features" / f".part-s{i}.h5.lock" for i in range(2)]
    for lock in locks:
        lock.write_text("a-host 1 2\n")
    with claim.held(locks[1]):
        assert run_script(MAIN, project, "all", "--weights", weights).returncode == 0
        assert not locks[0].exists() and locks[1].exists(), "who is at work keeps it"


def test_two_processes_share_a_cohort(finished, tmp_path, weights):
    project = unprocessed(finished, tmp_path / "project")
    both = [start(project, weights) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    assert outputs(project) == outputs(finished) and not parts(project)
    assert not pd.read_csv(project / "logs" / "slide_processing.csv").slide_id.duplicated().any(), "each slide once"


def test_full_disk(finished, tmp_path, weights):
    """Files cannot grow beyond 40 kB: features of tissue (61 kB) fail with a clear line, those of glass (20 kB) fit."""
    project = unprocessed(finished, tmp_path / "project")
    process = start(project, weights, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000)))
    assert process.wait() == 1
    error = process.stderr.read()
    assert error.startswith("error: 3 of 4 slides failed") and "Traceback" not in error
    log = pd.read_csv(project / "logs" / "slide_processing.csv", index_col="slide_id")
    assert log.reason["s0"].startswith("OSError: [Errno 27] File too large")
    assert not parts(project) and set(os.listdir(project / "features")) == {"s2.h5"}


def test_full_disk_at_collection(finished, tmp_path, run_script):
    project = tmp_path / "project"
    shutil.copytree(finished, project, ignore=shutil.ignore_patterns("features.h5", "mask.pdf"))
    limit = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))}
    for script, *options, message in (("collect_features", "error: [Errno 27]"), ("collect_mask", "error: [Errno 27]"),
                                      ("collect_features", "--copy", "error: no room for")):
        done = run_script(f"slide_processing/{script}.py", project, *options, **limit)
        assert done.returncode == 1 and done.stderr.startswith(message) and "Traceback" not in done.stderr
    assert not parts(project) and not (project / "features.h5").exists() and not (project / "mask.pdf").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_full_file_system(finished, tmp_path, weights):
    project = unprocessed(finished, tmp_path / "project")
    (project / "features").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=32k", "tmpfs", str(project / "features")]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("this machine does not let root mount")
    try:
        process = start(project, weights)
        assert process.wait() == 1
        log = pd.read_csv(project / "logs" / "slide_processing.csv", index_col="slide_id")
        assert "No space left on device" in log.reason["s0"] and not parts(project)
    finally:
        subprocess.run(["umount", str(project / "features")], check=True)


@pytest.fixture(scope="module")
def troubled(tmp_path_factory, run_script, weights):
    """A cohort with every bad slide, processed, and how the script ended."""
    project = tmp_path_factory.mktemp("troubled") / "project"
    picture = painted_slides.slide_picture(1, 2)
    slides = {"good": picture, "absent": None, "text": None, "mute": None, "coarse": None, "bad-block": picture,
              "cut": picture, "empty": painted_slides.slide_picture(1, 2, glass="all"), "tiny": picture[:300],
              "by-mpp": None, "last": picture}
    painted_slides.make_project(project, slides)
    folder = project / "slides"
    (folder / "text.svs").write_text("not a slide")
    painted_slides.write_svs(folder / "mute.svs", picture, power=None)
    painted_slides.write_svs(folder / "coarse.svs", picture, power=10)
    painted_slides.write_svs(folder / "by-mpp.svs", picture, power=None, mpp=0.5)
    offsets = painted_slides.write_svs(folder / "bad-block.svs", picture)
    painted_slides.spoil_block(folder / "bad-block.svs", offsets[2])
    with open(folder / "cut.svs", "r+b") as file:
        file.truncate(offsets[4])
    return project, run_script(MAIN, project, "all", "--weights", weights)


def test_failures_are_isolated_and_accounted_for(troubled):
    project, done = troubled
    log = pd.read_csv(project / "logs" / "slide_processing.csv", index_col="slide_id", keep_default_na=False)
    assert log.status.to_dict() == {
        "good": "done", "absent": "failed", "text": "failed", "mute": "failed", "coarse": "failed",
        "bad-block": "failed", "cut": "failed", "empty": "empty", "tiny": "failed", "by-mpp": "done", "last": "done"}
    for slide_id, reason in {"absent": "check Filename", "text": "no whole-slide image",
                             "mute": "does not say its magnification", "coarse": "--allow-upsampling",
                             "bad-block": "x=512, y=0", "tiny": "smaller than one tile",
                             "cut": "cut.svs" if "cannot be opened" in log.reason["cut"] else "is unreadable"}.items():
        assert reason in log.reason[slide_id]
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr == ("error: 7 of 11 slides failed (logs/slide_processing.csv says why); "
                           "when that is fixed, run again with 1-6,8\n")
    assert {path.stem for path in (project / "features").iterdir()} == {"good", "empty", "by-mpp", "last"}
    with h5py.File(project / "features" / "by-mpp.h5") as file:
        assert file.attrs["magnification_source"] == "MPP of the slide" and file.attrs["slide_magnification"] == 20


def test_status_and_collection_say_what_is_missing(troubled, run_script):
    project, _ = troubled
    done = run_script(MAIN, project, "all", "--status")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert [line.split(" ")[:2] for line in lines] == [["3", "done"], ["1", "empty"], ["7", "failed"], ["0", "missing"]]
    assert lines[1].endswith(": 7") and lines[2].endswith(": 1-6,8")
    for script in ("collect_mask", "collect_features"):
        done = run_script(f"slide_processing/{script}.py", project)
        assert done.returncode == 1 and done.stderr.rstrip().endswith("slide index 1-6,8") and lines[2] in done.stdout
    assert [item.title for item in PdfReader(project / "mask.pdf").outline] == ["good", "empty", "by-mpp", "last"]
    assert not (project / "features.h5").exists()


def test_accepted_troubles(troubled, run_script, weights):
    """Options that accept what was refused; the unreadable tile is in the file."""
    project, _ = troubled
    done = run_script(MAIN, project, "4,5", "--weights", weights, "--allow-upsampling", "--max-unreadable", 0.5)
    assert done.returncode == 0, done.stderr
    with h5py.File(project / "features" / "bad-block.h5") as file:
        assert file["unreadable"][:].tolist() == [[512, 0]] and len(file["features"]) == 1
    with h5py.File(project / "features" / "coarse.h5") as file:
        assert file.attrs["slide_magnification"] == 10 and file.attrs["level0_tile_px"] == 256


@pytest.mark.parametrize("arguments, message", [
    (["11"], "slide index 11 is out of range: metadata.csv has 11 slides, 0-10"),
    (["x"], "slide index 'x' is not understood"),
    (["0", "--weights", "nowhere.pth"], "--weights nowhere.pth: give imagenet, random or the path")])
def test_bad_arguments(troubled, run_script, arguments, message):
    done = run_script(MAIN, troubled[0], *arguments)
    assert done.returncode == 1 and message in done.stderr and done.stderr.count("\n") == 1
