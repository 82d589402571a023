"""The house: folders meet in files, module names are unique, requirements match imports, scripts explain themselves."""
import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import expression_file
import feature_file
import fold_results
import h5py
import project_inputs
import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ["slide_processing", "prediction", "deconvolution", "data"]
SOURCES = sorted(path for folder in FOLDERS for path in (ROOT / folder).glob("*.py"))
SCRIPTS = [path for path in SOURCES if 'if __name__ == "__main__":' in path.read_text()]
COPIES = [ROOT / folder / f"{folder.removesuffix('_processing')}_script.py" for folder in FOLDERS]
IMPORT_NAMES = {"scikit-learn": "sklearn", "openslide-python": "openslide", "opencv-python-headless": "cv2",
                "pillow": "PIL"}  # where the name to import differs from the name to install
NOT_IMPORTED = {"openslide-bin", "imagecodecs"}  # libraries that openslide-python and tifffile load themselves


def short(path):
    return str(path.relative_to(ROOT))


def imported(path):
    """Top-level names of all modules that a source file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module.split(".")[0])
    return names


def required(requirements):
    """Import names of the packages that a requirements file lists."""
    packages = re.findall(r"^([A-Za-z0-9_.-]+)", requirements.read_text(), flags=re.MULTILINE)
    return {IMPORT_NAMES.get(name, name.replace("-", "_")) for name in packages if name not in NOT_IMPORTED}


def test_copies_of_the_script_module_are_equal():
    assert len({path.read_text() for path in COPIES}) == 1


def test_module_names_are_unique_and_hide_nothing():
    names = [path.stem for path in SOURCES]
    assert len(names) == len(set(names))
    assert not set(names) & sys.stdlib_module_names


@pytest.mark.parametrize("path", SOURCES, ids=short)
def test_folders_never_import_each_other(path):
    elsewhere = {other.stem for other in SOURCES if other.parent != path.parent}
    assert not imported(path) & elsewhere


def test_imports_match_requirements():
    always = required(ROOT / "requirements.txt")
    optional = set().union(*(required(path) for folder in FOLDERS for path in (ROOT / folder).glob("requirements*.txt")))
    used = set().union(*(imported(path) for path in SOURCES)) - sys.stdlib_module_names - {p.stem for p in SOURCES}
    assert used - always - optional == set(), "imported but in no requirements file"
    assert always - used == set(), "required but never imported"


@pytest.mark.parametrize("path", SCRIPTS, ids=short)
def test_every_script_explains_itself(path):
    done = subprocess.run([sys.executable, path, "--help"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    for line in ("Reads", "Writes", f"python {short(path)} "):
        assert line in done.stdout


@pytest.mark.parametrize("path", SOURCES, ids=short)
def test_no_pickle(path):
    code = path.read_text()
    assert "pickle" not in imported(path) or path.name == "original_pickles.py"  # which runs nothing that they say
    assert "allow_pickle=True" not in code and "read_pickle" not in code and "to_pickle" not in code
    assert code.count("torch.load(") == len(re.findall(r"torch\.load\([^\n]*weights_only=True", code))


def test_a_full_disk_under_the_log_costs_one_line(run_script, tmp_path):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "check_project.log").symlink_to("/dev/full")
    done = run_script("data/check_project.py", tmp_path)
    said = done.stdout + done.stderr
    assert said.count("No space left on device") == 1 and "Traceback" not in said and "Logging error" not in said
    assert "metadata.csv is missing" in done.stdout and "inputs cannot start" in done.stdout


def test_checksums_in_messages_are_short(tmp_path):
    """Each folder refuses what was made from something else, with 12 of the 64 digits of a checksum."""
    old, new = "a" * 64, "b" * 64
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text(json.dumps({"features_sha256": old}))
    (tmp_path / "preparation.json").write_text(json.dumps({"slides": old, "finished": True}))
    with h5py.File(tmp_path / "file.h5", "w") as file:
        file.attrs.update(parameters="{}", inputs=json.dumps({"bulk": old}), weights_sha256=old)
    for refuse in (lambda: fold_results.is_finished(tmp_path / "model", {"features_sha256": new}),
                   lambda: project_inputs.is_finished(tmp_path, {"slides": new}, overwrite=False),
                   lambda: expression_file.is_finished(tmp_path / "file.h5", {}, {"bulk": new}),
                   lambda: feature_file.check_settings(tmp_path / "file.h5", {"weights_sha256": new})):
        with pytest.raises(ValueError, match=f"{'a' * 12}[.]") as refused:
            refuse()
        assert "b" * 12 in str(refused.value) and "b" * 13 not in str(refused.value)


@pytest.mark.parametrize("page", ["README.md", "data/README.md"])
def test_commands_in_the_pages_exist(page):
    scripts = set(re.findall(r"\b((?:slide_processing|prediction|deconvolution|data)/\w+\.(?:py|sh))\b",
                             (ROOT / page).read_text()))
    assert scripts and all((ROOT / script).is_file() for script in scripts), sorted(
        script for script in scripts if not (ROOT / script).is_file())
