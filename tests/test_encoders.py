"""Encoders: the plain network, the table, weights from files, random weights. timm's are skipped where it is absent."""
import dataclasses
import runpy

import cv2
import numpy as np
import pytest
import torch
import torchvision
from conftest import ROOT

import awake_resnet

from encoding import checkpoints, encoder_weights, tile_encoder
from encoding.encoders import ENCODERS
from encoding.tile_encoder import TileEncoder, fold_batch_norm, leave_out_silent_branches
from tiles import tiling

published = runpy.run_path(ROOT / "tests" / "benchmarks" / "published_way.py")
BIG = {"uni2-h", "virchow", "virchow2", "h-optimus-0", "prov-gigapath"}     # about a thousand million parameters each


@pytest.fixture(scope="module")
def random_resnet():
    """Network and SHA-256 of seed 0."""
    torch.set_num_threads(1)    # as a TileEncoder does, so that rounding is the same everywhere
    return encoder_weights.load(ENCODERS["resnet50"], "random", 0)


@pytest.fixture(scope="module")
def state_file(tmp_path_factory):
    return awake_resnet.save(tmp_path_factory.mktemp("weights") / "resnet.pth")


def tiles(n):
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (16, 16, 3), dtype=np.uint8).repeat(32, 0).repeat(32, 1) for _ in range(n)]


def plain_features(state_file, pictures):
    network = torchvision.models.resnet50()
    network.load_state_dict(torch.load(state_file, weights_only=True))
    network.fc = torch.nn.Identity()
    with torch.no_grad():
        return network.eval()(torch.stack([published["transform"](picture) for picture in pictures])).numpy()


def encode(encoder, pictures):
    """Features of tiles that need no stain normalisation."""
    return encoder.encode([(tiling.shrink(picture), encoder.picture(picture)) for picture in pictures])[0]


def cosine(a, b):
    return np.sum(a * b, axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


@pytest.mark.parametrize("precision, least", [("fp32", 0.999999), ("bf16", 0.999), ("fp16", 0.9999)])
def test_features_are_those_of_the_plain_way(state_file, precision, least):
    pictures = tiles(3)
    encoder = TileEncoder("resnet50", str(state_file), 0, precision, "cpu")
    found = encode(encoder, pictures)
    assert cosine(found, plain_features(state_file, pictures)).min() > least
    assert found.dtype == np.float32


def test_features_do_not_depend_on_the_batch(state_file):
    encoder = TileEncoder("resnet50", str(state_file), 0, "fp32", "cpu")
    pictures = tiles(5)
    alone = np.concatenate([encode(encoder, [picture]) for picture in pictures])
    np.testing.assert_allclose(encode(encoder, pictures), alone, rtol=1e-4, atol=1e-4)
    assert [array.shape for array in encoder.encode([])] == [(0, 2048), (0, 32, 32, 3)]


def test_folding_leaves_no_batch_norm_and_the_same_numbers():
    network = awake_resnet.network()
    x = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = network(x)
        fold_batch_norm(network)
        torch.testing.assert_close(network(x), before, rtol=1e-4, atol=1e-4)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules())


@pytest.mark.parametrize("build", [torchvision.models.resnet18, torchvision.models.resnet50])
def test_only_silent_branches_are_left_out_and_no_bit_changes(build):
    network, x = build(zero_init_residual=True).eval(), torch.randn(2, 3, 64, 64)
    blocks = [block for layer in (network.layer1, network.layer2, network.layer3, network.layer4) for block in layer]
    with torch.no_grad():
        awake = blocks[-1].bn3 if hasattr(blocks[-1], "bn3") else blocks[-1].bn2
        awake.bias[3] = 1e-3    # the least that a branch can say
        fold_batch_norm(network)
        before = network(x)
        leave_out_silent_branches(network)
        assert torch.equal(network(x), before)
    left = [block for block in network.modules() if isinstance(block, type(blocks[0]))]
    assert left == blocks[-1:]


def test_random_weights_are_those_of_their_seed(random_resnet):
    state_of_generator = torch.random.get_rng_state()
    again, sha_again = encoder_weights.load(ENCODERS["resnet50"], "random", 0)
    assert torch.equal(torch.random.get_rng_state(), state_of_generator)
    _, sha_other = encoder_weights.load(ENCODERS["resnet50"], "random", 1)
    assert random_resnet[1] == sha_again != sha_other
    for name, value in random_resnet[0].state_dict().items():
        assert torch.equal(value, again.state_dict()[name])


