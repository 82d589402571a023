"""features.h5: what is left out is said, what does not fit is refused, slides are known by what they hold."""
import logging

import h5py
import numpy as np
import pytest

import simulated_cohort
from simulated_cohort import change
from slide_ex.project import features_file


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
