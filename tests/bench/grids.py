"""A grid as large as the second paper's, 98 shapes x 6 modes, with claims that are made up.

The paper's list of shapes is not at hand but for those in `experiments/psa/psa.csv`. These are as
many, all of them small, so that one core can train them.
"""

from pathlib import Path

DEPTHS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 18, 20)
WIDTHS = (8, 12, 16, 20, 24, 28, 30)
SHAPES = tuple((depth, width) for depth in DEPTHS for width in WIDTHS)
MODES = ("none", "decay", "dropout", "full", "hidden", "output")

TEMPLATE = """\
format: 1
title: A grid as large as the second paper's
paper:
  title: None; these claims are made up
  author: nobody
  url: https://example.org
  listing: shape $shape, mode $mode
  command: none
unit: "%"
grid:
  shape:
{shapes}
  mode: [{modes}]
workload:
  name: persistent_ablation
  parameters:
    depth: {{value: $depth, assumed: made up}}
    width: {{value: $width, assumed: made up}}
    mode: {{value: $mode, stated: the paper's modes}}
    learning_rate: {{value: 1e-4, stated: the paper's}}
    weight_decay: {{value: 1e-4, stated: the paper's}}
    dropout: {{value: 0.1, stated: the paper's}}
    batch_size: {{value: 256, stated: the paper's}}
    split_seed: {{value: 1337, stated: the paper's}}
    validation_images: {{value: {validation_images}, assumed: made up}}
epochs: {{value: {epochs}, assumed: few}}
seeds: 0-9
resources: {{cpus: 1, threads: 1, gpus: 0}}
claims:
  - name: bounty
    kind: sample
    metric: bounty
    source: made up
    reported: {{mean: {mean}, sd: {sd}, runs: 10, ddof: 0}}
    decimals: 2
    tolerance: {{value: {tolerance}, reason: made up}}
"""


def write(
    file: Path,
    *,
    shapes: int = len(SHAPES),
    epochs: int = 1,
    validation_images: int = 10_000,
    mean: float = 50.0,
    sd: float = 50.0,
    tolerance: float = 50.0,
) -> Path:
    """Write the grid file. By default the tolerance lets every percentage pass."""
    lines = [f"    {d}*{w}: {{depth: {d}, width: {w}}}" for d, w in SHAPES[:shapes]]
    text = TEMPLATE.format(
        shapes="\n".join(lines),
        modes=", ".join(MODES),
        validation_images=validation_images,
        epochs=epochs,
        mean=mean,
        sd=sd,
        tolerance=tolerance,
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file
