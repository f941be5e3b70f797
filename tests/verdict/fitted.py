"""Runs that are drawn from a model of the committed records, and the trust table made of them.

`python -m tests.verdict.fitted [PAPERS]` writes the table of `experiments/README.md`: how often
each of the four outcomes comes, by the number of seeds, for correct papers and for rivals that must
not pass.

The model of an experiment: a run's value at epoch t is m(t) + s(t) (sqrt(r) b + sqrt(1 - r) e(t)).
m and s are mean and SD of the records (variances averaged over five epochs), b is an effect of the
seed, and e is AR(1) over epochs; both are standard normal. r and the AR coefficient a are fitted to
the autocorrelation of the standardised records, which is r + (1 - r) a^k at lag k. Final estimates
are normal with their own mean and SD. The paper is one more run, printed to its decimals.
"""

import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from scipy.optimize import least_squares

from harness import stats, workloads
from harness.manifest import Experiment, load
from harness.record import StoredTrial
from harness.stats import Array
from harness.store.archive import decoded
from harness.verdict import ALPHA, Case, Evidence, Outcome
from harness.verdict.evidence import gather
from harness.verdict.judgement import combine, judge_claims
from tests.conftest import REPOSITORY

EXPERIMENTS = REPOSITORY / "experiments"
IMAGES = ("image-pair-4", "image-pair-8", "image-values-pair-4", "image-values-pair-8")
SEEDS = (1, 2, 3, 5, 10, 20, 50)
STUDY = 10
"""Committed seeds beside a single one that is judged."""
CURVE = "mi_bits"
DECIMALS = 4
LAGS = range(1, 16)
WINDOW = np.ones(5)
TINY = 1e-6
"""SD of rivals that learn nothing; with none at all, all seeds would count as one."""


def records(name: str) -> tuple[StoredTrial, ...]:
    """The committed trials of a file."""
    (kept,) = decoded((EXPERIMENTS / "records" / f"{name}.jsonl").read_bytes()).values()
    return kept.trials


