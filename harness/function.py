"""A paper's method as one generator function in a script: the decorator, and how a trial runs it.

The decorator is read from the script's text (`harness.workloads.command.code`). A trial runs
`python -P -m harness.function FILE FUNCTION NAME:TYPE=VALUE...` in the folder of its code. With -P
this module imports none of the code, whatever its files are called. It imports nothing but the
standard library, so that such a process starts at once.
"""

import json
import sys
from collections.abc import Callable, Generator, Mapping
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, TypeVar

ROWS, FINAL = ".harness-rows.jsonl", ".harness-final.json"
"""The files for what the function yields and returns. What it prints stays plain output."""

Method = TypeVar("Method", bound=Callable[..., Generator[Mapping[str, Any], Any, Any]])

_TYPES: Mapping[str, Callable[[str], object]] = {
    "int": int,
    "float": float,
    "str": str,
    "bool": "true".__eq__,
}
"""How a value is read, by the name of its type."""


def workload(
    *, metrics: Mapping[str, str], final: Mapping[str, str] | None = None
) -> Callable[[Method], Method]:
    """Mark a generator function as the method that a manifest runs.

    The function yields a dict of metrics for each epoch, and returns a dict of final estimates. A
    manifest has its parameters, which need annotations (int, float, bool or str). A trial also
    hands over `seed`, `epochs`, `device` and `threads`, if the function names them.

    Args:
        metrics: the metrics of every epoch, each with its unit. It must be written out, because the
            file is read and not executed.
        final: the metrics that are estimated once, at the end, each with its unit.

    Returns:
        A decorator that returns the function itself. It checks nothing: `harness validate` names
        the faults, each with its line.

    Example:
        >>> import harness
        >>> @harness.workload(metrics={"loss": "nats"}, final={"accuracy": "%"})
        ... def train(seed: int, epochs: int, learning_rate: float = 0.1):
        ...     for epoch in range(epochs):
        ...         yield {"loss": learning_rate / (epoch + 1)}
        ...     return {"accuracy": 97.5}
        >>> list(train(seed=0, epochs=2))
        [{'loss': 0.1}, {'loss': 0.05}]
    """
    return lambda function: function


def main(words: list[str]) -> None:
    """Run a function of a file to its end, and write down what it yields and returns."""
    file, name, *given = words
    path = Path(file).resolve()
    rows, final = Path(ROWS).resolve(), Path(FINAL).resolve()  # the function may change the folder
    sys.argv = [file]
    sys.path.insert(0, str(path.parent))
    spec = spec_from_file_location(path.stem, path)
    assert spec is not None  # noqa: S101 (the manifest's check accepts only .py)
    assert spec.loader is not None  # noqa: S101
    module = sys.modules[path.stem] = module_from_spec(spec)
    spec.loader.exec_module(module)
    generator = getattr(module, name)(**dict(map(_argument, given)))
    epoch = 0
    with rows.open("w", encoding="utf-8", buffering=1) as out:
        while True:
            try:
                row = _metrics(next(generator), f"{name} must yield")
            except StopIteration as end:
                result = _metrics({} if end.value is None else end.value, f"{name} must return")
                break
            epoch = row.get("epoch", epoch + 1)
            out.write(json.dumps({"epoch": epoch} | row, default=float) + "\n")
    final.write_text(json.dumps(result, default=float), encoding="utf-8")


def _argument(word: str) -> tuple[str, object]:
    """Read NAME:TYPE=VALUE."""
    declared, _, text = word.partition("=")
    name, _, kind = declared.partition(":")
    return name, _TYPES[kind](text)


def _metrics(value: object, must: str) -> dict[str, Any]:
    """Return the metrics of an epoch or of the end as a dict.

    Raises:
        TypeError: it is no mapping.
    """
    if not isinstance(value, Mapping):
        raise TypeError(f"{must} a dict of metrics, got {value!r:.60}")
    return dict(value)


if __name__ == "__main__":
    main(sys.argv[1:])
