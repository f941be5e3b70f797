"""How often a night of one seed is red by chance, and what one seed can tell from the paper.

`python -m tests.verdict.one_seed [PAPERS]` writes the tables of `experiments/README.md`. False
alarms are counted by leaving out: each committed seed is judged alone, first against its paper,
then with each other seed in turn in the paper's place; the remaining seeds are the study. Rivals
are their committed records against the paper, and runs of the fitted models
(`tests.verdict.fitted`).
"""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence

from harness import workloads
from harness.manifest import Experiment, load
from harness.record import StoredTrial
from harness.store.archive import decoded
from harness.verdict import Case, Outcome, judge
from tests.verdict.fitted import (
    CONSTANT,
    EXPERIMENTS,
    INDEPENDENT,
    ONCE,
    PAGE,
    UNTRAINED,
    printing,
    records,
    verdicts,
    write,
)

REGISTRY = workloads.registry()


def alone(experiment: Experiment, run: StoredTrial, study: Sequence[StoredTrial]) -> Outcome:
    """The verdict on one run, with a study of others."""
    seed, epochs = run.spec.seed, min(run.done, experiment.manifest.epochs.value)
    (verdict,) = judge([Case(experiment, (seed,), epochs, study=tuple(study))], lambda *_: run)
    return verdict.verdict


def runs_of(experiment: Experiment) -> tuple[StoredTrial, ...]:
    """The committed trials of an experiment, or of a cell of a grid; often a cell has none."""
    if not experiment.cell:
        return records(experiment.id)
    file = experiment.path.parent / "records" / f"{experiment.cell.grid}.jsonl"
    kept = decoded(file.read_bytes(), experiment.cell.grid).get(experiment.id)
    return tuple(kept.trials) if kept else ()


def against_the_paper(experiment: Experiment) -> Counter[Outcome]:
    """Each committed seed alone; the study is all others."""
    runs = runs_of(experiment)
    return Counter(alone(experiment, run, _without(runs, run)) for run in runs)


def against_each_other(experiment: Experiment) -> Counter[Outcome]:
    """Each committed seed alone, against a paper that printed another one."""
    runs = runs_of(experiment)
    found: Counter[Outcome] = Counter()
    for paper in () if experiment.cell else runs:  # a cell's paper has runs of its own
        try:
            asked = printing(experiment, paper)
        except ValueError:  # it never took off
            continue
        for run in _without(runs, paper):
            found[alone(asked, run, _without(_without(runs, paper), run))] += 1
    return found


def _without(runs: Sequence[StoredTrial], run: StoredTrial) -> tuple[StoredTrial, ...]:
    return tuple(each for each in runs if each is not run)


def share(found: Counter[Outcome]) -> float:
    """The share of red verdicts."""
    return found[Outcome.NOT_REPRODUCED] / max(found.total(), 1)


def nights() -> Iterator[str]:
    """The table of false alarms, a line at a time, and the share of red nights below it."""
    yield "| experiment | seeds | one seed against the paper: red | one seed against another: red |"
    yield "|---|---|---|---|"
    quiet = 1.0
    groups: dict[str, list[tuple[Counter[Outcome], Counter[Outcome]]]] = {}
    for experiment in load(sorted({file.parent for file in EXPERIMENTS.rglob("*.yaml")}), REGISTRY):
        if experiment.compares:
            continue
        paper, pairs = against_the_paper(experiment), against_each_other(experiment)
        groups.setdefault(experiment.group, []).append((paper, pairs))
        quiet *= 1 - share(pairs or paper)
    for name, cells in groups.items():
        paper, pairs = (sum(found, Counter()) for found in zip(*cells, strict=True))
        counts = (f"{each[Outcome.NOT_REPRODUCED]} of {each.total()}" for each in (paper, pairs))
        yield f"| {name} | {paper.total()} | {' | '.join(counts)} |"
    yield f"| **a night of all: red** | | | **{1 - quiet:.1%}** |"


def rivals(papers: int) -> Iterator[str]:
    """The table of what one seed of a rival gets, a line at a time."""
    yield "| rival, one seed | runs | NOT REPRODUCED | INCONCLUSIVE | passes |"
    yield "|---|---|---|---|---|"
    (experiment,) = load([EXPERIMENTS / "image-pair-4.yaml"], REGISTRY)
    study = records(experiment.id)
    recorded = {ONCE: "image-pair-4[redraw=false]", INDEPENDENT: "image-pair-4-independent"}
    for kind, name in recorded.items():
        found = Counter(alone(experiment, run, study) for run in records(name))
        yield _line(f"{kind}: recorded, {records(name)[0].done} epochs", found)
    for kind in (ONCE, INDEPENDENT, UNTRAINED, CONSTANT):
        yield _line(f"{kind}: simulated", verdicts(kind, 1, papers))


def _line(name: str, found: Counter[Outcome]) -> str:
    passed = sum(count for outcome, count in found.items() if outcome.holds)
    counts = (found[Outcome.NOT_REPRODUCED], found[Outcome.INCONCLUSIVE], passed)
    cells = " | ".join(f"{count / found.total():.0%}" for count in counts)
    return f"| {name} | {found.total()} | {cells} |"


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    write(PAGE, "python -m tests.verdict.one_seed", [*nights(), "<!-- -->", *rivals(count)])