@dataclass(frozen=True)
class Model:
    """Where runs lie: see the module."""

    mean: Array
    """Shape (epochs,)."""
    sd: Array
    seed_share: float
    """r: the share of the variance that a seed keeps over all epochs."""
    ar: float
    finals: Mapping[str, tuple[float, float]]
    """Mean and SD of each final estimate."""

    @classmethod
    def fitted(cls, trials: Sequence[StoredTrial]) -> "Model":
        """Fit the model to trials of one method."""
        curves = np.array([[record.metrics[CURVE] for record in trial.epochs] for trial in trials])
        n, epochs = curves.shape
        sd = curves.std(axis=0, ddof=1)
        z = (curves - curves.mean(axis=0)) / sd * np.sqrt(n / (n - 1))
        lags = np.array([lag for lag in LAGS if lag < epochs // 2])
        found = [float((z[:, lag:] * z[:, : epochs - lag]).mean()) for lag in lags]
        fit = least_squares(
            lambda at: at[0] + (1 - at[0]) * at[1] ** lags - found, (0.3, 0.3), bounds=(0, 0.999)
        )
        weight = np.convolve(np.ones(epochs), WINDOW, "same")
        last = [trial.finals[trial.done].metrics for trial in trials]
        return cls(
            mean=curves.mean(axis=0),
            sd=np.sqrt(np.convolve(sd**2, WINDOW, "same") / weight),
            seed_share=float(fit.x[0]),
            ar=float(fit.x[1]),
            finals={
                name: (float(np.mean(at)), float(np.std(at, ddof=1)))
                for name in last[0]
                for at in ([metrics[name] for metrics in last],)
            },
        )

    def constant(self, value: float) -> "Model":
        """Runs that stay at a value."""
        level = np.full_like(self.mean, value)
        finals = dict.fromkeys(self.finals, (value, TINY))
        return replace(self, mean=level, sd=np.full_like(level, TINY), finals=finals)

    def draw(self, rng: np.random.Generator, like: StoredTrial, count: int) -> list[StoredTrial]:
        """Draw runs; what the model does not have, such as true values, is as in `like`."""
        noise = rng.normal(size=(count, len(self.mean)))
        for at in range(1, noise.shape[1]):
            noise[:, at] = self.ar * noise[:, at - 1] + np.sqrt(1 - self.ar**2) * noise[:, at]
        seed = rng.normal(size=(count, 1))
        share = self.seed_share
        curves = self.mean + self.sd * (np.sqrt(share) * seed + np.sqrt(1 - share) * noise)
        return [self._trial(rng, curve, like) for curve in curves]

    def _trial(self, rng: np.random.Generator, curve: Array, like: StoredTrial) -> StoredTrial:
        final = like.finals[like.done]
        estimates = {
            name: rng.normal(*self.finals[name]) for name in self.finals if "true" not in name
        }
        return replace(
            like,
            epochs=tuple(
                replace(record, metrics={**record.metrics, CURVE: float(value)})
                for record, value in zip(like.epochs, curve, strict=True)
            ),
            finals={like.done: replace(final, metrics={**final.metrics, **estimates})},
        )


@dataclass(frozen=True)
class Setting:
    """An experiment, the model of its runs, and those of the rivals that must not pass."""

    experiment: Experiment
    like: StoredTrial
    correct: Model
    rivals: Mapping[str, Model]

    def paper(self, rng: np.random.Generator) -> Experiment:
        """The experiment whose paper printed one more run."""
        (run,) = self.correct.draw(rng, self.like, 1)
        return printing(self.experiment, run)


def printing(experiment: Experiment, run: StoredTrial) -> Experiment:
    """The experiment whose paper printed this run in every value that is compared with seeds."""
    claims = []
    for claim in experiment.manifest.claims:
        if claim.counts_epochs:
            epochs = np.array([float(record.epoch) for record in run.epochs])
            curve = np.array([record.metrics[claim.metric] for record in run.epochs])
            at = stats.onset(epochs, curve, claim.takeoff.threshold)  # type: ignore[union-attr]
            if np.isnan(at):
                raise ValueError("the run never took off, and no paper would report an epoch")
            claims.append(claim.model_copy(update={"reported": round(at, 2)}))
        elif claim.compared:
            printed = {
                epoch: round(values[claim.metric], DECIMALS)
                for epoch in claim.values
                for values in (
                    run.epochs[epoch - 1].metrics if epoch else run.finals[run.done].metrics,
                )
            }
            claims.append(claim.model_copy(update={"reported": printed.get(None, printed)}))
        else:
            claims.append(claim)
    manifest = experiment.manifest.model_copy(update={"claims": tuple(claims)})
    return experiment.model_copy(update={"manifest": manifest})


CORRECT, ONCE = "one more run of the same method", "pairs drawn once"
INDEPENDENT, UNTRAINED, CONSTANT = "independent pairs", "untrained network (0 bits)", "a constant"
KINDS = (CORRECT, ONCE, INDEPENDENT, UNTRAINED, CONSTANT)


@cache
def settings() -> tuple[Setting, ...]:
    """The four image experiments. Pairs drawn once are recorded for some of them only."""
    control = Model.fitted(records("image-pair-4-independent"))
    found = []
    for name in IMAGES:
        (experiment,) = load([EXPERIMENTS / f"{name}.yaml"], workloads.registry())
        trials = records(name)
        correct = Model.fitted(trials)
        flat = correct.constant(0.0)
        noise = np.full_like(correct.mean, float(control.sd.max()))
        rivals = {
            INDEPENDENT: replace(
                flat, sd=noise, finals=dict.fromkeys(flat.finals, (0.0, float(noise[0])))
            ),
            UNTRAINED: flat,
            CONSTANT: correct.constant(float(correct.mean[-1])),
        }
        once = f"{name}[redraw=false]"
        if (EXPERIMENTS / "records" / f"{once}.jsonl").exists():
            rivals[ONCE] = Model.fitted(records(once))
        found.append(Setting(experiment, trials[0], correct, rivals))
    return tuple(found)


def verdicts(kind: str, seeds: int, papers: int) -> Counter[Outcome]:
    """The verdicts of so many papers, by turns of each experiment that has runs of this kind."""
    having = [each for each in settings() if kind == CORRECT or kind in each.rivals]
    rng = np.random.default_rng([KINDS.index(kind), seeds])
    found: Counter[Outcome] = Counter()
    for turn in range(papers):
        setting = having[turn % len(having)]
        model = setting.correct if kind == CORRECT else setting.rivals[kind]
        runs = model.draw(rng, setting.like, seeds)
        beside = setting.correct.draw(rng, setting.like, STUDY) if seeds == 1 else []
        asked = setting.paper(rng)
        evidence = _evidence(asked, runs)
        rows, _ = judge_claims(
            asked.manifest,
            evidence,
            ALPHA,
            _evidence(asked, beside) if beside else None,
            advise=False,  # neither advice nor leaving out changes an outcome, and both take long
        )
        found[combine(rows, evidence)] += 1
    return found


def _evidence(experiment: Experiment, runs: Sequence[StoredTrial]) -> Evidence:
    return gather(Case(experiment, tuple(range(len(runs))), runs[0].done), lambda _, at: runs[at])


FOUR = (
    Outcome.REPRODUCED,
    Outcome.IMMATERIAL_DIFFERENCE,
    Outcome.INCONCLUSIVE,
    Outcome.NOT_REPRODUCED,
)


def table(papers: int) -> Iterator[str]:
    """Markdown, a line at a time; a fifth of the papers where every outcome is the same."""
    yield "| runs | seeds | " + " | ".join(FOUR) + " |"
    yield "|---" * (2 + len(FOUR)) + "|"
    for kind in KINDS:
        times = papers if kind in (CORRECT, ONCE) else papers // 5
        for seeds in SEEDS:
            found = verdicts(kind, seeds, times)
            cells = (f"{found[outcome] / times:.0%}" for outcome in FOUR)
            yield f"| {kind} | {seeds} | " + " | ".join(cells) + " |"


PAGE = EXPERIMENTS / "README.md"


def write(page: Path, command: str, lines: Sequence[str]) -> None:
    """Put a table below the line that names its command, in place of the one that is there."""
    head, command, rest = page.read_text(encoding="utf-8").partition(f"<!-- simulated: {command}")
    line, _, below = rest.partition("\n")
    _, _, tail = below.partition("\n\n")
    made = "\n".join([f"{command}{line}", *lines])
    page.write_text(f"{head}{made}\n\n{tail}", encoding="utf-8")


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    write(PAGE, "python -m tests.verdict.fitted", list(table(count)))
