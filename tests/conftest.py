"""What all tests use: scripts run as a user runs them, and real data where they lie beside the project."""
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def run_script():
    """Run a script of the repository by subprocess: run_script("prediction/make_splits.py", project, "--seed", 1)."""
    def run(script, *arguments, **options):
        command = [sys.executable, str(ROOT / script), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, **options)
    return run


@pytest.fixture(scope="session")
def shared_data():
    """Folder with real slides and a deconvolution benchmark; tests that need it are skipped where it is absent."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no ../shared/data beside the project: real slides and the deconvolution benchmark are not here")
    return folder
