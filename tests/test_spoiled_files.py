"""Nothing silently wrong in files: a bit that flips, a file that is cut, a full disk are errors that name the file."""
import json
import logging
import os
import resource
import shutil
import subprocess
import sys

import h5py
import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file, save_file

import trained_project
from simulated_cohort import change
from slide_ex import checksums, hdf5, record, recorded_files, text_table
from slide_ex.project import (
    expression_file,
    feature_file,
    features_file,
    features_writing,
    model_folder,
    processing_log,
    targets_file,
)
from slide_ex.stages import plan
from transfer import model_bundle

N_FLIPS = 300   # in each HDF5 file; most bits of it are numbers


@pytest.fixture
def path(tmp_path):
    """An HDF5 file with numbers, names and attributes."""
    with hdf5.writing(tmp_path / "x.h5") as file:
        hdf5.write_array(file, "numbers", np.arange(3000.).reshape(30, 100), np.float32)
        hdf5.write_array(file, "group/none", np.zeros((0, 4)))
        hdf5.write_strings(file, "group/names", [f"gène {i}" for i in range(300)])
        file["numbers"].attrs["unit"] = "micrometre"
        file.attrs.update({"encoder": "resnet50", "seed": 3, "unknown": np.nan})
    return tmp_path / "x.h5"


def everything(path):
    with hdf5.reading(path, "a/script.py") as file:
        return (file["numbers"][:].tolist(), file["group/none"].shape, hdf5.strings(file["group"], "names").tolist(),
                repr(hdf5.attributes(file["numbers"])), repr(hdf5.attributes(file)))


def flipped(content, place, bit):
    spoiled = bytearray(content)
    spoiled[place] ^= 1 << bit
    return bytes(spoiled)


def test_a_flipped_bit_of_an_hdf5_file_is_refused_or_is_nowhere_seen(path):
    before, content, random = everything(path), path.read_bytes(), np.random.default_rng(0)
    n_refused = 0
    for place, bit in zip(random.choice(len(content), N_FLIPS, replace=False), random.integers(8, size=N_FLIPS)):
        path.write_bytes(flipped(content, place, bit))
        try:
            assert everything(path) == before, (place, bit)     # of space that nothing uses
        except ValueError as error:
            assert str(error).startswith(f"{path} is damaged (") and "a/script.py --overwrite" in str(error)
            n_refused += 1
    assert n_refused > N_FLIPS / 2


@pytest.mark.parametrize("text", [b"ne 17", b"resnet50", b"encoder", b"micrometre"])
def test_a_flipped_bit_of_a_name_is_refused(path, text):
    content = path.read_bytes()
    assert text in content
    path.write_bytes(flipped(content, content.index(text) + len(text) - 1, 0))
    with pytest.raises(ValueError, match=f"^{path} is damaged"):
        everything(path)


