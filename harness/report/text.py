"""Turn numbers and verdicts into the text that every report shares."""

import re
import shlex
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean, stdev

import yaml

from harness.errors import number_of
from harness.manifest import of_seeds, spell, without_values
from harness.verdict import (
    SEVERE,
    ClaimResult,
    ExperimentVerdict,
    Outcome,
    Proposal,
    RivalChance,
    Severity,
    Takeoffs,
    gravest,
)

NONE = "-"
"""Printed where a number is missing."""


_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


def in_order(verdicts: Iterable[ExperimentVerdict]) -> list[ExperimentVerdict]:
    """Put the paper's own runs before our controls; otherwise keep the order."""
    return sorted(verdicts, key=lambda verdict: verdict.experiment.manifest.paper.own_run)


def overview(verdicts: Sequence[ExperimentVerdict]) -> str:
    """Sum up all verdicts in a few sentences.

    Each paper's runs are counted by themselves, the cells of a grid as its runs. Our own controls
    (`Paper.own_run`) and the claims between the cells of a grid are counted apart.
    """
    own = [verdict for verdict in verdicts if verdict.experiment.manifest.paper.own_run]
    papers: dict[str, list[ExperimentVerdict]] = {}
    for verdict in verdicts:
        if not verdict.experiment.manifest.paper.own_run:
            papers.setdefault(verdict.paper, []).append(verdict)
    sentences: list[str] = []
    for paper in papers.values():
        author = paper[0].experiment.manifest.paper.author
        sentences += _about(paper, "the paper" if len(papers) == 1 else author)
    if own:
        sentences.append(_controls(own))
    surprises = [verdict.id for verdict in verdicts if verdict.as_expected is False]
    if surprises:
        sentences.append(f"NOT as expected: {', '.join(surprises)}.")
    return " ".join(sentences)


def _about(verdicts: Sequence[ExperimentVerdict], paper: str) -> Iterator[str]:
    """Yield a sentence about the runs of one paper, and one about the claims between them."""
    runs = [verdict for verdict in verdicts if not verdict.experiment.compares]
    between = [verdict for verdict in verdicts if verdict.experiment.compares]
    claims = [each for verdict in between for each in verdict.results]
    if len(runs) == 1:
        yield f"This run of {paper} {_counted(runs).removeprefix('1 ')}."
    elif runs and all(verdict.verdict.holds for verdict in runs):
        yield f"All {_in_words(len(runs))} of {paper}'s runs reproduced."
    elif runs:
        yield f"Of {paper}'s {_in_words(len(runs))} runs {_counted(runs)}."
    if claims:
        yield f"Of the {_in_words(len(claims))} claims between these runs {_counted(claims)}."


def _in_words(count: int) -> str:
    """Write a small number as a word, as prose does."""
    return _NUMBERS[count] if count < len(_NUMBERS) else str(count)


def _counted(runs: Sequence[ExperimentVerdict | ClaimResult]) -> str:
    outcomes = Counter(_OUTCOME_PHRASES[verdict.verdict] for verdict in runs)
    parts = [
        f"{count} {one if count == 1 else more}"
        for one, more in dict.fromkeys(_OUTCOME_PHRASES.values())
        if (count := outcomes[one, more])
    ]
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))


def _controls(own: Sequence[ExperimentVerdict]) -> str:
    passed = sum(verdict.verdict.holds for verdict in own)
    if passed == len(own):
        return (
            f"All {_in_words(passed)} of our own controls passed."
            if passed > 1
            else "Our own control passed."
        )
    if len(own) == 1:
        return f"Our own control {_counted(own).removeprefix('1 ')}."
    return f"Of our own {_in_words(len(own))} controls {_counted(own)}."


_OUTCOME_PHRASES = {
    Outcome.REPRODUCED: ("reproduced", "reproduced"),
    Outcome.IMMATERIAL_DIFFERENCE: ("reproduced", "reproduced"),
    Outcome.INCONCLUSIVE: ("is inconclusive", "are inconclusive"),
    Outcome.NOT_REPRODUCED: ("did not reproduce", "did not reproduce"),
    Outcome.INCOMPLETE: ("is incomplete", "are incomplete"),
    Outcome.NOT_RUN: ("was not run", "were not run"),
}
"""The verb phrase of each outcome, for one run and for several."""


