"""Writes a trial's state as bytes and reads it back; never executes what it reads."""

import io
import pickle
import struct
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import Module
from torch.optim import Optimizer

from harness.errors import StoreError

BROKEN = (
    pickle.UnpicklingError,
    struct.error,
    RuntimeError,
    EOFError,
    OSError,
    ImportError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
)
"""Errors that reading may raise if the bytes are no checkpoint: torch's own, and those that the
documentation of pickle names."""


def dump(epoch: int, critic: Module, optimiser: Optimizer) -> bytes:
    """The state after `epoch`; no generator, since each epoch makes its own."""
    buffer = io.BytesIO()
    state = {
        "epoch": epoch,
        "critic": critic.state_dict(),
        "optimiser": optimiser.state_dict(),
    }
    torch.save(state, buffer)
    return buffer.getvalue()


def restore(payload: bytes, critic: Module, optimiser: Optimizer) -> int:
    """Take up a state that `dump` gave, and return its epoch; all of it or nothing.

    Raises:
        StoreError: it is no checkpoint, or one of another network or optimiser.
    """
    try:
        # To the CPU, where Adam keeps its count of steps; the rest is copied to its device.
        state = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
        misfits = list(_misfits(state, critic, optimiser))
    except BROKEN as error:
        raise StoreError(f"not a checkpoint of this workload: {error}") from error
    if misfits:
        raise StoreError(f"a checkpoint of another trial: {'; '.join(misfits)}")
    critic.load_state_dict(state["critic"])
    optimiser.load_state_dict(state["optimiser"])
    return int(state["epoch"])


def _misfits(state: dict[str, Any], critic: Module, optimiser: Optimizer) -> Iterator[str]:
    yield from _differences("", state["critic"], critic.state_dict())
    groups, own = state["optimiser"]["param_groups"], optimiser.state_dict()["param_groups"]
    if groups != own:
        yield f"optimiser {groups}, here {own}"
    if not isinstance(state["epoch"], int) or state["epoch"] < 0:
        yield f"epoch {state['epoch']!r}"
    averages = state["optimiser"]["state"]
    if state["epoch"] == 0 and not averages:
        return
    parameters = dict(enumerate(critic.parameters()))
    for key in ("exp_avg", "exp_avg_sq"):
        found = {index: average[key] for index, average in averages.items()}
        yield from _differences(f"{key} ", found, parameters)


def _differences(
    prefix: str, found: dict[Any, Tensor], own: dict[Any, Tensor] | dict[int, Any]
) -> Iterator[str]:
    for name in sorted(found.keys() | own.keys()):
        theirs, ours = _form(found.get(name)), _form(own.get(name))
        if theirs != ours:
            yield f"{prefix}{name} is {theirs}, here {ours}"


def _form(tensor: Tensor | None) -> str:
    return "absent" if tensor is None else f"{tuple(tensor.shape)} {tensor.dtype}"
