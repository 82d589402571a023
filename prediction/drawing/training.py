"""Figure 6, training: validation scores of all models by epoch."""
from drawing import captions, style
from drawing.marks import BLUE, ORANGE, RED
from slide_ex import text_table

TARGET_NAMES = {"cell_fraction": "Abundance", "direct": "Response, direct"}
SCORES = {"valid_r": "Validation R", "valid_accuracy": "Validation accuracy"}
N_COLUMNS, NAME_LETTERS = 4, 28


def training(project):
    """Validation score over the epochs of every network, a panel per target; marked: the best epoch, a last one."""
    histories = {}
    for path in sorted(project.glob("results/*_preds/result_*/history.csv")):
        histories.setdefault(path.parts[-3].removesuffix("_preds"), []).append(
            text_table.read_results(path, "the training script"))
    targets = [name for name in histories if name not in TARGET_NAMES] + [name for name in TARGET_NAMES
                                                                          if name in histories]
    figure, axes = style.small_multiples(len(targets), N_COLUMNS, 1.45)
    said = []
    for axis, target in zip(axes, targets):
        score, name = histories[target][0].columns[-1], TARGET_NAMES.get(target, target)
        n_last = sum(curve(axis, history, score) for history in histories[target])
        n_models = len(histories[target])
        axis.set(ylabel=SCORES[score], title=f"{style.broken(name, NAME_LETTERS)}\n"
                                             f"{captions.counted(n_models, 'network')}, {n_last} at the end")
        said.append(f"{name} {n_last} of {n_models}")
    figure.supxlabel("Epoch (orange point: the best of each network; red triangle: the best is the last)")
    words = (f"Validation score of every network over its epochs; point: the epoch that is kept. Red triangles: the "
             f"best epoch is the last, so the network may have learnt more: {captions.listed(said)}.")
    return style.Drawn(figure, "Training of the networks of all folds", [(axes[0], words)],
                       f"n: {sum(map(len, histories.values()))} networks. Low-rank models have no epochs and are not "
                       "shown. The score is of the inner validation patients; no interval, no test.")


def curve(axis, history, score):
    """One network; returns whether its best epoch is its last."""
    axis.plot(history["epoch"], history[score], color=BLUE, alpha=0.35, linewidth=0.5)
    best = history[score].idxmax()
    is_last = best == history.index[-1]
    axis.plot(history["epoch"][best], history[score][best], "^" if is_last else ".", markersize=4 if is_last else 3,
              color=RED if is_last else ORANGE)
    return is_last