def number(value: float | None, *, signed: bool = False) -> str:
    """Format a number with four decimals, as papers do, and never as a negative zero."""
    if value is None:
        return NONE
    # Adding zero turns the -0.0 that rounding may leave into 0.0.
    return f"{round(value, 4) + 0.0:{'+' if signed else ''}.4f}"


def measured_text(result: ClaimResult) -> str:
    """Format the measured value with its standard deviation, if there is one: "1.2 ± 0.1"."""
    sd = "" if result.spread is None else f" ± {number(result.spread)}"
    return number(result.measured) + sd


_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|.)?")
"""Sequences that move a terminal's cursor, or set its colours or its title (ECMA-48)."""


def last_lines(printed: str, count: int) -> list[str]:
    """Return the last lines of what a trial printed, without control characters.

    A line that was printed over, as progress bars do, is there as it was printed last.

    >>> last_lines("one\\n\\x1b[31m10 %\\r20 %\\r\\ntwo\\n\\n", 2)
    ['20 %', 'two']
    """
    lines = [
        "".join(sign for sign in line.rstrip("\r").rsplit("\r")[-1] if sign.isprintable()).rstrip()
        for line in _ESCAPE.sub("", printed).expandtabs().rstrip().split("\n")
    ]
    return [line for line in lines if line][-count:]


def logs_command(verdict: ExperimentVerdict, seed: int) -> str:
    """Return the command that shows all that a trial printed; empty for a study's variant."""
    experiment = verdict.experiment
    if experiment.varied:
        return ""
    words = [*experiment.command("logs"), "--seed", str(seed)]
    if verdict.epochs != experiment.manifest.epochs.value:
        words += ["--epochs", str(verdict.epochs)]
    return shlex.join(words)


def held(verdict: ExperimentVerdict) -> str:
    """Count the rows that hold among those that were run, as "3 of 4"."""
    ran = [result.verdict for result in verdict.results if result.verdict is not Outcome.NOT_RUN]
    return f"{sum(outcome.holds for outcome in ran)} of {len(ran)}"


def not_run(verdict: ExperimentVerdict) -> dict[str, int]:
    """Count the rows that were not run, by reason."""
    skipped = (result for result in verdict.results if result.verdict is Outcome.NOT_RUN)
    return dict(Counter(result.note for result in skipped))


@dataclass(frozen=True)
class SeedGroup:
    """Seeds of an experiment that did the same thing, so that their mean describes them."""

    name: str
    """What they did: "seeds 4-5 never took off"; "all seeds" if there is one group only."""
    rows: tuple[int, ...]
    """Their places in the evidence's arrays."""
    seeds: tuple[int, ...]


def seed_groups(verdict: ExperimentVerdict) -> tuple[SeedGroup, ...]:
    """Separate the seeds whose curve never takes off from the others.

    One mean over both would lie where no seed is. Which take-off counts is in the manifest: the
    first claim that has one.
    """
    evidence = verdict.evidence
    never: set[int] = set()
    for claim in verdict.experiment.manifest.claims:
        takeoff = getattr(claim, "takeoff", None)
        if takeoff is not None:
            found = Takeoffs.of(claim.metric, takeoff.threshold, evidence)
            never = set(evidence.named(found.never))
            break
    parts = {
        "took off": [seed not in never for seed in evidence.seeds],
        "never took off": [seed in never for seed in evidence.seeds],
    }
    chosen = {
        what: tuple(place for place, held in enumerate(mask) if held)
        for what, mask in parts.items()
        if any(mask)
    }
    groups = []
    for what, rows in chosen.items():
        seeds = tuple(evidence.seeds[row] for row in rows)
        name = f"{of_seeds(seeds)} {what}" if len(chosen) > 1 else "all seeds"
        groups.append(SeedGroup(name, rows, seeds))
    return tuple(groups)


