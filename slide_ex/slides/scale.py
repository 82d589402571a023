"""At which scale a slide was scanned: the one place that decides it, for tiles, maps and the report.

What the user wrote in metadata.csv comes before what the slide says. In the table a resolution (MPP) comes before an
objective power, in the slide a power before a resolution. A slide whose power and resolution contradict each other
says nothing, until somebody chooses.
"""
import math
import re
from dataclasses import dataclass
from xml.etree import ElementTree

MPP_TIMES_POWER = 10        # um per pixel x objective power, by convention of the scanners (0.5 um at 20x)
MPP_RANGE = (0.05, 5.0)     # um per pixel of scanned slides; what lies outside is of image tools, or in another unit
POWER_RANGE = tuple(MPP_TIMES_POWER / mpp for mpp in reversed(MPP_RANGE))
MAX_CONTRADICTION = 0.10    # relative difference of power and resolution above which a slide says neither
MAX_AGREEMENT = 0.05        # above it the difference is counted and told
MAX_ANISOTROPY = 0.03       # relative difference between the sides of a pixel
MAX_ROUNDING = 0.01         # two statements of the table that differ by less are alike
MIN_POWER_SHARE = 0.75      # of the tiles' power: below it they would be blown up by a third or more
PREFERENCES = ("power", "mpp")
OME_UM = {"nm": 1e-3, "µm": 1., "μm": 1., "um": 1., "mm": 1e3}    # both letters that stand for micro


class Contradiction(ValueError):
    """Power and resolution of a slide differ, and nobody chose."""


class NotSquare(ValueError):
    """The sides of a slide's pixels differ."""


class TooCoarse(ValueError):
    """A slide was scanned much coarser than its tiles."""


@dataclass(frozen=True)
class Said:
    """What a slide says of itself; NaN where it says nothing, or what is not a number above 0."""
    power: float    # objective power
    mpp_x: float    # um per pixel of level 0
    mpp_y: float


@dataclass(frozen=True)
class Scale:
    """At which scale a slide was scanned, and who said so."""
    power: float        # objective power, such that 10 / power are the um per pixel that tiles and maps count with
    source: str
    notes: tuple        # lines for the log: other statements that differ
    difference: float   # relative, between power and resolution of the slide; 0 where it states one, or none

    @property
    def mpp(self):
        """Microns per pixel of level 0."""
        return MPP_TIMES_POWER / self.power


def said_by(properties):
    """What OpenSlide's properties say (Said). Of an OME-TIFF the OME-XML counts, not the tags of the TIFF."""
    power, mpp = number(properties.get("openslide.objective-power")), [
        number(properties.get(f"openslide.mpp-{axis}")) for axis in "xy"]
    if "<OME" in (xml := properties.get("tiff.ImageDescription", "")):
        ome_power, *ome_mpp = said_by_ome(xml)
        power = power if math.isnan(ome_power) else ome_power
        mpp = mpp if any(map(math.isnan, ome_mpp)) else ome_mpp
    return Said(power, *mpp)


def said_by_ome(xml):
    """Power, um per pixel in x and y of the largest image of an OME-XML; NaN where it does not say."""
    try:
        root = ElementTree.fromstring(re.sub(r'\sxmlns="[^"]*"', "", xml.strip("\0 \n")))
    except ElementTree.ParseError:
        return math.nan, math.nan, math.nan
    images = [image for image in root.iter("Image") if image.find("Pixels") is not None]
    if not images:
        return math.nan, math.nan, math.nan
    image = max(images, key=lambda one: number(one.find("Pixels").get("SizeX"), 0))
    pixels, settings = image.find("Pixels"), image.find("ObjectiveSettings")
    mpp = [number(pixels.get(f"PhysicalSize{axis}")) * OME_UM.get(pixels.get(f"PhysicalSize{axis}Unit", "µm"), math.nan)
           for axis in "XY"]
    powers = {one.get("ID"): number(one.get("NominalMagnification")) for one in root.iter("Objective")}
    return powers.get(settings.get("ID"), math.nan) if settings is not None else math.nan, *mpp


