"""Where a verdict's records are from, and in what its seeds differ."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from harness.manifest import of_seeds
from harness.record import WORKLOAD_CODE, Provenance, canonical_json
from harness.verdict import Evidence


@dataclass(frozen=True)
class Fact:
    """One thing that was found on the machines, or set there."""

    thing: str
    values: Mapping[str, str]
    """Which seeds, in words, by the value; a single value holds for all and names none."""

    @property
    def differs(self) -> bool:
        """Whether it may explain that two seeds differ."""
        return len(self.values) > 1


def facts(evidence: Evidence) -> tuple[Fact, ...]:
    """Everything recorded of the attempts, what differs first."""
    seeds: dict[str, dict[str, set[int]]] = {}
    for seed, attempts in evidence.provenance.items():
        for attempt in attempts:
            for thing, value in _things(attempt):
                seeds.setdefault(thing, {}).setdefault(value, set()).add(seed)
    found = [Fact(thing, _named(values)) for thing, values in seeds.items()]
    return tuple(sorted(found, key=lambda fact: not fact.differs))


def taken(evidence: Evidence) -> str:
    """From when to when the seeds' last records were taken; empty where there are none."""
    ends = sorted({_minute(ended_ms) for ended_ms in evidence.ended_ms.values()})
    return " to ".join(dict.fromkeys((ends[0], ends[-1]))) if ends else ""


def _things(attempt: Provenance) -> Iterator[tuple[str, str]]:
    environment = attempt.environment
    yield "commit", attempt.source.commit_name + attempt.source.change
    yield "source digest", attempt.source.digest
    if attempt.workload_code:
        yield WORKLOAD_CODE, str(attempt.workload_code)
    yield "host", attempt.host
    yield "device", environment.device
    yield "threads", str(environment.threads)
    yield "form of the step", environment.form
    yield from _prefixed("version of ", environment.versions.items())
    yield from _prefixed("", environment.hardware.items())
    yield from _prefixed("setting ", environment.settings.items())
    yield from _prefixed("data ", environment.data.items())


def _prefixed(prefix: str, items: Iterable[tuple[str, object]]) -> Iterator[tuple[str, str]]:
    for name, value in items:
        yield prefix + name, value if isinstance(value, str) else canonical_json(value)


def _named(values: Mapping[str, set[int]]) -> dict[str, str]:
    several = len(values) > 1
    return {value: of_seeds(seeds) if several else "" for value, seeds in values.items()}


def _minute(ended_ms: int) -> str:
    return datetime.fromtimestamp(ended_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