def group_means(result: ClaimResult, groups: Sequence[SeedGroup]) -> str:
    """Format mean and SD of each group, if the groups differ: "3.5 ± 0.1 (seeds 0-3), ..."."""
    values = _by_group(result, groups)
    texts = []
    for seeds, group in values.items():
        sd = f" ± {number(stdev(group))}" if len(group) > 1 else ""
        texts.append(f"{number(mean(group))}{sd} ({seeds})")
    return ", ".join(texts)


def _by_group(result: ClaimResult, groups: Sequence[SeedGroup]) -> dict[str, list[float]]:
    """The values of each group by its seeds in words; empty unless means differ by a tolerance."""
    found = {
        of_seeds(group.seeds): [result.by_seed[s] for s in group.seeds if s in result.by_seed]
        for group in groups
    }
    means = [mean(values) for values in found.values() if values]
    apart = len(means) > 1 and max(means) - min(means) > result.tolerance
    return {seeds: values for seeds, values in found.items() if values} if apart else {}


@dataclass(frozen=True)
class ClaimLine:
    """One claim in the overview of a study: its row that is farthest off, in tolerances."""

    name: str
    outcome: Outcome
    """The gravest of the claim's rows."""
    share: float | None
    """Measured minus reported, divided by the tolerance; None without a value."""
    interval: tuple[float, float] | None
    """Confidence interval of the mean, on the same scale."""
    others: tuple[float, ...]
    """The shares of the claim's other rows."""
    groups: Mapping[str, float] = field(default_factory=dict)
    """Where seeds form groups, the share of each group's mean, by the seeds in words."""


def claim_lines(verdict: ExperimentVerdict) -> list[ClaimLine]:
    """Sum up each claim that ran, except exact claims that hold and rows without a tolerance."""
    groups = seed_groups(verdict)
    claims: dict[str, list[ClaimResult]] = {}
    for row in verdict.results:
        exact = row.about is not None and row.about.exact and row.verdict.holds
        if row.verdict is not Outcome.NOT_RUN and row.tolerance and not exact:
            claims.setdefault(row.claim, []).append(row)
    lines = []
    for name, rows in claims.items():
        shares = {
            row.key: row.difference / row.tolerance for row in rows if row.difference is not None
        }
        outcome = gravest(row.verdict for row in rows)
        # The row that is shown must show the outcome: a failing row may be nearer than one that
        # is only undecided.
        grave = [row for row in rows if row.verdict is outcome and row.key in shares]
        if not grave:
            lines.append(ClaimLine(name, outcome, None, None, tuple(shares.values())))
            continue
        shown = max(grave, key=lambda row: abs(shares[row.key]))
        interval = None
        if shown.interval:
            low, high = ((end - shown.reported) / shown.tolerance for end in shown.interval)
            interval = low, high
        means = {
            seeds: (mean(values) - shown.reported) / shown.tolerance
            for seeds, values in _by_group(shown, groups).items()
        }
        others = tuple(share for key, share in shares.items() if key != shown.key)
        many = len(rows) > 1
        label = f"{name} @ {shown.epoch}" if many and shown.epoch is not None else name
        lines.append(ClaimLine(label, outcome, shares[shown.key], interval, others, means))
    return lines


def row_names(rows: Iterable[ClaimResult]) -> str:
    """Name several rows, with all epochs of a claim together: "late rows @ 20,30, test"."""
    epochs: dict[str, list[int]] = {}
    for row in rows:
        name = row.claim if row.epoch is not None else row.name
        epochs.setdefault(name, []).extend([] if row.epoch is None else [row.epoch])
    return ", ".join(f"{name} @ {spell(at)}" if at else name for name, at in epochs.items())


