"""Writes a trial's state as bytes and reads it back. It never executes what it reads."""

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
"""Errors that reading may raise if the bytes are no checkpoint: those of torch, and those in the
documentation of pickle."""


def dump(epoch: int, critic: Module, optimiser: Optimizer) -> bytes:
    """Return the state after `epoch` as bytes. It holds no generator: each epoch makes its own."""
    buffer = io.BytesIO()
    state = {
        "epoch": epoch,
        "critic": critic.state_dict(),
        "optimiser": optimiser.state_dict(),
    }
    torch.save(state, buffer)
    return buffer.getvalue()


def restore(payload: bytes, critic: Module, optimiser: Optimizer) -> int:
    """Load a state of `dump` into the critic and the optimiser, and return its epoch.

    If it does not fit, both stay unchanged.

    Raises:
        StoreError: the bytes are no checkpoint, or belong to another network or optimiser.
    """
    try:
        # Load to the CPU, where Adam keeps its step count. The rest is copied to its device.
        state = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
        mismatches = list(_mismatches(state, critic, optimiser))
    except BROKEN as error:
        raise StoreError(f"not a checkpoint of this workload: {error}") from error
    if mismatches:
        raise StoreError(f"a checkpoint of another trial: {'; '.join(mismatches)}")
    critic.load_state_dict(state["critic"])
    optimiser.load_state_dict(state["optimiser"])
    return int(state["epoch"])


def _mismatches(state: dict[str, Any], critic: Module, optimiser: Optimizer) -> Iterator[str]:
    """Yield what differs between a loaded state and this critic and optimiser."""
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
        loaded = {index: average[key] for index, average in averages.items()}
        yield from _differences(f"{key} ", loaded, parameters)


def _differences(
    prefix: str, loaded: dict[Any, Tensor], own: dict[Any, Tensor] | dict[int, Any]
) -> Iterator[str]:
    """Yield the tensors whose shape or type differs."""
    for name in sorted(loaded.keys() | own.keys()):
        theirs, ours = _shape(loaded.get(name)), _shape(own.get(name))
        if theirs != ours:
            yield f"{prefix}{name} is {theirs}, here {ours}"


def _shape(tensor: Tensor | None) -> str:
    return "absent" if tensor is None else f"{tuple(tensor.shape)} {tensor.dtype}"
