"""The pictures of a model: what is drawn, and that a figure which serves many models keeps nothing of the last one."""
import matplotlib as mpl
import numpy as np
import pytest

from training import fold_plots

HISTORY = [{"epoch": i, "train_loss": 1 / i, "valid_loss": 2 / i, "valid_r": 0.5 - abs(i - 7) / 50}
           for i in range(1, 21)]


def predictions(seed, n_outputs=5):
    rng = np.random.default_rng(seed)
    labels = rng.normal(seed, 1 + seed, (12, n_outputs)).astype(np.float32)
    outputs = [f"GENE{seed}{i}" for i in range(n_outputs)]
    return labels, labels * 0.5 + 1, outputs, rng.permutation(n_outputs) / 10


@pytest.fixture(autouse=True)
def a_process_that_draws_nothing_else():
    """Without the style of the figures of the paper, which other tests of this process may have imported."""
    for empty in (fold_plots.empty_losses, fold_plots.empty_predictions, fold_plots.empty_probabilities):
        empty.cache_clear()
    with mpl.rc_context(mpl.rcParamsDefault):
        yield


DRAWN = {
    "losses": (fold_plots.losses, [HISTORY], [[{**epoch, "train_loss": 90.0} for epoch in HISTORY[:3]]]),
    "best predictions": (fold_plots.best_predictions, predictions(1), predictions(3)),
    "probabilities": (fold_plots.probabilities, ([0, 1], [0.2, 0.9], "pCR"), ([1, 1, 0], [0.4, 0.5, 0.6], "pCR"))}


@pytest.mark.parametrize("is_laid_out", [False, True])     # by a user's matplotlibrc
@pytest.mark.parametrize("draw, arguments, others", DRAWN.values(), ids=DRAWN)
def test_a_picture_does_not_depend_on_those_drawn_before(tmp_path, draw, arguments, others, is_laid_out):
    mpl.rcParams["figure.constrained_layout.use"] = is_laid_out
    pictures = []
    for i, of_model in enumerate((arguments, others, arguments)):
        fold_plots.save(draw(*of_model), tmp_path / f"{i}.pdf")
        pictures.append((tmp_path / f"{i}.pdf").read_bytes())
    assert pictures[0] == pictures[2] != pictures[1]


def test_best_outputs_are_shown_whole(tmp_path):
    labels, predicted, outputs, correlations = predictions(2)
    figure = fold_plots.best_predictions(labels, predicted, outputs, correlations)
    best = np.argsort(-correlations)[:3]
    assert [axis.get_title() for axis in figure.axes] == [f"{outputs[i]}, R {correlations[i]:.2f}" for i in best]
    for axis, i in zip(figure.axes, best):
        assert axis.lines[0].get_xydata().tolist() == np.column_stack([labels[:, i], predicted[:, i]]).tolist()
        assert axis.viewLim.x0 < labels[:, i].min() and axis.viewLim.x1 > labels[:, i].max()
        assert axis.viewLim.y0 < predicted[:, i].min() and axis.viewLim.y1 > predicted[:, i].max()
    one, = fold_plots.best_predictions(labels[:, :1], predicted[:, :1], outputs[:1], [np.nan]).axes
    assert one.get_title() == "GENE20, R nan"


def test_losses_mark_the_best_epoch():
    axis, = fold_plots.losses(HISTORY).axes
    train, valid, best = axis.lines
    assert train.get_ydata() == [epoch["train_loss"] for epoch in HISTORY]
    assert valid.get_ydata() == [epoch["valid_loss"] for epoch in HISTORY]
    assert set(best.get_xdata()) == {7} and axis.viewLim.y1 > 2
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["train loss", "valid loss", "best valid r"]
    assert mpl.colors.to_hex(train.get_color()).upper() == fold_plots.TRAIN