def test_files_of_earlier_versions_are_read_and_said_to_be_unverified(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    with h5py.File(tmp_path / "old.h5", "w") as file:
        file["numbers"] = [1., 2.]
    for _ in range(2):
        with hdf5.reading(tmp_path / "old.h5", "an/old_script.py") as file:
            assert file["numbers"][:].tolist() == [1, 2] 
    assert caplog.text.count("unverified; an/old_script.py --overwrite writes it with them") == 1


def test_more_is_added_to_a_file_and_chunks_fit_what_they_hold(path):
    with hdf5.writing(path, add=True) as file:
        hdf5.write_array(file, "more", np.ones((1000, 2048), np.float32))
        assert file["more"].chunks[0] * 2048 * 4 <= hdf5.CHUNK_BYTES and file["numbers"].chunks == (30, 100)
    sums = set()
    for row in (None, 0, 500, 999):     # of the first chunk, one between and the last
        with h5py.File(path, "r+") as file:
            if row is not None:
                file["more"][row, 0] = 2
        with hdf5.reading(path, "a/script.py") as file:
            sums.add(hdf5.sums_sha256(path, file["more"]))
    assert len(sums) == 4
    assert hdf5.chunk_of((10, 20000, 1000), 4) == (1, 260, 1000)


@pytest.mark.parametrize("is_checked", [True, False], ids=["collected", "of an earlier version"])
def test_any_changed_tile_or_mean_changes_what_models_learn_from(cohort, tmp_path, is_checked):
    path, before = tmp_path / "features.h5", features_file.read_slides(cohort / "features.h5")
    shutil.copy(cohort / "features.h5", path)
    if is_checked:
        slides = pd.DataFrame({"slide_id": before.slide_ids, "patient_id": before.patient_ids})
        bags = [(before.read_tiles("features", row), None, before.mean_rgb[row:row + 1]) for row in range(len(slides))]
        features_writing.write(path, slides, bags, before.attributes | {"content_sha256": "0"})
    first = features_file.read_slides(path)     # with the checksum that earlier versions gave it
    assert first.sha256 == checksums.of_content(first.slide_ids, first.patient_ids, first.n_tiles, first.mean_features,
                                                first.attributes)
    changed = {first.sha256}
    for name in ("features", "mean_features"):
        for row in (0, -1):
            with h5py.File(path, "r+") as file:
                file[name][row, 0] += 1e-3
            changed.add(features_file.read_slides(path).sha256)
    assert len(changed) == 5


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("cohort"))


def trained(folder):
    return trained_project.write(folder / "projects", n_patients=20, n_new=5)[0]


def test_any_changed_label_changes_what_models_learn_from(cohort, tmp_path):
    home = shutil.copytree(cohort, tmp_path / "home")
    known = {targets_file.read_expression(home / "targets.h5", "CAFs").sha256}
    for name, spoil in (("expression/CAFs/labels", lambda labels: labels + (np.arange(len(labels)) == 3)[:, None]),
                        ("expression/CAFs/genes", lambda genes: genes[::-1]), ("patient_ids", lambda ids: ids[::-1])):
        change(home / "targets.h5", name, spoil)
        known.add(targets_file.read_expression(home / "targets.h5", "CAFs").sha256)
    assert len(known) == 4


def test_features_of_a_slide_that_are_not_those_of_its_checksum_are_refused(tmp_path):
    path = tmp_path / "s.h5"
    attributes = {name: 1 for name in (*feature_file.OWN, *feature_file.DECIDING)} | {"slide_id": "s"}
    feature_file.write(path, np.ones((4, 3), np.float32), np.zeros((4, 2)), np.ones((4, 3)), np.zeros((0, 2)),
                       attributes)
    assert feature_file.read_arrays(path)[0].tolist() == [[1, 1, 1]] * 4
    change(path, "mean_rgb", lambda colours: colours + 1)
    with pytest.raises(ValueError, match=f"{path} is damaged .*content_sha256.*1main_processing.py --overwrite"):
        feature_file.read_arrays(path)
    for spoil in (lambda values: values > 0, lambda values: values[:-1], lambda values: values[:, :2]):
        change(path, "mean_rgb", spoil)
        with pytest.raises(ValueError, match=f"{path} is damaged .*features, coords and mean_rgb"):
            feature_file.read_attributes(path)


# Tables and their records

@pytest.fixture
def table(tmp_path):
    """A table of results with its record."""
    path = tmp_path / "results" / "CAFs_genes.csv"
    path.parent.mkdir()
    path.write_text("gene,pearson_r\nA,0.5\nB,0.25\nC,0.125\n")
    with hdf5.writing(path.parent / "predictions.h5") as file:
        hdf5.record_files(file, checksums.of_files([path], path.parent))
    return path


@pytest.mark.parametrize("spoil", [lambda text: text[:-8], lambda text: text[:-3], lambda text: text.replace("5", "6"),
                                   lambda text: "", lambda text: text + "D,1\n"])
def test_a_table_of_results_that_has_changed_is_refused(table, spoil):
    assert len(text_table.read_results(table, "a/script.py")) == 3
    table.write_text(spoil(table.read_text()))
    with pytest.raises(ValueError, match=f"{table} is not as it was written .*a/script.py --overwrite, and keep what"):
        text_table.read_results(table, "a/script.py")


