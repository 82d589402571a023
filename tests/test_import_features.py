"""Feature folders of TRIDENT and CLAM become features.h5, from which the models can be trained."""
import h5py
import numpy as np
import pandas as pd
import pytest

from slide_ex.project import features_file

SLIDES = pd.DataFrame({"Slide.ID": ["TCGA-A1-0001-01Z-00-DX1", "TCGA-A1-0002-01Z-00-DX1", "TCGA-A1-0002-01Z-00-DX2"],
                       "Filename": ["TCGA-A1-0001-01Z-00-DX1.AA-1.svs", "TCGA-A1-0002-01Z-00-DX1.BB-2.svs",
                                    "TCGA-A1-0002-01Z-00-DX2.CC-3.svs"]})


def trident(path, n_tiles, encoder=None, magnification=20, dtype=np.float32, n_features=8):
    random = np.random.default_rng(n_tiles)
    with h5py.File(path, "w") as file:
        file["features"] = random.normal(size=(n_tiles, n_features)).astype(dtype)
        file["coords"] = random.integers(0, 9999, (n_tiles, 2))
        if encoder:
            file["features"].attrs["encoder"] = encoder
        file["coords"].attrs.update({"patch_size": 512, "patch_size_level0": 1024, "level0_magnification": 40,
                                     "target_magnification": magnification, "overlap": 0, "name": path.stem})


@pytest.fixture
def folders(tmp_path):
    """A project with metadata.csv only, and a folder of feature files named as the slide files."""
    project, features = tmp_path / "p", tmp_path / "trident" / "features_uni_v2"
    project.mkdir()
    features.mkdir(parents=True)
    SLIDES.to_csv(project / "metadata.csv", index=False)
    for n_tiles, name in zip([5, 0, 7], SLIDES["Filename"]):
        trident(features / f"{name[:-4]}.h5", n_tiles)
    return project, features


def test_trident_folder(folders, run_script):
    project, features = folders
    arguments = ["data/import_features.py", project, "--features-from", features]
    done = run_script(*arguments)
    assert done.returncode == 1 and "give --encoder NAME (the folder is called 'uni_v2')" in done.stderr
    done = run_script(*arguments, "--encoder", "uni_v2")
    assert done.returncode == 0 and "3 slides of 2 patients, 12 tiles, uni_v2" in done.stdout, done.stderr
    with h5py.File(project / "features.h5") as file:
        assert file["first_tile"][:].tolist() == [0, 5, 5, 12] and file["features"].dtype == np.float32
        assert list(file["patient_ids"].asstr()[:]) == ["TCGA-A1-0001", "TCGA-A1-0002", "TCGA-A1-0002"]
        assert file.attrs["tile_px"] == 512 and file.attrs["magnification"] == 20
        with h5py.File(features / f"{SLIDES['Filename'][2][:-4]}.h5") as source:
            np.testing.assert_array_equal(file["features"][5:], source["features"][:])
            np.testing.assert_array_equal(file["coords"][5:], source["coords"][:])
            np.testing.assert_allclose(file["mean_features"][2], source["features"][:].mean(0), rtol=1e-5, atol=1e-6)
        assert np.isnan(file["mean_features"][1]).all()
    slides = features_file.read_slides(project / "features.h5")  # as prediction reads it
    assert list(slides.slide_ids) == [SLIDES["Slide.ID"][0], SLIDES["Slide.ID"][2]]
    assert "skipped" in run_script(*arguments, "--encoder", "uni_v2").stdout
    done = run_script(*arguments, "--encoder", "conch")
    assert done.returncode == 1 and "made in another way (encoder was uni_v2, now conch): " in done.stderr


def test_clam_files_by_slide_id_and_half_precision(folders, run_script):
    project, features = folders
    clam = features.parent / "h5_files"
    clam.mkdir()
    for slide_id in SLIDES["Slide.ID"]:
        with h5py.File(clam / f"{slide_id}.h5", "w") as file:
            file["features"], file["coords"] = np.ones((1, 3, 4), np.float16), np.zeros((3, 2), int)
    done = run_script("data/import_features.py", project, "--features-from", clam, "--encoder", "resnet50")
    assert done.returncode == 0, done.stderr
    with h5py.File(project / "features.h5") as file:
        assert file["features"].dtype == np.float16 and "tile_px" not in file.attrs


@pytest.mark.parametrize("fault, message", [
    ("missing", "no features of 1 slides"), ("near", "TCGA-A1-0001-01Z-00-DX1 (tcga_A1_0001_01Z_00_DX1?)"),
    ("magnification", "extract all slides in the same way"), ("encoder", "was made with the encoder conch, not uni_v2"),
    ("width", "of shape (3, 9), needed"), ("nan", "are not all finite"), ("no coords", "has no coords"),
    ("damaged", "is no readable HDF5 file"), ("parent", "no .h5 in"), ("no metadata", "metadata.csv is missing")])
def test_bad_input_is_named(folders, run_script, fault, message):
    project, features = folders
    path = features / f"{SLIDES['Filename'][0][:-4]}.h5"
    changes = {"missing": path.unlink, "near": lambda: path.rename(features / "tcga_A1_0001_01Z_00_DX1.h5"),
               "magnification": lambda: trident(path, 3, magnification=40),
               "encoder": lambda: trident(path, 3, "conch"),
               "width": lambda: trident(features / f"{SLIDES['Filename'][2][:-4]}.h5", 3, n_features=9),
               "damaged": lambda: path.write_bytes(b"no"), "no metadata": (project / "metadata.csv").unlink}
    if fault == "nan":
        with h5py.File(path, "r+") as file:
            file["features"][1, 1] = np.nan
    elif fault == "no coords":
        with h5py.File(path, "r+") as file:
            del file["coords"]
    elif fault in changes:
        changes[fault]()
    folder = features.parent if fault == "parent" else features
    done = run_script("data/import_features.py", project, "--features-from", folder, "--encoder", "uni_v2")
    assert done.returncode == 1 and message in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert not (project / "features.h5").exists()
    if fault == "missing":
        arguments = ["--features-from", folder, "--encoder", "uni_v2", "--allow-missing"]
        assert run_script("data/import_features.py", project, *arguments).returncode == 0
