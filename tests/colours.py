"""How well colours can be told apart, by WCAG 2."""

import re

RGB = tuple[float, ...]
"""Red, green and blue, from 0 to 1."""


def of_a_browser(colour: str) -> RGB:
    """Read a colour as a browser names it: `rgb(0, 114, 178)`."""
    return tuple(float(part) / 255 for part in re.findall(r"[\d.]+", colour)[:3])


def luminance(colour: RGB) -> float:
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: RGB, other: RGB) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)