def test_tables_without_a_record_are_somebodys_own(table, caplog):
    caplog.set_level(logging.INFO)
    own = table.with_name("own.csv")
    own.write_text("gene,pearson_r\nA,0.5\n")
    assert len(text_table.read_results(own, "a/script.py")) == 1 and not caplog.text
    with h5py.File(table.with_name("predictions.h5"), "w"):
        pass    # of an earlier version
    os.utime(table.with_name("predictions.h5"), (1, 1))
    text_table.read_results(table, "another/script.py")
    assert "CAFs_genes.csv: written without checksums" in caplog.text


def test_a_table_that_one_record_names_is_verified_whatever_else_lies_beside_it(table, caplog):
    """A model's history.csv is in config.json; predictions.h5 beside it is a record of nothing there."""
    caplog.set_level(logging.INFO)
    with hdf5.writing(table.parent.parent / "targets.h5"):
        pass
    record.write(table.with_name("config.json"), {"target": "CAFs"})
    assert len(text_table.read_results(table, "a third/script.py")) == 3 and not caplog.text


@pytest.mark.parametrize("content", ["[1, 2]", "{", '{"files_sha256": {}}', '{"mine": 1}'])
def test_files_of_others_beside_a_table_are_no_records(tmp_path, caplog, content):
    caplog.set_level(logging.INFO)
    for name in ("config.json", "predictions.h5", "preparation.json"):
        (tmp_path / name).write_text(content)
    (tmp_path / "own.tsv").write_text("gene\tP1\nA\t1\n")
    assert len(text_table.read_strings(tmp_path / "own.tsv", "a table")) == 1 and not caplog.text


def test_inputs_may_be_edited_with_a_line_and_are_refused_where_they_are_cut(tmp_path, caplog):
    path = tmp_path / "metadata.csv"
    path.write_text("Slide.ID,Patient.ID\ns1,P1\ns2,P2\n")
    record.write(tmp_path / "preparation.json", {"finished": True}, [path])
    assert record.read(tmp_path / "preparation.json", "a/script.py") == {"finished": True}  # checksums are nobody's
    text_table.read_strings(path, "a table")
    assert not caplog.text
    path.write_text("Slide.ID,Patient.ID\ns1,P1\n")
    assert len(text_table.read_strings(path, "a table")) == 1
    assert f"{path} is not as data/prepare_tcga.py" in caplog.text and "right if you edited it" in caplog.text
    path.write_text("Slide.ID,Patient.ID\ns1,P1\ns2,P")
    with pytest.raises(ValueError, match=f"{path} .* its last line does not end: it was cut off"):
        text_table.read_strings(path, "a table")


def test_every_table_of_the_plan_has_a_record_that_is_looked_for():
    known = recorded_files.RECORDS | recorded_files.OF_INPUTS
    for stage in plan.BY_NAME.values():
        *others, marker = map(plan.Path, stage.outputs)
        for output in (*others, *map(plan.Path, stage.optional)):
            for_people = output.parts[0] in ("logs", "maps", "figures")
            is_read = not for_people and not output.name.startswith(("demo_", "download_"))
            if output.suffix in (".csv", ".tsv", ".txt") and is_read:
                record_path = output.with_name(marker.name) if "low_rank" in output.parts else marker
                looked_for = [os.path.normpath(output.parent / name) for name in known]
                assert os.path.normpath(record_path) in looked_for, output


# JSON

