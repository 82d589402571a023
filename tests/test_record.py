"""What an output was made from: finished is what is whole and made as now, anything else is refused in words."""
import pytest

from slide_ex import record

SCRIPT = "a/script.py"


@pytest.fixture
def outputs(tmp_path):
    """Two outputs, the record last."""
    (tmp_path / "table.csv").write_text("a\n1\n")
    record.write(tmp_path / "made.json", {"seed": 1, "sizes": (2, 3)})
    return [tmp_path / "table.csv", tmp_path / "made.json"]


def is_finished(outputs, now, **options):
    return record.is_finished(outputs, lambda: record.read(outputs[-1], SCRIPT), now, **options)


def test_finished_is_what_is_whole_and_made_as_now(outputs):
    now = {"sizes": [2, 3], "seed": 1}      # neither the order nor tuples make a difference
    assert is_finished(outputs, now)
    outputs[0].unlink()
    assert not is_finished(outputs, now)
    outputs[0].touch()
    outputs[1].unlink()
    assert not is_finished(outputs, now)


def test_what_was_made_in_another_way_is_refused_in_words(outputs):
    with pytest.raises(ValueError, match=r"was made in another way \(seed was 1, now 2; new was None, now 5\): "
                                         "keep it and give the same options, or make it again with --overwrite$"):
        is_finished(outputs, {"seed": 2, "sizes": (2, 3), "new": 5})
    with pytest.raises(ValueError, match="was None, now 5.: use another folder$"):
        is_finished(outputs, {"seed": 1, "sizes": (2, 3), "new": 5}, remedy="use another folder")
    outputs[0].unlink()     # also when it is not whole
    with pytest.raises(ValueError, match="seed was 1, now 2"):
        is_finished(outputs, {"seed": 2, "sizes": (2, 3)})


def test_checksums_are_cut():
    assert record.differences({"inputs": {"x": "a" * 64}}, {"inputs": {"x": "b" * 64}}) == [
        f"inputs was {{'x': '{'a' * 12}...'}}, now {{'x': '{'b' * 12}...'}}"]


def test_a_damaged_record_is_no_obstacle_to_overwrite(outputs):
    outputs[1].write_text("{")
    with pytest.raises(ValueError, match="made.json is damaged .*: make it again with a/script.py --overwrite"):
        is_finished(outputs, {})
    assert not is_finished(outputs, {}, overwrite=True)


@pytest.mark.parametrize("content", [b"", b"[1]", b"\xff{}", b'{"a": '])
def test_what_is_no_record_is_named(tmp_path, content):
    (tmp_path / "made.json").write_bytes(content)
    with pytest.raises(ValueError, match=f"{tmp_path}/made.json is damaged .* a/script.py --overwrite"):
        record.read(tmp_path / "made.json", SCRIPT)
    with pytest.raises(FileNotFoundError, match="absent.json is missing: run a/script.py first"):
        record.read(tmp_path / "absent.json", SCRIPT)
