"""features.h5: what is left out is said, what does not fit is refused, slides are known by what they hold."""
import logging
import os
import resource
import shutil
import time

import h5py
import numpy as np
import pandas as pd
import pytest
import torch

import simulated_cohort
from simulated_cohort import change
from slide_ex import hdf5
from slide_ex.project import feature_file, features_file, features_writing
from training import mlp, model_config, pooling

CPU = torch.device("cpu")


@pytest.fixture
def project(tmp_path):
    return simulated_cohort.write(tmp_path / "cohort")


def test_slides_without_tiles_are_left_out_with_a_note(project, caplog):
    caplog.set_level(logging.INFO)
    before = features_file.read_slides(project / "features.h5")
    change(project / "features.h5", "first_tile", lambda first: np.r_[first[:1], first[:1], first[2:]])
    change(project / "features.h5", "mean_features", lambda means: np.r_[np.full_like(means[:1], np.nan), means[1:]])
    slides = features_file.read_slides(project / "features.h5")
    assert "P000-slide0" in caplog.text and list(slides.slide_ids) == list(before.slide_ids[1:])
    assert slides.slide_indexes[0] == 1 and slides.sha256 != before.sha256


def test_features_that_are_not_finite_are_refused(project):
    change(project / "features.h5", "mean_features", lambda means: np.r_[means[:1] * np.nan, means[1:]])
    with pytest.raises(ValueError, match="not finite in 1 .P000-slide0."):
        features_file.read_slides(project / "features.h5")


def test_mixed_encoders_are_refused(project):
    with h5py.File(project / "features.h5", "r+") as file:
        del file.attrs["weights_sha256"]
    with pytest.raises(ValueError, match="different encoders"):
        features_file.read_slides(project / "features.h5")


@pytest.mark.parametrize("name, spoil", [
    ("first_tile", lambda first: np.r_[first[:-1], first[-1] + 1]),      # more tiles than there are rows
    ("first_tile", lambda first: np.r_[first[:-1], first[-1] - 1]), ("first_tile", lambda first: first[::-1]),
    ("first_tile", lambda first: first + 1), ("first_tile", lambda first: first[:-1]),
    ("slide_ids", lambda ids: [*ids[:-1], ids[0]]),                      # a slide twice
    ("patient_ids", lambda ids: ids[:-1]), ("mean_features", lambda means: means[:-1]),
    ("coords", lambda coords: coords[:-1]), ("features", lambda features: features[:-1]),
    ("features", lambda features: features[..., None]), ("features", lambda features: features > 0),
    ("first_tile", lambda first: first > 0), ("first_tile", lambda first: first.astype(float)),
    ("coords", lambda coords: coords > 0), ("mean_rgb", lambda rgb: rgb > 0)])
def test_an_index_that_does_not_fit_is_refused(project, name, spoil):
    path = project / "features.h5"
    change(path, name, spoil)
    with pytest.raises(ValueError, match=f"{path} is damaged .*slide_processing/collect_features.py --overwrite"):
        features_file.read_index(path)


@pytest.mark.parametrize("name, spoil", [
    ("mean_rgb", lambda rgb: rgb[:-1]), ("mean_features", lambda means: means[:, 0])])
def test_means_that_do_not_fit_are_refused(project, name, spoil):
    path = project / "features.h5"
    change(path, name, spoil)
    with pytest.raises(ValueError, match=f"{path} is damaged .*means of shape"):
        features_file.read_slides(path)


# Over the files of the slides

IDS = ("S1", "50 % b\u00e9b\u00e9 %d", "S3", "empty", "S5")


def write_slides(project, slide_ids=IDS, dtype=np.float32):
    """Feature files of slides, one of them without tiles; the table of the slides."""
    (project / "features").mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    for slide_id in slide_ids:
        n = 0 if slide_id == "empty" else random.integers(30, 300)
        attributes = {name: 1 for name in (*feature_file.OWN, *feature_file.DECIDING)} | {
            "slide_id": slide_id, "patient_id": f"P {slide_id}", "encoder": "resnet50", "weights_sha256": "0"}
        feature_file.write(feature_file.path_of(project, slide_id), random.normal(size=(n, 24)).astype(dtype),
                           random.integers(0, 9999, (n, 2)), random.uniform(0, 255, (n, 3)), np.zeros((0, 2)),
                           attributes)
    return pd.DataFrame({"slide_id": slide_ids, "patient_id": [f"P {slide_id}" for slide_id in slide_ids]})


def collect(project, slides, copy=False):
    sources = [feature_file.read_summary(feature_file.path_of(project, slide_id)) for slide_id in slides.slide_id]
    attributes = features_writing.shared_attributes(sources, slides)
    if copy:
        bags = map(feature_file.read_arrays, (one.path for one in sources))
        features_writing.write(project / "copy.h5", slides, bags, attributes)
    else:
        features_writing.collect(project / "features.h5", slides, sources, attributes)


@pytest.fixture
def collected(tmp_path):
    """A project of which features.h5 is virtual, and copy.h5 the same with a copy of the tiles."""
    slides = write_slides(tmp_path / "p")
    collect(tmp_path / "p", slides)
    collect(tmp_path / "p", slides, copy=True)
    return tmp_path / "p"


def test_the_same_slides_give_the_same_bytes_whenever_they_are_collected(tmp_path):
    made = []
    slides = write_slides(tmp_path / "p")
    for _ in range(2):
        collect(tmp_path / "p", slides)
        made.append((tmp_path / "p" / "features.h5").read_bytes())
        time.sleep(1.1)     # HDF5 counts seconds
    assert made[0] == made[1]