def test_a_record_that_was_changed_is_refused_unless_its_checksum_is_taken_out(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    path = tmp_path / "splits.json"
    record.write(path, {"n_outer": 5, "outer": ["a", "b"]})
    content = path.read_bytes()
    path.write_text(path.read_text().replace('"n_outer": 5', '"n_outer": 4'))
    with pytest.raises(ValueError, match=f"{path} is not as it was written .*make_splits --overwrite, or take out its "
                                         "entry 'record_sha256' if the change is meant"):
        record.read(path, "make_splits")
    path.write_text(json.dumps({"n_outer": 4}))
    assert record.read(path, "make_splits") == {"n_outer": 4} and "splits.json: written without" in caplog.text
    for place in range(len(content)):
        path.write_bytes(flipped(content, place, place % 8))
        try:
            found = record.read(path, "make_splits")
            assert {"n_outer": 5, "outer": ["a", "b"]}.items() <= found.items()     # a bit of the checksum's name
        except ValueError as error:
            assert str(path) in str(error)


# Weights

def test_weights_that_are_not_those_of_their_record_are_refused(tmp_path):
    folder = tmp_path / "CAFs_preds" / "result_0_0"
    folder.mkdir(parents=True)
    state, (rows, ids) = network(), (np.ones((2, 3), np.float32), np.array(["a", "b"]))
    part = {"slide_ids": ids, "patient_ids": ids, "labels": rows, "predictions": rows}
    model_folder.write(folder, {"target": "CAFs"}, state, list("xyz"), {"valid": part, "test": part})
    assert set(model_folder.read_state(folder)) == set(state)
    content = (folder / "model_trained.pth").read_bytes()
    for place in np.random.default_rng(0).choice(len(content), 50, replace=False):
        (folder / "model_trained.pth").write_bytes(flipped(content, place, 0))
        with pytest.raises(ValueError, match="model_trained.pth is not as it was written .SHA-256."):
            model_folder.read_state(folder)


def network(n_outputs=3):
    import torch
    return {"first.weight": torch.ones(4, 5), "first.bias": torch.ones(4), "last.weight": torch.ones(n_outputs, 4),
            "last.bias": torch.ones(n_outputs)}


@pytest.mark.parametrize("name, spoil", [
    ("weight", lambda values: values * np.nan), ("weight", lambda values: (values * 0).astype(np.int64)),
    ("weight", lambda values: values[:-1]), ("bias", lambda values: values[None]),
    ("weight", lambda values: values.astype(np.float16)), ("bias", lambda values: values + np.inf),
    ("weight", lambda values: values > 0)])
def test_bundles_with_weights_that_are_none_are_refused(exported, name, spoil):
    weights = exported / "CAFs.safetensors"
    tensors = load_file(weights)
    save_file(tensors | {name: np.ascontiguousarray(spoil(tensors[name]))}, weights)
    sign(exported)
    with pytest.raises(ValueError, match=f"{weights} is damaged .*: get the bundle again"):
        list(model_bundle.read(exported).targets["CAFs"].states([]))


def test_bundles_with_weights_under_another_name_or_outputs_in_another_order_are_refused(exported):
    content, first, second = (exported / name for name in ("bundle.json", "CAFs.safetensors",
                                                           "Cancer Epithelial.safetensors"))
    text = content.read_text()
    content.write_text(text.replace('"GENE0"', '"GENE00"'))
    with pytest.raises(ValueError, match="bundle.json is damaged, or was edited: get the bundle again"):
        model_bundle.read(exported)
    content.write_text(text)
    first.rename(exported / "x"), second.rename(first), (exported / "x").rename(second)
    sign(exported)
    with pytest.raises(ValueError, match=f"{first} holds the weights of Cancer Epithelial"):
        list(model_bundle.read(exported).targets["CAFs"].states([]))
    first.rename(exported / "x"), second.rename(first), (exported / "x").rename(second)
    described = json.loads(text)
    described["targets"]["CAFs"]["outputs"].reverse()
    sign(exported, described)
    with pytest.raises(ValueError, match=f"{first} holds the weights of CAFs, or of other outputs"):
        list(model_bundle.read(exported).targets["CAFs"].states([]))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory, run_script):
    folder = tmp_path_factory.mktemp("exported")
    home = trained(folder)
    done = run_script("prediction/export_model.py", home, folder / "bundle")
    assert done.returncode == 0, done.stderr
    return folder / "bundle"


@pytest.fixture
def exported(bundle, tmp_path):
    shutil.copytree(bundle, tmp_path / "bundle")
    return tmp_path / "bundle"