def decide(said, magnification, mpp, prefer=""):
    """The scale of a slide.

    Parameters
    ----------
    said : Said
    magnification, mpp : float
        Of the slide's row in metadata.csv, NaN where it gives none.
    prefer : str
        Which statement of the slide counts, "power" or "mpp", where it has both; "" refuses a contradiction.

    Returns
    -------
    Scale

    Raises
    ------
    Contradiction, NotSquare, ValueError (nobody says the scale)
    """
    slide_mpp = square_mpp(said)
    of_slide = {"objective power of the slide": said.power if is_power(said.power) else math.nan,
                "MPP of the slide": MPP_TIMES_POWER / slide_mpp}
    of_table = known({"MPP in metadata.csv": MPP_TIMES_POWER / mpp, "Magnification in metadata.csv": magnification})
    by_power, by_mpp = of_slide.values()
    difference = 0. if math.isnan(by_power + by_mpp) else apart(by_power, by_mpp)
    if prefer == "mpp":
        of_slide = dict(reversed(of_slide.items()))
    statements = of_table | known(of_slide)
    if not statements:
        raise ValueError(f"the slide does not say its magnification{unusable(said)}: "
                         "add the column Magnification (or MPP) to metadata.csv")
    if not of_table and not prefer and difference > MAX_CONTRADICTION:
        raise Contradiction(f"power says {by_power:.3g}x, MPP says {by_mpp:.3g}x: fill MPP or Magnification in "
                            "metadata.csv, or choose for all slides with --scale mpp or --scale power")
    source, power = next(iter(statements.items()))
    notes = [f"{source} says {power:.4g}x and is used, {other} says {value:.4g}x"
             for other, value in statements.items()
             if apart(power, value) > (MAX_ROUNDING if other in of_table else MAX_AGREEMENT)]
    return Scale(power, source, tuple(notes), difference if source in of_slide else 0.)


def square_mpp(said):
    """Um per pixel of level 0, mean of x and y, NaN without a usable statement; NotSquare where they differ."""
    if not (is_mpp(said.mpp_x) and is_mpp(said.mpp_y)):
        return math.nan
    if apart(said.mpp_x, said.mpp_y) > MAX_ANISOTROPY:
        raise NotSquare(f"the slide's pixels are not square (x {said.mpp_x:.4g} um, y {said.mpp_y:.4g} um): resample "
                        "it to square pixels, or take it out of metadata.csv")
    return (said.mpp_x + said.mpp_y) / 2


def unusable(said):
    """In words what the slide says that cannot be true, "" where it says nothing."""
    read = [f"{mpp:.4g} um per pixel, outside {MPP_RANGE[0]:g} to {MPP_RANGE[1]:g}"
            for mpp in {said.mpp_x, said.mpp_y} if not math.isnan(mpp) and not is_mpp(mpp)]
    if not math.isnan(said.power) and not is_power(said.power):
        read.append(f"power {said.power:.4g}")
    return f" (it says {', '.join(read)})" if read else ""


def refuse_coarse(found, magnification):
    """TooCoarse for a slide (Scale) that was scanned much coarser than its tiles, which are at `magnification`."""
    if is_coarse(found.power, magnification):
        raise TooCoarse(f"the slide was scanned at {found.power:g}x ({found.source}), tiles need {magnification:g}x: "
                        "take it out of metadata.csv, or accept blurred tiles with --allow-upsampling")


def is_coarse(power, magnification):
    """Whether tiles at a magnification would be blown up too much; of numbers, or arrays of them."""
    return power < MIN_POWER_SHARE * magnification


def level0_tile_px(power, tile_px, magnification):
    """Side of a tile on the scanned image, pixels of level 0: `tile_px` px wide at `magnification`."""
    return round(tile_px * power / magnification)


def known(statements):
    return {source: power for source, power in statements.items() if not math.isnan(power)}


def apart(a, b):
    """Relative difference of two positive numbers, to the smaller."""
    return max(a, b) / min(a, b) - 1


def is_mpp(value):
    """Whether a slide can have been scanned at this many um per pixel."""
    return MPP_RANGE[0] <= value <= MPP_RANGE[1]


def is_power(value):
    return POWER_RANGE[0] <= value <= POWER_RANGE[1]


def number(text, otherwise=math.nan):
    """A property as a positive float, `otherwise` when it is absent, zero or no number."""
    try:
        value = float(text)
    except (TypeError, ValueError):
        return otherwise
    return value if 0 < value < math.inf else otherwise
