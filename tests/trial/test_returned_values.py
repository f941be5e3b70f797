"""What a workload returns is checked on the worker, and a bad value is that trial's outcome."""

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from harness import returned_values
from harness.record import Environment, Failure, FailureKind, Started
from harness.returned_values import InvalidValueError
from harness.store.files import RESULT, Covered, TrialResult
from harness.workload import Context
from tests.toy import Toy, Walk, job
from tests.trial.test_trial import messages, only_failure

PLAIN = Environment("cpu", 1, "plain", {}, {}, {}, {})


class Unprintable:
    def __repr__(self) -> str:
        sys.exit(5)

    __str__ = __repr__


class UnprintableError(Exception):
    __str__ = Unprintable.__str__


class Text(str):
    """A text of a class that the driver may not be able to import."""


class Striking(Walk):
    """Does at its second epoch, or instead of a method, what it is told."""

    def epoch(self) -> Mapping[str, float]:
        if self.count == 1 and "epoch" in STRIKES:
            self.count += 1
            return STRIKES["epoch"]()  # type: ignore[no-any-return]
        return super().epoch()

    def save(self) -> bytes:
        return STRIKES["save"]() if "save" in STRIKES else super().save()


class StrikingToy(Toy):
    def start(self, parameters: Any, context: Context) -> Walk:
        run = Striking(**vars(super().start(parameters, context)))
        if "environment" in STRIKES:
            run.environment = STRIKES["environment"]()
        return run


STRIKES: dict[str, Callable[[], Any]] = {}


def strike(monkeypatch: pytest.MonkeyPatch, where: str, what: Callable[[], Any]) -> Failure:
    """Run a trial that is struck, and return its failure."""
    monkeypatch.setitem(STRIKES, where, what)
    sent = messages(job(epochs=3), StrikingToy(), checkpoint_interval_s=0, interruptible=False)
    return only_failure(sent)


def environment(**fields: Any) -> Environment:
    return replace(PLAIN, **fields)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: None, "environment: must be an Environment, got None"),
        (lambda: environment(form=3), "environment.form: must be a text, got int 3"),
        (
            lambda: environment(versions={"cuda": 12}),
            "environment.versions.cuda: must be a text, got int 12",
        ),
        (
            lambda: environment(versions={"cuda": None}),
            "environment.versions.cuda: must be a text, got None",
        ),
        (
            lambda: environment(versions={12: "cuda"}),
            "environment.versions.(name): must be a text, got int 12",
        ),
        (lambda: environment(data=None), "environment.data: must be a mapping, got None"),
        (lambda: environment(threads=True), "environment.threads: must be an integer, got bool"),
        (lambda: environment(threads=0), "environment.threads: must be a positive integer, got"),
        (lambda: environment(device="caf\udce9"), "environment.device: must be Unicode"),
        (lambda: environment(settings={"dtype": torch.float32}), "environment.settings.dtype: mus"),
        (lambda: environment(settings={"n": np.int64(3)}), "environment.settings.n: must be JSON"),
        (lambda: environment(settings={"n": [float("nan")]}), "environment.settings.n: must be "),
        (lambda: environment(settings={"f": Unprintable()}), "environment.settings.f: must be JS"),
        (lambda: environment(settings={"n": 10**400}), "got int of 1329 bits"),
        (lambda: environment(settings={"x": "x" * (1 << 21)}), "must be at most 1048576 bytes"),
    ],
)
def test_a_bad_environment_is_the_trial_s_outcome_and_names_the_field(
    monkeypatch: pytest.MonkeyPatch, made: Callable[[], Any], message: str
) -> None:
    failure = strike(monkeypatch, "environment", made)
    assert failure.kind is FailureKind.SCIENTIFIC
    assert failure.error == "InvalidValueError"
    assert message in failure.message
    assert failure.epoch == 0


def test_all_bad_fields_of_an_environment_are_named_at_once() -> None:
    with pytest.raises(
        InvalidValueError, match=r"environment\.form.*; environment\.versions\.cuda"
    ):
        returned_values.plain_environment(environment(form=3, versions={"cuda": 12}))


def test_an_environment_is_sent_as_plain_values() -> None:
    """A version text of torch's own class would make the driver import torch."""
    given_ = environment(
        versions=MappingProxyType({Text("torch"): torch.__version__}), settings={"n": np.float64(2)}
    )
    sent = returned_values.plain_environment(given_)
    ((name, version),) = sent.versions.items()
    assert type(sent.versions) is dict
    assert (type(name), type(version), type(sent.settings["n"])) == (str, str, float)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=8,
)


