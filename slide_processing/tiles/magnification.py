"""At which objective power a slide was scanned: from metadata.csv, from the slide, or from its resolution."""
import math

from tiles import tiling

MPP_TIMES_POWER = 10        # um per pixel x objective power, by convention of the scanners (0.5 um at 20x)
MAX_CONTRADICTION = 0.2     # relative difference between two statements that is worth a warning
MIN_MAGNIFICATION = 15      # below it tiles would be blown up by a third or more: 10x slides are refused


def slide_magnification(properties, table_magnification, table_mpp, allow_upsampling=False):
    """Objective power of a slide from OpenSlide's properties and the slide's row of metadata.csv (NaN = not given).

    What the user wrote comes before what the scanner wrote, a power before a resolution.

    Returns
    -------
    power : float
    source : str
    warning : str or None
        Other statements that contradict the one used by more than MAX_CONTRADICTION.
    """
    mpp = [number(properties.get(f"openslide.mpp-{axis}")) for axis in "xy"]
    statements = {"Magnification in metadata.csv": table_magnification,
                  "objective power of the slide": number(properties.get("openslide.objective-power")),
                  "MPP in metadata.csv": MPP_TIMES_POWER / table_mpp,
                  "MPP of the slide": MPP_TIMES_POWER * 2 / sum(mpp)}
    statements = {source: power for source, power in statements.items() if not math.isnan(power)}
    if not statements:
        raise ValueError("the slide does not say its magnification: "
                         "add the column Magnification (or MPP) to metadata.csv")
    source, power = next(iter(statements.items()))
    if power < MIN_MAGNIFICATION and not allow_upsampling:
        raise ValueError(f"the slide was scanned at {power:g}x ({source}), tiles need {tiling.MAGNIFICATION}x: "
                         "take it out of metadata.csv, or accept blurred tiles with --allow-upsampling")
    others = [f"{other} says {value:.3g}x" for other, value in statements.items()
              if abs(value / power - 1) > MAX_CONTRADICTION]
    warning = f"{source} says {power:.3g}x, but {', '.join(others)}" if others else None
    return power, source, warning


def number(text):
    """A property as a positive float; NaN when it is absent, zero or no number."""
    try:
        value = float(text)
    except (TypeError, ValueError):
        return math.nan
    return value if 0 < value < math.inf else math.nan
