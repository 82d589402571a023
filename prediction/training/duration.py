"""How long networks will train that read every tile: measured on a few slides before they start."""
import time

import numpy as np
import torch

from training import mlp

LONG_H = 1.0        # hours of one core, or of a GPU, from which on it is told
N_TIMED = 4         # slides of the measurement
REMEDIES = {"regression": "--pooling mean takes minutes",
            "classification": "--model low-rank takes seconds, a smaller --patience less"}


def warning(pool, tasks, slides, splits):
    """What is to be told before `tasks` of one configuration start; "" where they do not take long."""
    config, (least, most) = tasks[0].config, hours(tasks, slides, splits, seconds_a_tile(pool, tasks[0].config))
    if least < LONG_H:
        return ""
    on_gpu = pool.device.type == "cuda"
    told = " to ".join(f"{round(value, 1 if value < 10 else None):g}" for value in (least, most))
    epochs = " to ".join(map(str, sorted({stops_after(config), config.max_epochs})))
    return (f"{len(tasks)} networks that read every tile take about {told} "
            f"{'hours of this GPU' if on_gpu else 'core hours'} ({epochs} epochs each, from the time of {N_TIMED} "
            f"slides); {REMEDIES[config.head]}{'' if on_gpu else ', and a GPU is faster'}")


def stops_after(config):
    """Epochs after which a network stops at the earliest."""
    return min(config.patience + 1, config.max_epochs)


def seconds_a_tile(pool, config):
    """Seconds a tile of training, and of validation, of the pooling alone: array (2,)."""
    network = mlp.Network(pool.means.shape[1], 1, config, torch.Generator(pool.device))
    rows = torch.from_numpy(np.linspace(0, len(pool.means) - 1, N_TIMED).astype(int)).to(pool.device)

    def train():
        generator = torch.Generator(pool.device).manual_seed(config.seed)
        pool(network, rows, generator).sum().backward()
        return network.first.weight.grad.sum().item()   # waits for a GPU

    @torch.no_grad()
    def validate():
        return pool(network, rows).sum().item()

    n_tiles = pool.slides.n_tiles[rows.cpu().numpy()].sum()
    return np.array([min(seconds(part) for _ in range(2)) for part in (train, validate)]) / n_tiles


def seconds(work):
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def hours(tasks, slides, splits, of_tile):
    """Hours that all tasks take: where each network stops as early as it can, and with all epochs; array (2,)."""
    total = np.zeros(2)
    for task in tasks:
        inner, known = splits["outer"][task.outer]["inner"][task.inner], set(task.target.patient_ids)
        n_tiles = [slides.n_tiles[slides.rows_of(set(inner[part]) & known)].sum() for part in ("train", "valid")]
        total += np.dot(n_tiles, of_tile) * np.array([stops_after(task.config), task.config.max_epochs])
    return total / 3600
