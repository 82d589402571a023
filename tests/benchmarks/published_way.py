"""Slide processing written plainly, step by step as published: the oracle of the tests and the rival of the benchmark.

Stain concentrations come from SPAMS, as in the original.
"""
import cv2
import numpy as np
import openslide
import spams
from PIL import Image

H_AND_E = np.array([[0.5626, 0.7201, 0.4062], [0.2159, 0.8012, 0.5581]])
MAX_CONCENTRATIONS = np.array([1.9705, 1.0308])


def read_tile(slide, x, y, edge):
    tile = slide.read_region((x, y), 0, (edge, edge)).convert("RGB")
    return np.array(tile.resize((512, 512), Image.Resampling.BICUBIC))


def grid(slide, edge):
    width, height = slide.dimensions
    return [(column * edge, row * edge) for row in range(height // edge) for column in range(width // edge)]


def is_tissue(rgb):
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    gx = cv2.convertScaleAbs(cv2.Sobel(grey, cv2.CV_32F, 1, 0, ksize=3))
    gy = cv2.convertScaleAbs(cv2.Sobel(grey, cv2.CV_32F, 0, 1, ksize=3))
    return (cv2.addWeighted(gx, 0.5, gy, 0.5, 0) < 15).mean() <= 0.5


def macenko(rgb):
    bright = np.clip(rgb * 255.0 / np.percentile(rgb, 95), 0, 255).astype(np.uint8)
    bright[bright == 0] = 1
    od = -np.log(bright / 255.0).reshape(-1, 3)
    stained = od[(od > 0.15).any(axis=1)]
    _, vectors = np.linalg.eigh(np.cov(stained, rowvar=False))
    plane = vectors[:, [2, 1]]
    plane = plane * np.where(plane[0] < 0, -1, 1)
    projected = stained @ plane
    angles = np.arctan2(projected[:, 1], projected[:, 0])
    first, second = (plane @ [np.cos(a), np.sin(a)] for a in np.percentile(angles, [1, 99]))
    stains = np.array([first, second] if first[0] > second[0] else [second, first])
    stains /= np.linalg.norm(stains, axis=1, keepdims=True)
    c = lasso(od, stains)
    c *= MAX_CONCENTRATIONS / np.percentile(c, 99, axis=0)
    return (255 * np.exp(-c @ H_AND_E)).astype(np.uint8).reshape(rgb.shape)


def lasso(od, stains):
    """Concentrations (n_px, 2) of pixels (n_px, 3)."""
    return spams.lasso(X=np.asfortranarray(od.T), D=np.asfortranarray(stains.T), mode=2, lambda1=0.01, pos=True,
                       numThreads=1).toarray().T


def transform(rgb):
    """What torchvision's Resize, ToTensor and Normalize do to a PIL picture."""
    from torchvision import transforms

    steps = transforms.Compose([transforms.Resize((224, 224)), transforms.ToTensor(),
                                transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))])
    return steps(Image.fromarray(rgb))


def slide_features(path, edge, network, batch=32):
    """Coordinates and features of the tissue tiles of a slide, one step after the other in one process."""
    import torch

    slide = openslide.OpenSlide(path)
    kept, inputs = [], []
    for x, y in grid(slide, edge):
        tile = read_tile(slide, x, y, edge)
        if is_tissue(tile):
            kept.append((x, y))
            inputs.append(transform(macenko(tile)))
    with torch.no_grad():
        features = [network(torch.stack(inputs[i:i + batch])) for i in range(0, len(inputs), batch)]
    return np.array(kept), torch.cat(features).numpy()
