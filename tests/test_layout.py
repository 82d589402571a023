"""The house: folders meet in files, rooms have no circle, formats have one owner, scripts explain themselves."""
import ast
import graphlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from slide_ex.stages import plan

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ["slide_processing", "prediction", "deconvolution", "data"]
HOUSE = [*FOLDERS, "slide_ex"]
SOURCES = sorted(path for folder in HOUSE for path in (ROOT / folder).rglob("*.py"))
SCRIPTS = [path for path in SOURCES if 'if __name__ == "__main__":' in path.read_text()]
IMPORT_NAMES = {"scikit-learn": "sklearn", "openslide-python": "openslide", "opencv-python-headless": "cv2",
                "pillow": "PIL"}  # where the name to import differs from the name to install
NOT_IMPORTED = {"openslide-bin", "imagecodecs"}  # libraries that openslide-python and tifffile load themselves
MOST_MODULES = 14  # of one folder or room


def short(path):
    return str(path.relative_to(ROOT))


def house_of(path):
    """The folder at the top level that a file is in."""
    return path.relative_to(ROOT).parts[0]


def rooms(folder):
    """Names under which the scripts of a folder import its parts: sub-packages, and modules beside the scripts."""
    return {path.stem for path in (ROOT / folder).iterdir()
            if path.suffix == ".py" or (path / "__init__.py").is_file()}


