"""An encoder in a file of the user's own: what it gives, what is recorded of it, what is refused."""
import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import painted_slides
from encoding import encoder_weights, own_encoder
from encoding.tile_encoder import TileEncoder
from slide_ex.project import metadata_file
from slide_ex.stages import slide_states
from tiles import slide_files

ENCODER = """
import torch

def build():
    torch.manual_seed({seed})
    # the normalisation is registered behind the convolution, but runs on other numbers
    class Mean(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 5, 3)
            self.norm = torch.nn.BatchNorm2d(5)

        def forward(self, x):
            return self.norm(self.conv(x).relu()).mean((2, 3))
    module = Mean()
    module.norm.running_mean[:] = 1
    return module, 64, (.5, .4, .3), (.2, .3, .4)
"""


def write(tmp_path, text):
    path = tmp_path / "my_encoder.py"
    path.write_text(text)
    own_encoder.load.cache_clear()
    return f"{path}:build"


def test_features_are_those_of_the_module(tmp_path):
    name = write(tmp_path, ENCODER.format(seed=3))
    tile = painted_slides.tissue(128, 128)
    encoder = TileEncoder(name, "imagenet", 0, "fp32", "cpu", normalisation="none")
    found, _ = encoder.encode([encoder.prepare(tile)])
    scope = {}
    exec(ENCODER.format(seed=3), scope)
    module, *_ = scope["build"]()
    picture = np.asarray(Image.fromarray(tile).resize((64, 64), Image.Resampling.BILINEAR)) / 255
    x = torch.tensor((picture - (.5, .4, .3)) / (.2, .3, .4), dtype=torch.float32).permute(2, 0, 1)[None]
    with torch.no_grad():
        np.testing.assert_allclose(found, module.eval()(x), atol=1e-5)


def test_it_is_recorded_and_another_is_refused(tmp_path, run_script):
    name = write(tmp_path, ENCODER.format(seed=3))
    project = painted_slides.make_project(tmp_path / "p", {"s": painted_slides.slide_picture(1, 2)})
    script = "slide_processing/1main_processing.py"
    done = run_script(script, project, "all", "--encoder", name)
    assert done.returncode == 0, done.stderr
    with h5py.File(project / "features" / "s.h5") as file:
        made = dict(file.attrs)
        assert file["features"].shape == (2, 5)
    own = own_encoder.load(name)
    assert made["encoder"] == "my_encoder.py:build" and made["weights"] == "own"
    assert (made["encoder_sha256"], made["weights_sha256"]) == (own.file_sha256, own.weights_sha256)
    assert slide_states.options_like(pd.Series(made)) == ["--encoder", "PATH/my_encoder.py:build"]
    write(tmp_path, ENCODER.format(seed=4))
    settings = encoder_weights.settings(name, "imagenet", 0, "fp32")
    with pytest.raises(ValueError, match="weights_sha256 was .*encoder_sha256 was"):
        slide_files.is_finished(project, metadata_file.read(project).loc[0], settings)
    done = run_script(script, project, "all", "--encoder", "uni9")
    assert done.returncode == 2 and "there is no encoder 'uni9': choose resnet50" in done.stderr


@pytest.mark.parametrize("text, message", [
    ("def other(): pass", "failed .AttributeError.*build.. gives a module, input_px, mean and sd"),
    ("import nothing_like_it", "failed .ModuleNotFoundError: No module named 'nothing_like_it'"),
    ("def build(): return 1, 2", "failed .ValueError"),
    ("def build(): return 1, 2, (0, 0, 0), (1, 1, 1)", "gave int, 2"),
    ("import torch\ndef build(): return torch.nn.Flatten(), 8, (0, 0, 0), (1, 1, 0)", "gave Flatten"),
    ("import torch\ndef build(): return torch.nn.Flatten(), 8, (124, 116, 104), (58, 57, 57)", "values from 0 to 1"),
    ("import torch\ndef build(): return torch.nn.Identity(), 8, (0, 0, 0), (1, 1, 1)",
     r"gives \(2, 3, 8, 8\) of 2 pictures"),
    ("import torch\ndef build(): return torch.nn.Linear(3, 4), 8, (0, 0, 0), (1, 1, 1)", "fails on pictures of 8 px")])
def test_what_is_no_encoder(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        own_encoder.load(write(tmp_path, text))


def test_absent_files_and_weights_beside_it(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent.py is missing: give FILE.py:FUNCTION"):
        own_encoder.load(f"{tmp_path}/absent.py:build")
    with pytest.raises(ValueError, match="comes with its weights; leave --weights out"):
        TileEncoder(write(tmp_path, ENCODER.format(seed=3)), "random", 0, "fp32", "cpu")
