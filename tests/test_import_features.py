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


def imported(project, features, run_script, *more, encoder="uni_v2"):
    return run_script("data/import_features.py", project, "--features-from", features, "--encoder", encoder, *more)


def geometry(project):
    return features_file.read_geometry(project / "features.h5")


def test_what_the_source_recorded_is_kept_for_each_slide(folders, run_script):
    project, features = folders
    for edge, (slide_id, filename) in zip((1024, 0, 1010), SLIDES[["Slide.ID", "Filename"]].to_numpy()):
        with h5py.File(features / f"{filename[:-4]}.h5", "r+") as file:
            file["coords"].attrs.update(patch_size_level0=edge, overlap=256, level0_width=9000, level0_height=8000)
    assert imported(project, features, run_script).returncode == 0
    found = geometry(project)
    assert found["patch_size_level0"].tolist()[::2] == [1024, 1010] and found["overlap"].tolist()[::2] == [256, 256]
    assert found["level0_width"].iloc[0] == 9000 and found["level0_mpp"].iloc[0] == 0.25


def test_attributes_in_any_form(folders, run_script):
    """Text as bytes, numbers in an array, and 'None', which TRIDENT writes for what it does not know."""
    project, features = folders
    paths = [features / f"{filename[:-4]}.h5" for filename in SLIDES["Filename"]]
    for path, name in zip(paths, (np.bytes_("uni_v2"), "uni_v2", "uni_v2")):
        with h5py.File(path, "r+") as file:
            file["features"].attrs["encoder"] = name
    with h5py.File(paths[0], "r+") as file:
        file["coords"].attrs.update(patch_size=np.array([512]), overlap="None")
    assert imported(project, features, run_script).returncode == 0
    found = geometry(project)
    assert np.isnan(found["overlap"].iloc[0]) and found["overlap"].iloc[2] == 0
    assert features_file.read_index(project / "features.h5")[-1]["encoder"] == "uni_v2"
    with h5py.File(paths[2], "r+") as file:
        file["coords"].attrs["patch_size"] = "512 px"
    done = imported(project, features, run_script, "--overwrite")
    assert done.returncode == 1 and f"{paths[2]} says patch_size = 512 px, which is no number" in done.stderr


def test_an_empty_slide_of_trident_is_an_empty_slide(folders, run_script):
    project, features = folders
    with h5py.File(features / f"{SLIDES['Filename'][0][:-4]}.h5", "w") as file:     # the first, which sets no width
        file["features"], file["coords"] = np.empty(0, np.float32), np.empty(0)
    done = imported(project, features, run_script)
    assert done.returncode == 0, done.stderr
    assert features_file.read_index(project / "features.h5")[2].tolist() == [0, 0, 0, 7]


def test_the_type_is_the_widest_and_holds_what_float16_does_not(folders, run_script):
    project, features = folders
    first, _, last = (features / f"{name[:-4]}.h5" for name in SLIDES["Filename"])
    trident(first, 5, dtype=np.float16)
    with h5py.File(last, "r+") as file:
        file["features"][0, 0] = 1e6
    assert imported(project, features, run_script).returncode == 0
    with h5py.File(project / "features.h5") as file:
        assert file["features"].dtype == np.float32 and file["features"][:].max() == 1e6


def write_clam(folder, edges=(256, 512, 256)):
    """CLAM's patches/ and pt_files of all slides."""
    import torch
    for name in ("patches", "pt_files"):
        (folder / name).mkdir()
    for i, (slide_id, edge) in enumerate(zip(SLIDES["Slide.ID"], edges)):
        with h5py.File(folder / "patches" / f"{slide_id}.h5", "w") as file:
            file["coords"] = np.arange(8).reshape(4, 2) * 100
            file["coords"].attrs.update(patch_size=256, patch_level=1, downsample=[edge / 256] * 2,
                                        level_dim=[4000, 3000])
        torch.save(torch.full((4, 6), float(i)) + torch.arange(6.), folder / "pt_files" / f"{slide_id}.pt")


def test_bags_of_clam_with_its_patches(folders, run_script, tmp_path):
    project, _ = folders
    write_clam(tmp_path)
    done = imported(project, tmp_path / "pt_files", run_script, "--clam-patches", tmp_path / "patches")
    assert done.returncode == 0, done.stderr
    assert geometry(project)["patch_size_level0"].tolist() == [256, 512, 256]
    assert geometry(project)["level0_width"].tolist() == [4000, 8000, 4000]
    with h5py.File(project / "features.h5") as file:
        assert file["coords"][:4].tolist() == (np.arange(8).reshape(4, 2) * 100).tolist()
    done = imported(project, tmp_path / "pt_files", run_script, "--overwrite")
    assert done.returncode == 0 and "no maps of 3 slides" in done.stdout and geometry(project).isna().all().all()
    done = imported(project, tmp_path / "pt_files", run_script, "--overwrite", "--tile-level0-px", "300")
    assert geometry(project)["patch_size_level0"].tolist() == [300] * 3


def test_the_layout_of_stamp(folders, run_script, tmp_path):
    """Coords in um become pixels where the table says the scale, and no coords where nobody does."""
    project, _ = folders
    SLIDES.assign(MPP=["0.25", "0.5", ""]).to_csv(project / "metadata.csv", index=False)
    (tmp_path / "stamp").mkdir()
    for i, slide_id in enumerate(SLIDES["Slide.ID"]):
        with h5py.File(tmp_path / "stamp" / f"{slide_id}.h5", "w") as file:
            file["feats"] = np.random.default_rng(i).normal(size=(2, 4)).astype(np.float16)
            file["coords"] = np.array([[0., 256], [512, 0]])
            file.attrs.update(extractor="uni_v2", unit="um", tile_size_um=256., tile_size_px=224)
    assert imported(project, tmp_path / "stamp", run_script).returncode == 0
    np.testing.assert_array_equal(geometry(project)["patch_size_level0"], [1024, 512, np.nan])
    with h5py.File(project / "features.h5") as file:
        assert file["coords"][:].tolist() == [[0, 1024], [2048, 0], [0, 512], [1024, 0], [-1, -1], [-1, -1]]
        assert file.attrs["tile_px"] == 224 and file.attrs["magnification"] == pytest.approx(8.75)


def test_names_that_mean_two_things_are_errors(folders, run_script):
    project, features = folders
    table = SLIDES.assign(Filename=["a/x.svs", "b/x.svs", SLIDES["Filename"][2]])
    table["Slide.ID"] = ["one", "two", table["Slide.ID"][2]]
    table.assign(**{"Patient.ID": ["P1", "P2", "P3"]}).to_csv(project / "metadata.csv", index=False)
    trident(features / "x.h5", 3)
    done = imported(project, features, run_script)
    assert done.returncode == 1 and "would be the features of one and of two" in done.stderr


def test_another_layout_is_refused_by_name(folders, run_script):
    project, features = folders
    with h5py.File(features / f"{SLIDES['Filename'][0][:-4]}.h5", "w") as file:
        file["embeddings"], file["locations"] = np.ones((2, 3)), np.ones((2, 2))
    done = imported(project, features, run_script)
    assert done.returncode == 1 and "has no features and no coords, but embeddings, locations" in done.stderr
