"""The scanner: light through a stained slide, with the stain and the scanner of each hospital.

A canvas holds the concentrations of haematoxylin and eosin, (height, width, 2); Beer's law turns them into light.
"""
from dataclasses import dataclass

import cv2
import numpy as np

from demo_cohort.lay_out_tissue import grain

STRIP_PX = 64  # rows turned into light at a time: they stay in the processor's cache


@dataclass
class Scanner:
    """Stain and light of a hospital; each slide differs a little."""
    hematoxylin: tuple = (.60, .72, .35)  # optical density of red, green, blue at concentration 1
    eosin: tuple = (.13, .86, .49)
    glass: tuple = (243, 242, 244)        # light through empty glass, 0..255
    variation: float = .06                # sd of ln stain strength between slides
    noise: float = 1.                     # sd of the sensor, grey levels


SCANNERS = {  # of each hospital: the second has a bluer haematoxylin, a pinker eosin, a dimmer and yellowish light
    1: Scanner(),
    2: Scanner((.78, .68, .24), (.06, .74, .26), (234, 231, 221), variation=.10, noise=1.6),
}


def scan(rng, canvas, scanner):
    """Light through the stained slide: uint8 RGB."""
    canvas = cv2.GaussianBlur(canvas, (0, 0), .6)
    strength = np.exp(scanner.variation * rng.standard_normal(2))
    vectors = np.array([scanner.hematoxylin, scanner.eosin]) * np.exp(.04 * rng.standard_normal((2, 3)))
    to_density = -(strength[:, None] * vectors).T.astype(np.float32)
    sensor = scanner.noise * grain(rng, canvas.shape[:2], .5)
    picture = np.empty((*canvas.shape[:2], 3), np.uint8)
    for top in range(0, len(canvas), STRIP_PX):
        strip = np.s_[top:top + STRIP_PX]
        light = cv2.exp(cv2.transform(canvas[strip], to_density)).reshape(-1, canvas.shape[1], 3)
        light *= np.float32(scanner.glass)
        light += sensor[strip, :, None]
        cv2.convertScaleAbs(light, dst=picture[strip])
    return picture
