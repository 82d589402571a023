"""splits.json: folds that lie are refused, with the file and a remedy."""
import json
from copy import deepcopy

import pytest

from slide_ex.project import splits_file
from training import patient_splits

SPLITS = patient_splits.draw([f"P{i:02d}" for i in range(30)], 3, 2, seed=0)


def test_what_is_drawn_is_read_again(tmp_path):
    splits_file.write(tmp_path / "splits.json", SPLITS)
    assert splits_file.read(tmp_path / "splits.json") == SPLITS
    assert splits_file.numbers(SPLITS) == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]


def untested(splits):
    splits["outer"][0]["test"].pop()


def doubled(splits):
    splits["outer"][0]["test"].append(splits["outer"][1]["test"][0])


def on_two_sides(splits):
    inner = splits["outer"][1]["inner"][0]
    inner["train"].append(inner["valid"][0])


def both_sides(splits):
    splits["outer"][2]["inner"][1]["train"].append(splits["outer"][2]["test"][0])


def a_stranger(splits):
    splits["outer"][0]["inner"][0]["valid"].append("X")


@pytest.mark.parametrize("spoil, message", [
    (lambda splits: splits.update(n_outer=2), "says 2 x 2 folds and holds others"),
    (lambda splits: splits.update(n_outer=4), "says 4 x 2 folds and holds others"),
    (lambda splits: splits.update(n_inner=3), "says 3 x 3 folds and holds others"),
    (lambda splits: splits["outer"][1]["inner"].pop(), "says 3 x 2 folds and holds others"),
    (untested, "do not hold every patient exactly once"), (doubled, "do not hold every patient exactly once"),
    (on_two_sides, "fold 1 0 has a patient on two sides"), (both_sides, "fold 2 1 has a patient on two sides"),
    (a_stranger, "fold 0 0 has .* one that is not in the list"),
    (lambda splits: splits.pop("outer"), "is damaged, or no file of folds .KeyError: 'outer'"),
    (lambda splits: splits.update(outer=None), "is damaged, or no file of folds"),
    (lambda splits: splits.update(n_outer=True), "is damaged, or no file of folds"),
    (lambda splits: splits.update(n_inner="2"), "is damaged, or no file of folds"),
    (lambda splits: splits.update(patients=None), "is damaged, or no file of folds"),
    (lambda splits: splits.update(outer={"test": []}), "is damaged, or no file of folds")])
def test_folds_that_lie_are_refused(tmp_path, spoil, message):
    splits, path = deepcopy(SPLITS), tmp_path / "splits.json"
    spoil(splits)
    path.write_text(json.dumps(splits))
    remedy = "draw (them|the folds) again with make_splits.py --overwrite"
    with pytest.raises(ValueError, match=f"^{path}.*{message}.*{remedy}$"):
        splits_file.read(path)
