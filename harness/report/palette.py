"""The figures' colours, told apart by the colour-blind, and how they turn with the page.

Okabe and Ito's; what they tell is said again by form and place.
"""

INK = "#0b0b0b"
"""Axes, words, and what the paper reports. Not plain black, which SVG leaves out as its default."""
GRID = "#e2e2e3"
SHADE = "#efeff0"
SEEDS = "#56b4e9"
MEAN = "#0072b2"
TRUE = "#009e73"
FAILS = "#d55e00"

_VARIABLES = {
    INK: "ink",
    GRID: "grid",
    SHADE: "shade",
    SEEDS: "seeds",
    MEAN: "mean",
    TRUE: "true",
    FAILS: "fails",
}


def themed(svg: str) -> str:
    """The SVG with each colour as a CSS variable, `--fig-…`, which a page may set for the dark.

    Where nothing sets them, the colours stay as they were drawn.
    """
    for colour, name in _VARIABLES.items():
        svg = svg.replace(colour, f"var(--fig-{name}, {colour})")
    return svg
