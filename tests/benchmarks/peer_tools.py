"""One slide to ResNet-50 features by another tool, as its documentation shows: a process of its own for bench_peers.py.

    <python of the peers> tests/benchmarks/peer_tools.py LazySlide slide.svs weights.pth

Tiles of 512 px at 0.5 um per pixel, shrunk to 224 px, in the tissue that the tool finds; no stain normalisation, no
mixed precision, the tool's own batches and threads; `published` is published_way.py, which normalises. Prints JSON:
tiles, features, version. Runs where this project is not installed.
"""
import importlib.metadata
import json
import sys
import tempfile

MPP, TILE_PX, INPUT_PX = 0.5, 512, 224


def resnet50(weights):
    """ResNet-50 without its last layer, of a state dict."""
    import torch
    import torchvision
    network = torchvision.models.resnet50()
    network.fc = torch.nn.Identity()
    network.load_state_dict(torch.load(weights, weights_only=True), strict=False)
    return network.eval()


def lazyslide(path, network):
    import lazyslide as zs
    import torch
    from torchvision.transforms import v2
    from wsidata import open_wsi
    to_input = v2.Compose([v2.ToImage(), v2.Resize((INPUT_PX, INPUT_PX)), v2.ToDtype(torch.float32, scale=True),
                           v2.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))])
    slide = open_wsi(path)
    zs.pp.find_tissues(slide)
    zs.pp.tile_tissues(slide, TILE_PX, mpp=MPP)
    zs.tl.feature_extraction(slide, network, model_name="resnet50", transform=to_input, device="cpu", amp=False,
                             pbar=False)
    return slide["resnet50_tiles"].shape


def tiatoolbox(path, network):
    import zarr
    from tiatoolbox.models.architecture.vanilla import CNNBackbone
    from tiatoolbox.models.engine.deep_feature_extractor import DeepFeatureExtractor
    from tiatoolbox.models.engine.io_config import IOPatchPredictorConfig
    backbone = CNNBackbone("resnet50")      # ends before the pooling, without weights
    backbone.feat_extract.load_state_dict({f"{i}.{name}": value for i, child in enumerate(network.children())
                                           for name, value in child.state_dict().items()}, strict=False)
    extractor = DeepFeatureExtractor(model=backbone, verbose=False)
    config = IOPatchPredictorConfig([{"units": "mpp", "resolution": MPP * TILE_PX / INPUT_PX}], (INPUT_PX, INPUT_PX),
                                    (INPUT_PX, INPUT_PX))
    with tempfile.TemporaryDirectory() as folder:
        done = extractor.run([path], patch_mode=False, ioconfig=config, save_dir=f"{folder}/out", device="cpu",
                             auto_get_mask=True, output_type="zarr")
        return zarr.open(str(next(iter(done.values()))), mode="r")["features"].shape


def published(path, network):
    import published_way
    return published_way.slide_features(path, TILE_PX, network)[1].shape


TOOLS = {"LazySlide": lazyslide, "tiatoolbox": tiatoolbox, "published": published}

if __name__ == "__main__":
    name, slide, weights = sys.argv[1:]
    shape = TOOLS[name](slide, resnet50(weights))
    version = "" if name == "published" else importlib.metadata.version(name)
    print(json.dumps({"tiles": shape[0], "features": shape[1], "version": version}))
