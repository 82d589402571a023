"""Trains one model: picks the slides of its fold, fits, predicts and writes the fold's folder."""
import logging
import time

import torch

from slide_ex import script
from slide_ex.project import model_folder, splits_file
from training import (
    fold_folder,
    fold_plots,  # noqa: F401  imported before processes are forked, once for all of them
    mlp,
    pooling,
)


def pooling_of(slides, config):
    """The pooling of a configuration on the GPU, or on the CPU where there is none; sets torch to one thread."""
    torch.set_num_threads(1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return pooling.POOLINGS[config.pooling](slides, device)


def train_one(task, slides, splits, pool):
    """Train the model of one fold and write its folder, whole or not at all."""
    started = time.perf_counter()
    with script.whole(task.path) as part:
        part.mkdir()
        labels = task.target.of_slides(slides)
        rows = splits_file.rows_of_parts(task.target, labels, task.outer, task.inner, slides, splits)
        device = pool.means.device
        on_device = {name: torch.from_numpy(of_part).to(device) for name, of_part in rows.items()}
        data = torch.from_numpy(labels).to(device), on_device["train"], on_device["valid"]
        network, history = fit_in_memory(pool, *data, task.config)
        parts = {name: {"slide_ids": slides.slide_ids[rows[name]], "patient_ids": slides.patient_ids[rows[name]],
                        "labels": labels[rows[name]], "predictions": mlp.predict(network, pool, on_device[name])}
                 for name in ("valid", "test")}
        record = {**task.record, model_folder.MADE_WITH: {"device": device.type, "torch": str(torch.__version__)}}
        fold_folder.write_history(part, history)
        fold_folder.write(part, record, network.state_dict(), task.target.outputs, parts)
    score = list(history[0])[-1]
    best = max(history, key=lambda epoch: epoch[score])
    logging.info(f"{task.target.name} {task.path.name}: best {score} {best[score]:.3f} in epoch {best['epoch']} of "
                 f"{len(history)}, {time.perf_counter() - started:.1f} s")


def fit_in_memory(pool, labels, train, valid, config):
    """mlp.fit, and once more with streamed tiles when the GPU has too little memory for the resident ones."""
    try:
        return mlp.fit(pool, labels, train, valid, config)
    except torch.cuda.OutOfMemoryError:
        if config.pooling == "mean" or pool.tiles is None:
            raise
    logging.warning("GPU out of memory: tile features are read from features.h5 from now on")
    pool.tiles = None  # outside of `except`, where the error would still hold what the first try had on the GPU
    return mlp.fit(pool, labels, train, valid, config)