@dataclass(frozen=True)
class EqualRows:
    """The rows of exact claims that hold. They differ in nothing, so reports print them as one."""

    held: Mapping[str, Sequence[ClaimResult]]
    """By claim; only claims with several rows are listed."""
    judged: Mapping[str, int]
    """How many rows of the claim were run."""

    def covers(self, row: ClaimResult) -> bool:
        """Whether the row is printed together with others."""
        return row in self.held.get(row.claim, ())

    def line(self, claim: str) -> str:
        """Say how many rows of a claim are equal."""
        return f"{claim}: {len(self.held[claim])} of {self.judged[claim]} rows equal"

    def lines(self) -> Iterator[str]:
        """Yield the line of each claim."""
        return map(self.line, self.held)


def equal_rows(verdict: ExperimentVerdict) -> EqualRows:
    """Find the rows of exact claims that hold, as expected, and have no note."""
    judged: dict[str, list[ClaimResult]] = {}
    for row in verdict.results:
        if row.about is not None and row.about.exact and row.verdict is not Outcome.NOT_RUN:
            judged.setdefault(row.claim, []).append(row)
    held = {
        claim: [
            row
            for row in rows
            if row.verdict is Outcome.REPRODUCED and row.as_expected and not row.note
        ]
        for claim, rows in judged.items()
    }
    return EqualRows(
        {claim: rows for claim, rows in held.items() if len(rows) > 1},
        {claim: len(rows) for claim, rows in judged.items()},
    )


def shared_notes(verdicts: Sequence[ExperimentVerdict]) -> list[str]:
    """List the notes of all verdicts, each once, with the experiments that it is about.

    Notes that differ only in the experiment's own id are one note, with `*` in place of the id. The
    cells of a grid that share a note are named by their number. So are cells in which the same part
    of the manifest changed, in each from and to another value.
    """
    grids = {
        verdict.id: verdict.experiment.cell.grid for verdict in verdicts if verdict.experiment.cell
    }
    about: dict[str, list[str]] = {}
    for verdict in verdicts:
        for note in verdict.notes:
            about.setdefault(note.replace(verdict.id, "*"), []).append(verdict.id)
    lines: dict[str, list[str]] = {}
    alike = Counter((without_values(note), grids.get(names[0])) for note, names in about.items())
    for note, names in about.items():
        what, grid = without_values(note), grids.get(names[0])
        many = grid is not None and alike[what, grid] > 1
        lines.setdefault(f"{what}, in each otherwise" if many else note, []).extend(names)
    return [_about_these(names, note, grids, verdicts) for note, names in lines.items()]


def _about_these(
    names: Sequence[str],
    note: str,
    grids: Mapping[str, str],
    verdicts: Sequence[ExperimentVerdict],
) -> str:
    if len(names) == 1:
        return f"{names[0]}: {note.replace('*', names[0])}"
    if len(names) == len(verdicts):
        return f"all experiments: {note}"
    return f"{', '.join(_shortened(names, grids))}: {note}"


def _shortened(names: Sequence[str], grids: Mapping[str, str]) -> Iterator[str]:
    """Yield ids, but for several cells of one grid their number."""
    cells = Counter(grids[name] for name in names if name in grids)
    for name in dict.fromkeys(grids.get(name, name) for name in names):
        count = cells[name]
        if count > 1:
            yield f"{name} ({count} cells)"
        else:
            yield next((one for one in names if grids.get(one) == name), name)


def expectation(as_expected: bool | None) -> str:
    """Say whether the verdict is the expected one; an incomplete or inconclusive is undecided."""
    return {True: "as expected", False: "NOT as expected", None: "undecided"}[as_expected]


def parameters(verdict: ExperimentVerdict) -> str:
    """Count the parameters that are stated, inferred and assumed."""
    counts = ", ".join(f"{count} {basis}" for basis, count in verdict.bases.items() if count)
    return f"parameters: {counts}"


def tested(verdict: ExperimentVerdict) -> bool:
    """Tell whether a statistical test judged any row."""
    return any(result.p_consistency is not None for result in verdict.results)


