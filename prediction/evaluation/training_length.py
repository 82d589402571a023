"""Which networks are hardly trained: stopped by --max-epochs while they still learned, or kept from the first epochs.

A network of few steps an epoch (patients / 32) reaches --max-epochs before its patience ends; one whose best epoch is
among the first is near its random start. Neither says that the slides hold no more.
"""
from slide_ex import text_table
from slide_ex.project import model_folder

FIRST_EPOCHS = 5  # a network that is kept from one of these is near its start
HISTORY = "history.csv"


def hardly_trained(results, name, configs):
    """Number of networks that ended at the last epoch, that were kept from the first ones, and of all; three int.

    configs : dict of fold to config.json. Imported networks have no history and do not count.
    """
    n_ended = n_first = n_networks = 0
    for fold, config in configs.items():
        path = model_folder.folder(results, name, *fold)
        if config.get("imported") or not (path / HISTORY).is_file():
            continue
        history = text_table.read_results(path / HISTORY, model_folder.made_by(name), ["epoch"])
        score = history[history.columns[-1]]
        kept = history["epoch"].iloc[-1 if config["keep"] == "last" else int(score.argmax())]
        n_networks += 1
        n_ended += len(history) >= config["max_epochs"]
        n_first += len(history) < config["max_epochs"] and kept <= FIRST_EPOCHS
    return n_ended, n_first, n_networks