def test_random_features_tell_textures_apart(random_resnet):
    """Between textures features differ by about their own size; with torchvision's statistics they share one factor."""
    calibrated = random_resnet[0]
    torch.manual_seed(0)
    as_drawn = ENCODERS["resnet50"].build().eval()
    pictures = encoder_weights.textures(224, seed=7)

    def share_off_the_common_direction(network):
        with torch.no_grad():
            features = network(pictures).numpy()
        common = features.mean(axis=0) / np.linalg.norm(features.mean(axis=0))
        off = features - np.outer(features @ common, common)
        return np.linalg.norm(off) / np.linalg.norm(features)

    assert share_off_the_common_direction(calibrated) > 3 * share_off_the_common_direction(as_drawn)
    with torch.no_grad():
        features = calibrated(pictures).numpy()
    assert 0.1 < features.mean() < 10 and features.std(axis=0).mean() > 0.3 * features.mean()


@pytest.mark.parametrize("spoil, message", [
    (lambda path: path.write_bytes(b"no weights"), "not a state dict"),
    (lambda path: torch.save({"conv1.weight": torch.zeros(64, 3, 7, 7)}, path), "does not fit"),
    (lambda path: torch.save(torch.nn.Linear(2, 2), path), "not a state dict"),
])
def test_wrong_weight_files(tmp_path, spoil, message):
    path = tmp_path / "w.pth"
    spoil(path)
    with pytest.raises(ValueError, match=message):
        TileEncoder("resnet50", str(path), 0, "fp32", "cpu")


def test_failed_download_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", lambda *_, **__: (_ for _ in ()).throw(OSError("no route")))
    with pytest.raises(OSError, match=r"resnet50-11ad3fa6.pth on another machine and pass its path by --weights"):
        encoder_weights.load(ENCODERS["resnet50"], "imagenet", 0)


@pytest.mark.parametrize("name", ["resnet50", "ctranspath", *(pytest.param(name, marks=pytest.mark.slow)
                                                              for name in ("uni", "phikon-v2"))])
def test_state_dict_goes_to_disk_and_back(name, tmp_path):
    """Save seeded random weights, load them by --weights, get the same features of the stated width."""
    if name != "resnet50":
        pytest.importorskip("timm", reason="timm is optional (requirements-encoders.txt)")
    row = ENCODERS[name]
    network, _ = encoder_weights.load(row, "random", 0)
    torch.save({"model": network.state_dict()}, tmp_path / "w.pth")
    encoder = TileEncoder(name, str(tmp_path / "w.pth"), 0, "fp32", "cpu")
    picture = encoder.picture(tiles(1)[0])
    x = (torch.tensor(picture).permute(2, 0, 1)[None] / 255 - torch.tensor(row.mean).view(3, 1, 1)) \
        / torch.tensor(row.std).view(3, 1, 1)
    with torch.no_grad():
        expected = network(x).numpy()
    found = encode(encoder, tiles(1))
    assert found.shape == (1, row.n_features)
    assert cosine(found, expected).min() > 0.9999
    assert encoder.settings["weights"] == "w.pth"


@pytest.mark.parametrize("name", sorted(BIG))
def test_big_encoders_have_the_stated_width(name):
    """Built without memory on torch's meta device."""
    pytest.importorskip("timm", reason="timm is optional (requirements-encoders.txt)")
    row = ENCODERS[name]
    with torch.device("meta"):
        network = row.build().eval()
        assert network(torch.empty(2, 3, row.input_px, row.input_px)).shape == (2, row.n_features)


def test_ctranspath_of_an_early_timm_loads():
    pytest.importorskip("timm", reason="timm is optional (requirements-encoders.txt)")
    row = ENCODERS["ctranspath"]
    now = row.build().state_dict()
    early = {}
    for name, value in now.items():
        stage = int(name.split(".")[1]) if ".downsample." in name else 0
        early[name.replace(f"layers.{stage}.downsample", f"layers.{stage - 1}.downsample")] = value
    early["layers.0.blocks.1.attn_mask"] = early["layers.0.blocks.0.attn.relative_position_index"] = torch.zeros(1)
    assert "layers.0.downsample.norm.weight" in early
    renamed = row.rename(early)
    assert renamed.keys() == now.keys() and row.rename(now).keys() == now.keys()
    assert all(torch.equal(renamed[name], value) for name, value in now.items())


def test_phikon_v2_of_transformers_loads():
    pytest.importorskip("timm", reason="timm is optional (requirements-encoders.txt)")
    row = ENCODERS["phikon-v2"]
    with torch.device("meta"):
        expected = {name: value.shape for name, value in row.build().state_dict().items()}
    layer = {"norm1": [(1024,)] * 2, "norm2": [(1024,)] * 2, "mlp.fc1": [(4096, 1024), (4096,)],
             "mlp.fc2": [(1024, 4096), (1024,)], "attention.output.dense": [(1024, 1024), (1024,)]}
    layer |= {f"attention.attention.{part}": [(1024, 1024), (1024,)] for part in ("query", "key", "value")}
    shapes = {"embeddings.cls_token": (1, 1, 1024), "embeddings.position_embeddings": (1, 197, 1024),
              "embeddings.mask_token": (1, 1024), "layernorm.weight": (1024,), "layernorm.bias": (1024,),
              "embeddings.patch_embeddings.projection.weight": (1024, 3, 16, 16),
              "embeddings.patch_embeddings.projection.bias": (1024,)}
    for i in range(24):
        shapes |= {f"encoder.layer.{i}.layer_scale{k}.lambda1": (1024,) for k in (1, 2)}
        for name, (weight, bias) in layer.items():
            shapes |= {f"encoder.layer.{i}.{name}.weight": weight, f"encoder.layer.{i}.{name}.bias": bias}
    found = row.rename({name: torch.empty(shape, device="meta") for name, shape in shapes.items()})
    assert {name: value.shape for name, value in found.items()} == expected