def statistics(verdict: ExperimentVerdict) -> list[str]:
    """Name the method that judged each claim, and the result of the leave-one-out check."""
    decided: dict[str, dict[str, None]] = {}
    for result in verdict.results:
        if result.method and result.verdict is not Outcome.NOT_RUN:
            decided.setdefault(result.method, {})[result.claim] = None
    sentences = [f"{', '.join(claims)}: {method}" for method, claims in decided.items()]
    if verdict.left_out is not None:
        seeds, alarms = verdict.left_out.seeds, verdict.left_out.alarms
        sentences.append(
            f"leave-one-out check: {alarms} of {seeds} seeds rejected by the others "
            f"({verdict.alpha:.1%} expected by chance)"
        )
    return sentences


def chances(severity: Severity | None) -> list[str]:
    """Say what a verdict on these seeds and epochs could exclude; empty without rivals."""
    if severity is None:
        return []
    method = (
        f"accepts one more run of the method in {severity.accepted:.0%} of cases and rejects it in "
        f"{severity.rejected:.0%} ({number_of(severity.records, 'record')})"
        if severity.accepted is not None and severity.rejected is not None
        else "needs three records of the method to say how often it accepts one more run of it"
    )
    size = f"{number_of(severity.seeds, 'seed')}, {number_of(severity.epochs, 'epoch')}"
    rejects = "; ".join(map(_rejects, severity.rivals))
    return [f"a verdict on {size} {method}", f"it rejects its rivals: {rejects}"]


def percent(chance: float | None) -> str:
    """Format a chance; '?' if it is not known."""
    return "?" if chance is None else f"{chance:.0%}"


def _rejects(rival: RivalChance) -> str:
    passes = f", accepts it in {rival.accepted:.0%}" if rival.accepted else ""
    basis = "" if rival.constant and rival.rejected is not None else f" ({rival.basis})"
    return f"{rival.name} {percent(rival.rejected)}{passes}{basis}"


def not_severe(severity: Severity | None) -> list[str]:
    """Say which rivals the verdict does not reject, and which claims; empty if it is severe."""
    if severity is None:
        return []
    lines = []
    if severity.missed:
        names = _or(rival.name for rival in severity.missed)
        size = f"{number_of(severity.seeds, 'seed')} and {number_of(severity.epochs, 'epoch')}"
        lines.append(f"not severe: {size} are too few to reject {names}")
    return lines + [f"{name}: {weak_claim(severity, name)}" for name in severity.weak_claims]


def weak_claim(severity: Severity | None, claim: str) -> str:
    """Say why a claim is not severe; empty if it is, or if nothing is known."""
    rivals = severity.weak_claims.get(claim, ()) if severity else ()
    if not severity or not rivals:
        return ""
    accepted = {one.name: one.accepted_by.get(claim, 0.0) for one in severity.rivals}
    if all(accepted[name] >= SEVERE for name in rivals):
        return f"not severe, accepts {_or(rivals)}: the tolerance is wider than the effect"
    return f"not severe, does not reject {_or(rivals)}"


def _or(names: Iterable[str]) -> str:
    return " or ".join(names)


def interval(result: ClaimResult) -> str:
    """Format the confidence interval of the mean; empty if there is none."""
    if result.interval is None:
        return ""
    low, high = result.interval
    return f"{number(low)} to {number(high)}"


def p_value(p: float | None) -> str:
    """Format a p-value with three decimals; empty if there is none."""
    if p is None:
        return ""
    return "<.001" if p < 0.001 else f"{p:.3f}"


def as_markdown(text: str) -> str:
    """Escape text for Markdown, so that it makes no markup, no table cell and no new line."""
    for character in "\\`*_[]<>|&":
        text = text.replace(character, f"\\{character}")
    return " ".join(text.split())


def headline_result(verdict: ExperimentVerdict) -> ClaimResult | None:
    """Find the most important row: the final estimate, or else the last epoch that was run."""
    rows = [
        row
        for row in verdict.results
        if row.verdict is not Outcome.NOT_RUN and row.about is not None and row.about.estimate
    ]
    finals = [row for row in rows if row.epoch is None and row.series in verdict.evidence.finals]
    listed = [row for row in rows if row.epoch is not None]
    return finals[0] if finals else max(listed, key=lambda row: row.epoch or 0, default=None)


