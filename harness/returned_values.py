"""Check what a workload returns: its environment, metrics and checkpoints.

The checks run on the worker, before anything is sent. So the driver always receives plain data that
can be pickled, written and read back.
"""

import json
import math
import reprlib
import sys
from collections.abc import Mapping
from numbers import Real
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainValidator,
    PositiveInt,
    ValidationError,
)

from harness.record import Environment, FileSlice, Json, canonical_json
from harness.workload import Row, Workload

LONGEST_ENVIRONMENT = 1 << 20
"""Largest size of an environment as JSON, in bytes. Every attempt stores one."""

_DEEPEST_JSON = 50
"""Largest depth of lists and objects in a setting."""


class InvalidValueError(ValueError):
    """A workload returned a value that cannot be recorded. The message names the field."""


def plain_environment(value: object) -> Environment:
    """Return the environment with plain values only.

    Raises:
        InvalidValueError: it is not an Environment, or a field has a value of another type than
            `harness.record.Environment` declares. The message names every such field.
    """
    if not isinstance(value, Environment):
        raise InvalidValueError(f"environment: must be an Environment, got {shown(value)}")
    try:
        checked = _Environment.model_validate(dict(vars(value)))
    except ValidationError as error:
        raise InvalidValueError("; ".join(map(_fault, error.errors()))) from None
    # JSON replaces subclasses of str and int, which the reader may be unable to import.
    text = canonical_json(checked.model_dump())
    if len(text) > LONGEST_ENVIRONMENT:
        raise InvalidValueError(
            f"environment: must be at most {LONGEST_ENVIRONMENT} bytes as JSON, got {len(text)}"
        )
    return Environment(**json.loads(text))


def plain_metrics(value: object, workload: Workload, *, final: bool) -> dict[str, float]:
    """Return the metrics as Python floats, in the order in which they are declared.

    A metric may be any real number: Python's int and float, numpy's scalars, and numpy arrays and
    torch tensors with zero dimensions. Texts, bools and complex numbers are refused.

    Args:
        value: what `epoch` or `final` returned.
        workload: the workload that returned it.
        final: whether these are the final metrics.

    Raises:
        InvalidValueError: `value` is not a mapping, its names are not those that the workload
            declares (only sparse ones may be missing), or a metric is not a real number of 64 bits.
        ArithmeticError: a metric is NaN or infinite.
    """
    if not isinstance(value, Mapping):
        raise InvalidValueError(f"metrics: must be a mapping, got {shown(value)}")
    given = dict(value)
    declared = [name for name, metric in workload.metrics.items() if metric.final == final]
    faults = [
        f"{name}: missing"
        for name in declared
        if name not in given and not workload.metrics[name].sparse
    ]
    faults += [f"{_name(key)}: not declared" for key in given if key not in declared]
    numbers: dict[str, float] = {}
    for name in declared:
        if name in given:
            try:
                numbers[str(name)] = _number(given[name])
            except InvalidValueError as fault:
                faults.append(f"{name}: {fault}")
    if faults:
        raise InvalidValueError("; ".join(f"metrics.{fault}" for fault in faults))
    bad = [f"{name} is {number}" for name, number in numbers.items() if not math.isfinite(number)]
    if bad:
        raise ArithmeticError(", ".join(bad))
    return numbers


def row(value: object, workload: Workload, *, after: int, last: int) -> Row | None:
    """Return the row that `epoch` returned, with its epoch. Return None if no row follows.

    Args:
        value: what `epoch` returned.
        workload: the workload that returned it.
        after: the epoch of the row before.
        last: the last epoch of the run.

    Raises:
        InvalidValueError: the row's epoch is not an integer between `after` and `last`; a skipped
            epoch lacks a metric that is not sparse; or as of `plain_metrics`.
        ArithmeticError: a metric is NaN or infinite.
    """
    epoch = value.epoch if isinstance(value, Row) else after + 1
    if isinstance(epoch, bool) or not isinstance(epoch, int) or not after < epoch <= last:
        raise InvalidValueError(
            f"the epoch of the row after {after} must be an integer from {after + 1} to {last}, "
            f"got {shown(epoch)}"
        )
    dense = any(not (metric.sparse or metric.final) for metric in workload.metrics.values())
    if epoch > after + 1 and dense:
        plain_metrics(
            {}, workload, final=False
        )  # raises: the epochs between lack what is not sparse
    if value is None and not dense:
        return None
    given = value.metrics if isinstance(value, Row) else value
    return Row(int(epoch), plain_metrics(given, workload, final=False))


