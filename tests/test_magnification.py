"""Magnification: where it comes from, what contradicts it, and what is refused."""
import math

import pytest

from tiles import magnification


def power_of(power=None, mpp=None, table_power=math.nan, table_mpp=math.nan, **options):
    properties = {"openslide.objective-power": power, "openslide.mpp-x": mpp, "openslide.mpp-y": mpp}
    return magnification.slide_magnification({k: v for k, v in properties.items() if v is not None},
                                             table_power, table_mpp, **options)


@pytest.mark.parametrize("given, power, source", [
    ({"power": "40"}, 40, "objective power of the slide"),
    ({"power": "82.44"}, 82.44, "objective power of the slide"),
    ({"power": "20", "table_power": 22.0}, 22, "Magnification in metadata.csv"),
    ({"mpp": "0.25"}, 40, "MPP of the slide"),
    ({"power": "0", "mpp": "0.4"}, 25, "MPP of the slide"),
    ({"power": "unknown", "table_mpp": 0.5}, 20, "MPP in metadata.csv"),
    ({"table_mpp": 0.5, "mpp": "0.4"}, 20, "MPP in metadata.csv"),
])
def test_magnification_and_where_it_comes_from(given, power, source):
    found, where, _ = power_of(**given)
    assert found == pytest.approx(power) and where == source


@pytest.mark.parametrize("given, warned", [
    ({"power": "40", "mpp": "0.25"}, False), ({"power": "40", "mpp": "0.5"}, True),
    ({"power": "20", "mpp": "0.45"}, False),
    ({"power": "20", "table_power": 40.0}, True), ({"power": "20", "mpp": "0.4"}, True)])
def test_contradictions_are_reported(given, warned):
    assert (power_of(**given)[2] is not None) == warned


@pytest.mark.parametrize("given", [{"power": "10"}, {"power": "5"}, {"mpp": "0.998"}, {"table_power": 10.0}])
def test_coarse_slides_are_refused_unless_told(given):
    with pytest.raises(ValueError, match="--allow-upsampling"):
        power_of(**given)
    assert power_of(**given, allow_upsampling=True)[0] <= 10.1


def test_unknown_magnification_is_refused():
    with pytest.raises(ValueError, match="add the column Magnification"):
        power_of()