@given(
    texts=st.dictionaries(st.text(), st.text() | st.integers()),
    settings=st.dictionaries(st.text(), json_values),
)
def test_an_environment_that_passes_is_read_back_as_it_was_sent(
    texts: dict[str, Any], settings: dict[str, Any]
) -> None:
    try:
        sent = returned_values.plain_environment(environment(versions=texts, settings=settings))
    except InvalidValueError:
        return
    (started, *_) = messages(job(), _With(sent))
    assert isinstance(started, Started)
    result = TrialResult("id", Covered(), provenance=(started.provenance,))
    assert RESULT.read(RESULT.write(result)) == result
    assert json.loads(json.dumps(dict(sent.settings))) == sent.settings


class _With(Toy):
    """Reports the environment that it is given."""

    def __init__(self, environment: Environment) -> None:
        super().__init__()
        object.__setattr__(self, "_environment", environment)

    def start(self, parameters: Any, context: Context) -> Walk:
        run = super().start(parameters, context)
        run.environment = self._environment  # type: ignore[attr-defined]
        return run


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("1.5", "metrics.place: must be a real number, got str '1.5'"),
        (True, "metrics.place: must be a real number, got bool True"),
        (np.bool_(True), "metrics.place: must be a real number, got numpy.bool"),
        (torch.tensor(True), "metrics.place: must be a real number, got torch.Tensor"),
        (torch.tensor([1.0]), "metrics.place: must be a real number, got torch.Tensor"),
        (np.array([1.0]), "metrics.place: must be a real number, got numpy.ndarray"),
        (1 + 2j, "metrics.place: must be a real number, got complex"),
        (None, "metrics.place: must be a real number, got None"),
        (Unprintable(), "metrics.place: must be a real number, got tests.trial.test_returned"),
        (10**400, "metrics.place: must fit a 64-bit float, got int of 1329 bits"),
    ],
)
def test_a_metric_that_is_no_real_number_is_the_trial_s_outcome(
    monkeypatch: pytest.MonkeyPatch, value: object, message: str
) -> None:
    failure = strike(monkeypatch, "epoch", lambda: {"place": value})
    assert (failure.kind, failure.epoch) == (FailureKind.SCIENTIFIC, 1)
    assert failure.message.startswith(f"epoch 2: {message}")


@pytest.mark.parametrize(
    "value",
    [
        *(1, 1.0, np.float16(1), np.float32(1), np.int8(1), np.longdouble(1), np.array(1.0)),
        *(torch.tensor(1.0), torch.tensor(1), torch.tensor(1.0, requires_grad=True)),
    ],
)
def test_a_scalar_of_numpy_or_torch_is_a_real_number(value: object) -> None:
    checked = returned_values.plain_metrics({"place": value}, Toy(), final=False)
    assert checked == {"place": 1.0}
    assert type(checked["place"]) is float


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (None, "metrics: must be a mapping, got None"),
        ([("place", 1.0)], "metrics: must be a mapping, got list [('place', 1.0)]"),
        ({}, "metrics.place: missing"),
        ({"place": 1.0, "more": 2.0}, "metrics.more: not declared"),
        ({"place": 1.0, 3: 2.0}, "metrics.int 3: not declared"),
    ],
)
def test_metrics_are_the_declared_ones(
    monkeypatch: pytest.MonkeyPatch, returned: object, message: str
) -> None:
    assert strike(monkeypatch, "epoch", lambda: returned).message == f"epoch 2: {message}"


@pytest.mark.parametrize("payload", ["text", None, {"a": 1}, bytearray(b"a"), memoryview(b"a")])
def test_a_checkpoint_is_bytes(monkeypatch: pytest.MonkeyPatch, payload: object) -> None:
    failure = strike(monkeypatch, "save", lambda: payload)
    assert (failure.kind, failure.epoch) == (FailureKind.SCIENTIFIC, 1)
    assert failure.message.startswith("checkpoint: must be bytes or a Path, got ")


def _raises(error: BaseException | type[BaseException]) -> Callable[[], Any]:
    def strike() -> Any:
        raise error

    return strike


@pytest.mark.parametrize(
    "error",
    [
        GeneratorExit,
        StopIteration,
        KeyboardInterrupt,
        SystemExit(0),
        UnprintableError,
        RuntimeError(Unprintable()),
        type("Odd", (BaseException,), {}),
        BaseExceptionGroup("several", [KeyboardInterrupt(), UnprintableError()]),
    ],
)
@pytest.mark.parametrize("where", ["epoch", "save", "environment"])
def test_whatever_a_method_raises_is_its_trial_s_outcome(
    monkeypatch: pytest.MonkeyPatch, where: str, error: BaseException | type[BaseException]
) -> None:
    failure = strike(monkeypatch, where, _raises(error))
    assert failure.kind is FailureKind.SCIENTIFIC
    assert failure.epoch == (0 if where == "environment" else 1)


def test_ctrl_c_in_the_user_s_own_process_ends_the_trial_without_an_outcome(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(STRIKES, "epoch", _raises(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        messages(job(epochs=3), StrikingToy())