def deciding_result(verdict: ExperimentVerdict) -> ClaimResult | None:
    """Find the row that a reader asks about: the farthest one that fails or is open, if any is."""
    unsettled = [
        row
        for row in verdict.results
        if row.verdict in (Outcome.NOT_REPRODUCED, Outcome.INCONCLUSIVE)
        and row.about is not None
        and row.about.estimate
        and row.difference is not None
    ]
    return max(
        unsettled,
        key=lambda row: (row.verdict.severity, abs(row.difference or 0) / (row.tolerance or 1)),
        default=headline_result(verdict),
    )


def columns(verdict: ExperimentVerdict, seed: int | None = None) -> Mapping[str, str]:
    """Format the deciding row of one seed, or of the mean over seeds, as named short texts."""
    row = deciding_result(verdict)
    if row is None:
        return {}
    measured = row.measured if seed is None else row.by_seed.get(seed)
    difference = None if measured is None else measured - row.reported
    return {
        "within tolerance": "-"
        if difference is None
        else ("yes" if abs(difference) <= row.tolerance else "no"),
        "compared": row.name,
        "reported": number(row.reported),
        "measured": number(measured),
        "difference": number(difference, signed=True),
    }


def description(verdict: ExperimentVerdict, seed: int | None = None) -> str:
    """Describe the verdict in Markdown; with a seed, also how that seed differs from the paper."""
    return "\n\n".join(_paragraphs(verdict, seed))


def _paragraphs(verdict: ExperimentVerdict, seed: int | None) -> Iterator[str]:
    yield f"Verdict on the experiment: **{verdict.badge}**, {expectation(verdict.as_expected)}."
    values, row = columns(verdict, seed), deciding_result(verdict)
    if row is not None:
        subject = "the mean over the seeds" if seed is None else "this seed"
        yield (
            f"{values['compared']} ({row.unit}): the paper reports {values['reported']}, "
            f"{subject} gave {values['measured']}, a difference of {values['difference']}."
        )
    failing = [row.name for row in verdict.results if row.verdict is Outcome.NOT_REPRODUCED]
    if failing:
        yield f"Rows that were not reproduced: {', '.join(failing)}."
    if weak := not_severe(verdict.severity):
        yield f"**{'. '.join(weak)}.**"
    yield from chances(verdict.severity)
    yield "The artifacts of the run 'paper' contain the whole report with its figures."


def calibration_block(verdict: ExperimentVerdict, proposal: Proposal | None) -> str:
    """Render the block, with its evidence as comments; only comments if there is no proposal."""
    return "\n".join(_calibration_lines(verdict, proposal)) + "\n"


def _calibration_lines(verdict: ExperimentVerdict, proposal: Proposal | None) -> Iterator[str]:
    yield f"# {verdict.experiment.path}: {verdict.verdict} with seeds {spell(verdict.seeds)}"
    if proposal is None:
        yield "# no bands: ten seeds or more are needed, and a band within its tolerance"
        return
    if normal := len(proposal.bands) - len(proposal.ranges):
        yield f"# each of {normal} bands is mean +/- {proposal.factor:.2f} SD of the seeds"
    for name in proposal.ranges:
        yield f"# {name}: from the smallest to the largest seed, as seeds are not normal"
    yield f"# leave-one-out check: {proposal.inside} of {len(proposal.seeds)} seeds lie in all"
    yield "# bands that the other seeds give"
    for name, why in proposal.without.items():
        yield f"# no band for {name}: {why}"
    yield yaml.safe_dump(
        {
            "calibration": {
                "seeds": spell(proposal.seeds),
                "records": proposal.records,
                "coverage": proposal.coverage,
                "confidence": proposal.confidence,
                "bands": {name: list(band) for name, band in proposal.bands.items()},
            }
        },
        default_flow_style=None,
        sort_keys=False,
        allow_unicode=True,
        width=100,
    ).rstrip()