def test_tiles_resized_in_torch_are_those_of_pil(state_file):
    """The way that pictures take on a GPU, here on the CPU: within one grey level of the other way."""
    encoder = TileEncoder("resnet50", str(state_file), 0, "fp32", "cpu")
    smooth = [cv2.GaussianBlur(tile, (0, 0), 5) for tile in tiles(2)]
    thumbnails, pictures = encoder.pictures_on_gpu(torch.from_numpy(np.stack(smooth)).permute(0, 3, 1, 2))
    for thumbnail, picture, tile in zip(thumbnails, pictures.permute(0, 2, 3, 1).numpy(), smooth):
        assert np.abs(picture.astype(int) - encoder.picture(tile)).max() <= 1
        assert np.abs(thumbnail.astype(int) - tiling.shrink(tile)).max() <= 1


class Small(torch.nn.Sequential):
    """A network of four names."""

    def __init__(self, seed=0):
        torch.manual_seed(seed)
        super().__init__(torch.nn.Linear(2, 3), torch.nn.Linear(3, 2))


def prefixed(prefix, network=None):
    return {prefix + name: value for name, value in (network or Small(1)).state_dict().items()}


@pytest.mark.parametrize("content", [
    prefixed(""), prefixed("module."), prefixed("encoder.backbone."), {"state_dict": prefixed("model.")},
    {"model": prefixed(""), "epoch": 3}, {"student": prefixed("backbone.", Small(2)),
                                          "teacher": prefixed("backbone.") | {"head.weight": torch.ones(2)}},
    {"state_dict": prefixed("encoder.") | {"decoder.weight": torch.ones(1)}}])
def test_the_one_prefix_under_which_all_names_fit(tmp_path, content):
    torch.save(content, tmp_path / "w.pth")
    network = Small()
    checkpoints.load(network, tmp_path / "w.pth", dict)
    for name, value in Small(1).state_dict().items():
        assert torch.equal(network.state_dict()[name], value)


@pytest.mark.parametrize("content, message", [
    ({"a.weight": torch.ones(2)},
     r"does not fit the encoder: 4 missing \(0.bias, 0.weight, ...\), 1 unexpected \(a.weight\)"),
    ({"one": prefixed(""), "two": prefixed("", Small(2))}, r"2 sets of weights that fit \(\{one\}; \{two\}\)"),
    ({"model": Small()}, "holds more than tensors"), (torch.ones(2), "it holds a Tensor")])
def test_weights_that_do_not_fit(tmp_path, content, message):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(ValueError, match=message) as caught:
        checkpoints.load(Small(), tmp_path / "w.pth", dict)
    assert "weights_only" not in str(caught.value)


@pytest.mark.parametrize("content, message", [
    (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"), (b"<!DOCTYPE html>", "web page"),
    (b"", "empty")])
def test_files_that_hold_no_weights_are_named(tmp_path, content, message):
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        checkpoints.load(Small(), tmp_path / "w.pth", dict)


def test_torchscript_is_named(tmp_path):
    torch.jit.script(Small()).save(tmp_path / "w.pth")
    with pytest.raises(ValueError, match="it is TorchScript"):
        checkpoints.load(Small(), tmp_path / "w.pth", dict)


@pytest.mark.parametrize("name, tiles", [("resnet50", (512, 20, "macenko")), ("ctranspath", (512, 20, "macenko")),
                                         ("uni", (256, 20, "none")), ("uni2-h", (256, 20, "none")),
                                         ("virchow", (224, 20, "none")), ("virchow2", (224, 20, "none")),
                                         ("h-optimus-0", (224, 20, "none")), ("prov-gigapath", (256, 20, "none")),
                                         ("phikon-v2", (224, 20, "none"))])
def test_tiles_are_those_that_the_encoders_were_trained_on(name, tiles):
    assert dataclasses.astuple(ENCODERS[name].tiles) == (*tiles, "", ""), "and nothing is dropped"


def test_a_precision_that_the_cpu_has_no_instructions_for_is_told(monkeypatch):
    monkeypatch.setattr(tile_encoder, "CPU_FLAGS", {"fp16": {"no_such_flag"}, "bf16": set()})
    assert "no instructions for fp16 (no_such_flag)" in tile_encoder.slow_precision(torch.device("cpu"), "fp16")
    assert not tile_encoder.slow_precision(torch.device("cpu"), "fp32")