def sign(bundle, content=None):
    """Write bundle.json of the files that are there now, as somebody would who gives away wrong weights."""
    content = content or json.loads((bundle / "bundle.json").read_text())
    content = {name: value for name, value in content.items() if name != record.OWN}
    record.write(bundle / "bundle.json", content | {"files": checksums.of_files(bundle.glob("*.safetensors"), bundle)})


# A full disk

WRITE = """
import sys
from pathlib import Path
import numpy as np
from slide_ex import hdf5, script
path = Path(sys.argv[1])
try:
    with script.whole(path) as part, hdf5.writing(part) as file:
        growing = hdf5.new_array(file, "growing", (0, 50), np.float32, grows=True)
        for i in range(40):
            growing.resize(50 * (i + 1), axis=0)
            growing[50 * i:] = i
        hdf5.write_array(file, "numbers", np.random.default_rng(0).random((400, 100)))
        hdf5.write_strings(file, "names", [f"name {i}" for i in range(500)])
        file.attrs["encoder"] = "resnet50"
except OSError as error:
    sys.exit(f"error: {error}")
"""


@pytest.mark.parametrize("room_kb", [0, 4, 8, 60, 300, 800])
def test_a_full_disk_is_an_ordinary_error(tmp_path, room_kb):
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", tmp_path],
                                           capture_output=True).returncode:
        pytest.skip("mounting a small file system needs root, and the right to mount")
    try:
        with open(tmp_path / "other", "wb") as other:
            os.posix_fallocate(other.fileno(), 0, 2**20 - 4096 * (2 + room_kb // 4))     # and two pages of folders
        done = subprocess.run([sys.executable, "-c", WRITE, tmp_path / "x.h5"], capture_output=True, text=True)
        assert done.returncode == 1 and "No space left on device: no room for" in done.stderr, done.stderr
        assert os.listdir(tmp_path) == ["other"]
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_a_write_that_takes_a_part_is_gone_on_with(tmp_path):
    disk = hdf5.Disk(tmp_path / "x", "w+b")
    whole_write = disk.file.write
    disk.file = type("Short", (), {"write": staticmethod(lambda data: whole_write(data[:7]))})
    assert disk.write(bytes(range(100))) == 100 and (tmp_path / "x").read_bytes() == bytes(range(100))


@pytest.mark.parametrize("limit", [1, 3000, 30_000, 300_000])
def test_a_file_that_may_not_grow_is_an_ordinary_error(tmp_path, limit):
    done = subprocess.run([sys.executable, "-c", WRITE, tmp_path / "x.h5"], capture_output=True, text=True,
                          preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    assert done.returncode == 1 and "File too large: no room for" in done.stderr and not os.listdir(tmp_path)


def test_a_file_with_twins_among_its_patients_or_genes_is_refused(tmp_path):
    path = tmp_path / "expression.h5"
    expression_file.write(path, np.ones((1, 2, 2)), np.ones((2, 2)), ["T"], ["A", "A"], ["p", "q"], "native", {}, {})
    with pytest.raises(ValueError, match=f"{path} is damaged .*A"):
        expression_file.read_names(path)


@pytest.mark.parametrize("spoil", [lambda rows: rows[:-9], lambda rows: rows[:40] + b'"' + rows[40:],
                                   lambda rows: rows[:90] + b"\0\xff,,\n" + rows[90:], lambda rows: b"\xff\xfe" + rows])
def test_of_a_torn_log_only_the_torn_row_is_skipped(tmp_path, spoil):
    (tmp_path / "logs").mkdir()
    for slide in range(9):
        processing_log.append(tmp_path, {"slide_index": slide, "slide_id": f"s{slide}", "status": "failed",
                                         "reason": 'OSError: "x.svs", cut off', "tiles": 4})
    path = processing_log.path_of(tmp_path)
    assert processing_log.last_attempts(tmp_path).reason["s8"] == 'OSError: "x.svs", cut off'
    path.write_bytes(spoil(path.read_bytes()))
    assert len(processing_log.last_attempts(tmp_path)) >= 8