def test_a_virtual_file_gives_what_a_copy_gives_from_wherever_it_is_opened(collected, tmp_path, monkeypatch):
    away = shutil.move(collected, tmp_path / "elsewhere" / "q")
    monkeypatch.chdir("/")
    copy, virtual = (features_file.read_slides(away / name) for name in ("copy.h5", "features.h5"))
    assert copy.sha256 == virtual.sha256 and len(virtual.slide_ids) == 4
    for row in range(4):
        for name in ("features", "coords"):
            np.testing.assert_array_equal(copy.read_tiles(name, row), virtual.read_tiles(name, row))
    with h5py.File(away / "copy.h5") as one, h5py.File(away / "features.h5") as other:     # as other programs read it
        assert set(other) - set(one) == {"slide_sums", *features_file.OF_SLIDES} and other["features"].is_virtual
        for name in one:
            np.testing.assert_array_equal(one[name][()], other[name][()])
    assert os.path.getsize(away / "features.h5") < os.path.getsize(away / "copy.h5") / 3


@pytest.mark.parametrize("name", ["tiles", "mean"])
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_networks_learn_the_same_from_a_virtual_file_and_a_copy(tmp_path, name, dtype):
    slides = write_slides(tmp_path, dtype=dtype)
    collect(tmp_path, slides), collect(tmp_path, slides, copy=True)
    network = mlp.Network(24, 3, model_config.Config("regression", name, 1, 1, hidden=8, dropout=0.9),
                          torch.Generator().manual_seed(1))
    rows, hidden = torch.tensor([3, 0, 1]), []
    for file in ("copy.h5", "features.h5"):
        for options in ({}, {"streamed": True}) if name == "tiles" else ({},):
            pool = pooling.POOLINGS[name](features_file.read_slides(tmp_path / file), CPU, **options)
            hidden.append(pool(network, rows, torch.Generator().manual_seed(2)))
    assert all(torch.equal(hidden[0], other) for other in hidden[1:])


def test_more_slides_than_a_process_may_have_open_are_read(tmp_path):
    slides = write_slides(tmp_path, [f"S{i}" for i in range(60)])
    collect(tmp_path, slides), collect(tmp_path, slides, copy=True)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 20, limits[1]))
    try:
        found = [pooling.TilePooling(features_file.read_slides(tmp_path / name), CPU).tiles
                 for name in ("features.h5", "copy.h5")]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert torch.equal(*found) and not found[0].isnan().any()


def test_tiles_take_one_look_at_the_file_of_their_slide(collected, monkeypatch):
    slides, opened = features_file.read_slides(collected / "features.h5"), []

    class Counted(h5py.File):
        def __init__(self, path, *args, **kwargs):
            opened.append(path)
            super().__init__(path, *args, **kwargs)
    monkeypatch.setattr(h5py, "File", Counted)
    slides.read_tiles("features", slides.row_of("S3"))
    assert opened == [feature_file.path_of(collected, "S3")]


def spoil(name, function):
    return lambda path: change(path, name, function)


@pytest.mark.parametrize("slide_id", IDS[1:3])
@pytest.mark.parametrize("spoiled, message", [
    (lambda path: path.unlink(), "those of 1 .{}. are not: bring them back"),
    (lambda path: path.rename(path.with_name("moved.h5")), "those of 1 .{}. are not"),
    (spoil("features", lambda tiles: tiles[:-1]), "collected from other features of 1 .{}. than"),
    (lambda path: shutil.copy(path.with_name("S1.h5"), path), "other features of 1 .{}. than"),
    (lambda path: path.write_bytes(path.read_bytes()[:-2000]), "{}.h5 is damaged")])
def test_a_slide_file_that_is_gone_or_another_one_is_named(collected, slide_id, spoiled, message):
    slides = features_file.read_slides(collected / "features.h5")
    spoiled(feature_file.path_of(collected, slide_id))
    with pytest.raises((ValueError, FileNotFoundError), match=message.format(slide_id)):
        features_file.read_slides(collected / "features.h5")
    for name in ("features", "coords"):     # when it goes while somebody learns from it
        with pytest.raises((ValueError, FileNotFoundError), match=message.format(slide_id)):
            slides.read_tiles(name, slides.row_of(slide_id))
        slides.read_tiles(name, slides.row_of("S1"))
    assert features_file.read_slides(collected / "copy.h5").sha256 == slides.sha256


@pytest.mark.parametrize("name", feature_file.ARRAYS)
def test_any_number_that_is_changed_in_place_is_noticed(collected, name):
    with h5py.File(feature_file.path_of(collected, "S3"), "r+") as file:
        file[name][-1, -1] += 1
    with pytest.raises(ValueError, match="other features of 1 .S3. than"):
        features_file.read_slides(collected / "features.h5")
    with pytest.raises(ValueError, match="S3.h5 is damaged .its arrays are not those of its sums_sha256"):
        feature_file.read_summary(feature_file.path_of(collected, "S3"))


def test_slides_of_earlier_versions_are_summarised_from_their_tiles(collected):
    path = feature_file.path_of(collected, "S3")
    now = feature_file.read_summary(path)
    with hdf5.writing(path, add=True) as file:
        del file["mean_features"], file["slide_rgb"], file.attrs[hdf5.SUMS]
    before = feature_file.read_summary(path)
    assert (before.sums_sha256, before.shape, before.attributes) == (now.sums_sha256, now.shape, now.attributes)
    for name in ("mean_features", "mean_rgb"):
        np.testing.assert_array_equal(np.float32(getattr(before, name)), getattr(now, name))
    change(path, "features", lambda tiles: tiles)    # without checksums, as the earliest
    assert feature_file.read_summary(path).sums_sha256 == ""
