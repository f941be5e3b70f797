"""That the benches run at all, on very little; what they measure here means nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench import report, results
from tests.bench.processes import REPOSITORY
from tests.bench.results import Figure

SLOW = ("engine", "large", "packing", "packs", "scale")

MACHINE = {"cpu": "a fast one", "commit": "c0ffee"}


def _run(*arguments: object, **environment: str) -> None:
    command = [sys.executable, *map(str, arguments)]
    # A bench that believes itself a worker of pytest-xdist measures nothing.
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_XDIST")}
    done = subprocess.run(
        command,
        cwd=REPOSITORY,
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.usefixtures("mnist_cache")
@pytest.mark.parametrize(
    "which",
    [
        "step",
        *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW),
    ],
)
def test_a_bench_runs_and_leaves_figures(which: str, tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    bench = f"tests/bench/bench_{which}.py"
    options = ("-q", "-p", "no:cacheprovider", f"--benchmark-json={file}")
    one_is_enough = ("-k", "sequences and script") if which == "step" else ()
    _run("-m", "pytest", bench, *options, *one_is_enough, BENCH_QUICK="1")
    machine, figures = results.load(file)
    assert {"cpu", "cores", "torch", "ray", "commit"} <= machine.keys()
    assert figures
    assert all(figure.value > 0 for figure in figures)


@pytest.mark.slow
@pytest.mark.usefixtures("mnist_cache")
def test_the_whole_can_be_measured(tmp_path: Path) -> None:
    out = tmp_path / "overhead.json"
    size = ("--seconds", "0.1", "--trials-per-core", "1", "--rounds", "1")
    _run("-m", "tests.bench.suite", "overhead", "--experiment", "image-pair-4", *size, "--out", out)
    assert len(results.load(out)[1]) == 3


FIGURES = [
    Figure.of([2.0, 2.5, 2.1], group="A step", name="images: plain / fast", at_least=2.0),
    Figure.of([1.2], group="Costs", name="with / without", at_most=1.05),
    Figure.of([4.0, 5.0], group="Costs", name="check", unit="s", at_most=10, series="check", x=10),
]


def test_figures_are_read_back_as_they_were_saved(tmp_path: Path) -> None:
    results.save(tmp_path / "figures.json", MACHINE, FIGURES)
    assert results.load(tmp_path / "figures.json") == (MACHINE, FIGURES)


def test_the_table_tells_every_figure_and_what_is_missed() -> None:
    table = report.markdown(MACHINE, FIGURES)
    assert "| images: plain / fast | 2.1 x | 2 to 2.5 | at least 2 | |" in table.replace("  ", " ")
    assert "| with / without | 1.2 x **missed** |" in table
    assert "a fast one" in table


def test_only_ratios_are_compared_and_more_is_better_only_where_more_was_promised() -> None:
    better = [
        Figure(group="A step", name="images: plain / fast", value=4.2, at_least=2.0),
        Figure(group="Costs", name="with / without", value=0.6, at_most=1.05),
        Figure(group="Costs", name="check", value=1.0, unit="s"),
    ]
    assert dict(report.compared(better, FIGURES)) == pytest.approx(
        {"A step: images: plain / fast": 2.0, "Costs: with / without": 2.0}
    )


def test_a_figure_measured_again_takes_the_place_of_the_first() -> None:
    again = Figure(group="Costs", name="check", value=1.0, unit="s")
    assert results.merge([FIGURES, [again]]) == [*FIGURES[:2], again]


def test_a_group_stands_together_however_its_figures_came() -> None:
    late = Figure(group="A step", name="sequences: plain / fast", value=6.5)
    groups = [figure.group for figure in results.merge([[*FIGURES, late]])]
    assert groups == ["A step", "A step", "Costs", "Costs"]


def test_the_figures_are_drawn(tmp_path: Path) -> None:
    report.draw(FIGURES, tmp_path / "bench.png")
    assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(("ratio", "code"), [(2.1, 0), (1.0, 1)])
def test_a_ratio_far_below_the_baseline_fails(
    ratio: float, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results.save(tmp_path / "baseline.json", MACHINE, FIGURES)
    now = [Figure(group="A step", name="images: plain / fast", value=ratio, at_least=2.0)]
    results.save(tmp_path / "now.json", MACHINE, now)
    command = ["report", tmp_path / "now.json", "--out", tmp_path]
    options = ["--baseline", tmp_path / "baseline.json"]
    monkeypatch.setattr(sys, "argv", [*map(str, [*command, *options])])
    if code:
        with pytest.raises(SystemExit, match="worse"):
            report.main()
    else:
        report.main()


def test_json_holds_nothing_that_is_not_said(tmp_path: Path) -> None:
    results.save(tmp_path / "figures.json", MACHINE, FIGURES[1:2])
    (kept,) = json.loads((tmp_path / "figures.json").read_text())["figures"]
    assert kept.keys() == {"group", "name", "value", "unit", "at_most"}