def payload(value: object) -> bytes | FileSlice:
    """Return a checkpoint's payload. A path becomes a file with its length and digest.

    Raises:
        InvalidValueError: it is neither bytes nor the path of a file.
    """
    if isinstance(value, bytes):
        return bytes(value)
    if not isinstance(value, Path):
        raise InvalidValueError(f"checkpoint: must be bytes or a Path, got {shown(value)}")
    if not value.is_file():
        raise InvalidValueError(f"checkpoint: must be the path of a file, got {shown(value)}")
    return FileSlice.of(value)


def plain_size(value: object) -> int | None:
    """Return a number of bytes; None if the workload returned anything else."""
    return value if type(value) is int and 0 <= value < 1 << 63 else None


def shown(value: object) -> str:
    """Return a value's type and a short text of it, for a message. Never raises."""
    kind = type(value)
    if value is None:
        return "None"
    if isinstance(value, int) and value.bit_length() > 64:
        return f"{_type_name(kind)} of {value.bit_length()} bits"
    try:
        text = reprlib.repr(value)
    except BaseException:  # noqa: BLE001 - the workload's own code, which may even exit
        return _type_name(kind)
    return f"{_type_name(kind)} {text}"


def _type_name(kind: type) -> str:
    module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
    return f"{module}{kind.__qualname__}"


def _name(key: object) -> str:
    return key if isinstance(key, str) else shown(key)


def _number(value: object) -> float:
    """Return the value as a Python float. NaN and infinities pass."""
    number = value.item() if _is_scalar_array(value) else value  # type: ignore[attr-defined]
    if isinstance(number, bool) or not isinstance(number, Real):
        raise InvalidValueError(f"must be a real number, got {shown(value)}")
    try:
        return float(number)
    except OverflowError:
        raise InvalidValueError(f"must fit a 64-bit float, got {shown(value)}") from None


def _is_scalar_array(value: object) -> bool:
    """Whether the value is a numpy array or torch tensor with zero dimensions."""
    kinds = [("numpy", "ndarray"), ("torch", "Tensor")]
    # A library that this process has not imported cannot have made the value.
    arrays = tuple(getattr(sys.modules[lib], kind) for lib, kind in kinds if lib in sys.modules)
    return isinstance(value, arrays) and value.ndim == 0


def _storable(text: str) -> str:
    """Return the text. Refuse it if UTF-8 cannot encode it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"must be Unicode that UTF-8 can hold, got {shown(text)}") from None
    return text


def _json(value: object, depth: int = 0) -> Json:
    """Return the value. Refuse it if JSON cannot store it and give back an equal value."""
    if depth > _DEEPEST_JSON:
        raise ValueError(f"must have at most {_DEEPEST_JSON} levels")
    match value:
        case None | bool():
            return value
        case str():
            return _storable(value)
        case int() if -(1 << 63) <= value < 1 << 63:
            return int(value)
        case float() if math.isfinite(value):
            return float(value)
        case list():
            return [_json(item, depth + 1) for item in value]
        case dict() if all(isinstance(key, str) for key in value):
            return {_storable(key): _json(item, depth + 1) for key, item in value.items()}
    raise ValueError(f"must be JSON with finite numbers of 64 bits, got {shown(value)}")


def _plain_mapping(value: object) -> object:
    """Return any mapping as a dict. Pydantic reports other values."""
    return dict(value) if isinstance(value, Mapping) else value


_Text = Annotated[str, AfterValidator(_storable)]
_Texts = Annotated[dict[_Text, _Text], BeforeValidator(_plain_mapping)]
_Settings = Annotated[
    dict[_Text, Annotated[Any, PlainValidator(_json)]], BeforeValidator(_plain_mapping)
]


class _Environment(BaseModel):
    """The types of the fields of `harness.record.Environment`, checked strictly."""

    model_config = ConfigDict(strict=True, extra="forbid")

    device: _Text
    threads: PositiveInt
    form: _Text
    versions: _Texts
    hardware: _Texts
    settings: _Settings
    data: _Texts


_WANTED = {
    "string_type": "a text",
    "int_type": "an integer",
    "greater_than": "a positive integer",
    "dict_type": "a mapping",
}
"""What a field must be, by pydantic's name of the error."""


def _fault(error: Any) -> str:
    """Return one of pydantic's errors as `field: must be …, got …`."""
    *steps, last = error["loc"]
    if last == "[key]":  # the name is wrong; pydantic puts it before this mark
        last = "(name)"
        del steps[-1]
    field = ".".join(["environment", *map(str, steps), str(last)])
    if error["type"] == "value_error":
        return f"{field}: {error['ctx']['error']}"
    wanted = _WANTED.get(error["type"], error["msg"])
    return f"{field}: must be {wanted}, got {shown(error['input'])}"