def imported(path):
    """Dotted names of what a source file imports, anywhere in it: `from maps import choice` is maps.choice."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def imported_tops(path):
    return {name.split(".")[0] for name in imported(path)}


def required(requirements):
    """Import names of the packages that a requirements file lists."""
    packages = re.findall(r"^([A-Za-z0-9_.-]+)", requirements.read_text(), flags=re.MULTILINE)
    return {IMPORT_NAMES.get(name, name.replace("-", "_")) for name in packages if name not in {"-e", *NOT_IMPORTED}}


def test_rooms_are_unique_and_hide_nothing():
    names = [name for folder in FOLDERS for name in rooms(folder)]
    assert len(names) == len(set(names))
    assert not set(names) & sys.stdlib_module_names and "slide_ex" not in names


@pytest.mark.parametrize("path", SOURCES, ids=short)
def test_folders_import_the_ground_floor_and_their_own_rooms_only(path):
    elsewhere = set().union(*(rooms(folder) for folder in FOLDERS if folder != house_of(path)))
    assert not imported_tops(path) & (elsewhere | set(FOLDERS))


@pytest.mark.parametrize("folder", HOUSE)
def test_rooms_have_no_circle(folder):
    names = {room: f"slide_ex.{room}" if folder == "slide_ex" else room for room in rooms(folder)}
    uses = {}
    for room, dotted in names.items():
        place = ROOT / folder / room
        sources = list(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]
        found = set().union(*map(imported, sources))
        uses[room] = {other for other, its in names.items() if other != room
                      and any(name == its or name.startswith(f"{its}.") for name in found)}
    graphlib.TopologicalSorter(uses).prepare()  # raises CycleError with the circle


def test_folders_are_small():
    counts = {}
    for path in SOURCES:
        counts[short(path.parent)] = counts.get(short(path.parent), 0) + (path.name != "__init__.py")
    assert {folder: n for folder, n in counts.items() if n > MOST_MODULES} == {}


def test_lines_are_short():
    every = [ROOT / "submit_slurm.py", *SOURCES, *(ROOT / "tests").rglob("*.py")]
    long = [f"{short(path)}:{n}" for path in every for n, line in enumerate(path.read_text().splitlines(), 1)
            if len(line) > 120]
    assert not long


def test_imports_match_requirements():
    always = required(ROOT / "requirements.txt")
    optional = set().union(*(required(path) for folder in FOLDERS
                             for path in (ROOT / folder).glob("requirements*.txt")))
    own = set().union(*(rooms(folder) for folder in FOLDERS), {"slide_ex"})
    used = set().union(*(imported_tops(path) for path in SOURCES)) - sys.stdlib_module_names - own
    assert used - always - optional == set(), "imported but in no requirements file"
    assert always - used == set(), "required but never imported"


@pytest.mark.parametrize("path", [*SCRIPTS, ROOT / "submit_slurm.py"], ids=short)
def test_a_script_can_be_interrupted_while_it_imports_the_rest(path):
    """slide_ex.script comes before every library, and sees to it."""
    imports = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = [f"{node.module}.{node.names[0].name}" if isinstance(node, ast.ImportFrom) else node.names[0].name
             for node in imports]
    first = next(name for name in names if name.split(".")[0] not in sys.stdlib_module_names)
    assert first.startswith("slide_ex.script")


@pytest.mark.parametrize("path", SCRIPTS, ids=short)
def test_every_script_explains_itself(path):
    done = subprocess.run([sys.executable, path, "--help"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    for line in ("Reads", "Writes", f"python {short(path)} "):
        assert line in done.stdout


@pytest.mark.parametrize("path", SOURCES, ids=short)
def test_no_pickle(path):
    code = path.read_text()
    assert "pickle" not in imported_tops(path) or path.name == "pickles.py"  # which runs nothing that they say
    assert "allow_pickle=True" not in code and "read_pickle" not in code and "to_pickle" not in code
    assert code.count("torch.load(") == len(re.findall(r"torch\.load\([^\n]*weights_only=True", code))


def test_a_full_disk_under_the_log_costs_one_line(run_script, tmp_path):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "check_project.log").symlink_to("/dev/full")
    done = run_script("data/check_project.py", tmp_path)
    said = done.stdout + done.stderr
    assert said.count("No space left on device") == 1 and "Traceback" not in said and "Logging error" not in said
    assert "metadata.csv is missing" in done.stdout and "inputs cannot start" in done.stdout


def rows_of_files():
    """(paths, cell "written by") of each row of the table of files in data/README.md."""
    lines = (ROOT / "data" / "README.md").read_text().partition("| file | written by |")[2].splitlines()[2:]
    for line in lines:
        if not line.startswith("|"):
            return
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        yield re.findall(r"`([^`]+)`", cells[0]), cells[1]


@pytest.mark.parametrize("stage", plan.BY_NAME.values(), ids=lambda stage: stage.name)
def test_the_table_of_files_has_every_output_of_the_plan(stage):
    for output in (*stage.outputs, *stage.optional):
        named = [written_by for paths, written_by in rows_of_files() for path in paths
                 if output in (path, path.replace("[.gz]", ""), path.replace("[.gz]", ".gz"))
                 or path.endswith("/") and output.startswith(path)]
        assert any(stage.script in written_by for written_by in named), f"{output} of {stage.script}"


def test_the_table_of_files_names_no_script_for_what_the_plan_does_not_know():
    known = {}
    for stage in plan.BY_NAME.values():
        known.setdefault(stage.script, set()).update((*stage.outputs, *stage.optional))
    known["prediction/export_model.py"] = {f"<any folder>/{name}" for name in (
        "bundle.json", "<target>.safetensors", "training_range.safetensors", "README.md")}
    known["deconvolution/1main_deconvolution.py"].add("deconvolution/codefacs/")     # of CODEFACS itself
    for paths, written_by in rows_of_files():
        for script in re.findall(r"`(\w+/\w+\.py)`", written_by):
            assert any(output.startswith(path.removesuffix("[.gz]").removesuffix("/")) for path in paths
                       for output in known[script]), f"{paths} of {script}"


PAGES = ["README.md", "CONTRIBUTING.md", "data/README.md", *sorted(map(short, (ROOT / "docs").glob("*.md")))]


@pytest.mark.parametrize("page", PAGES)
def test_files_that_the_pages_name_exist(page):
    text = (ROOT / page).read_text()
    links = {target for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text)}
    assert [target for target in sorted(links) if not ((ROOT / page).parent / target).exists()] == []
    modules = set(re.findall(r"`((?:slide_ex|slide_processing|prediction|deconvolution|data|tests)/[\w/]+\.py)`", text))
    assert [name for name in sorted(modules) if not (ROOT / name).is_file()] == []


@pytest.mark.parametrize("page", ["README.md", "data/README.md"])
def test_commands_in_the_pages_exist(page):
    scripts = set(re.findall(r"\b((?:slide_processing|prediction|deconvolution|data)/\w+\.(?:py|sh))\b",
                             (ROOT / page).read_text()))
    assert scripts and all((ROOT / script).is_file() for script in scripts), sorted(
        script for script in scripts if not (ROOT / script).is_file())


READERS = re.compile(r"\bh5py\.File\(|\bjson\.loads?\(|\bread_csv\(")
OF_OTHER_PROGRAMS = {"data/inputs/extracted_features.py": "features of TRIDENT and CLAM",
                     "slide_processing/tiles/regions.py": "regions of QuPath and TRIDENT",
                     "data/inputs/bulk_sources.py": "STAR counts of GDC",
                     "deconvolution/sources/single_cells.py": "single cells of 10x Genomics"}


@pytest.mark.parametrize("path", [path for path in SOURCES if house_of(path) != "slide_ex"], ids=short)
def test_files_of_a_project_are_read_by_their_owners(path):
    assert short(path) in OF_OTHER_PROGRAMS or not READERS.search(path.read_text())


def test_a_project_that_cannot_be_written_to_can_be_checked(run_script, tmp_path):
    (tmp_path / "logs").write_text("a file where the folder of logs should be")
    done = run_script("data/check_project.py", tmp_path)
    assert "no lines in" in done.stdout and "metadata.csv is missing" in done.stdout and not done.stderr


def test_every_room_of_the_ground_floor_is_installed():
    listed = set(re.search(r"^packages = \[(.*)\]", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)[1]
                 .replace('"', "").split(", "))
    rooms_there = {f"slide_ex.{path.parent.name}" for path in (ROOT / "slide_ex").glob("*/__init__.py")}
    assert listed == rooms_there | {"slide_ex"}
