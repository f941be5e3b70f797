"""A trial on a warm worker equals the same trial in a fresh process, whatever ran before it."""

import copyreg
import faulthandler
import functools
import json
import math
import multiprocessing
import os
import pickle
import random
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np
import pytest
import torch

from harness import engine
from harness.engine.process_state import ProcessState, watch_imports
from harness.manifest import Resources
from harness.plan import Job
from harness.record import (
    Checkpoint,
    EpochRecord,
    Failure,
    FinalRecord,
    Finished,
    Message,
    Started,
    TrialSpec,
)
from tests.faults.wild import EPOCHS, FAULTS, WILD, WildParameters, look

PUT_BACK = (
    *("directory-changed", "directory-removed", "variables-cleared", "variables-deleted"),
    *("time-zone", "umask", "signals-ignored", "few-files", "one-core", "import-paths"),
    *("streams-replaced", "deep-recursion", "no-collection", "hook", "warnings-as-errors"),
    *("numbers-of-a-locale", "numpy-errors", "torch-dtype", "torch-device", "torch-threads"),
    "torch-flags",
)
"""Faults after which the same process may run another trial."""

NOTICED = {
    "clock-replaced": "replaced functions",
    "generator-replaced": "replaced functions",
    "method-replaced": "replaced functions",
    "json-replaced": "replaced functions",
    "torch-function-replaced": "replaced functions",
    "module-replaced": "modules",
    "thread-left": "threads",
    "bare-thread-left": "threads",
    "child-left": "child processes",
    "file-left-open": "open files",
    "torch-denormals": "floating-point mode",
}
"""Faults after which it may not, and what says so."""


def _strike(fault: str) -> tuple[list[str], dict[str, Any], dict[str, Any]]:
    """What cannot be put back after a fault in this process, and what it looks like around it."""
    what = "torch" if fault.startswith("torch") else "process"
    watch_imports()
    before = look(what)
    state = ProcessState(0)
    FAULTS[fault].strike(None)  # type: ignore[arg-type] - none of these looks at the run
    left = state.restore()
    return left, before, look(what)


@pytest.mark.parametrize("fault", PUT_BACK)
def test_what_a_trial_changes_is_put_back(fault: str) -> None:
    left, before, after = _strike(fault)
    assert left == []
    assert after == before


@pytest.mark.parametrize("fault", NOTICED)
def test_what_cannot_be_put_back_is_noticed(fault: str) -> None:
    gauss = random.Random.gauss
    assert NOTICED[fault] in _strike(fault)[0]
    assert random.Random.gauss is gauss
    if fault == "torch-denormals":
        sys.modules["torch"].set_flush_denormal(False)


def test_a_process_that_nothing_has_changed_is_clean() -> None:
    for _ in range(3):
        assert ProcessState(0).restore() == []


def test_a_module_whose_import_changes_the_process_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would change it for the first trial only: a module is imported once."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "quiet_module.py").write_text("import warnings\nwarnings.simplefilter('ignore')\n")
    (tmp_path / "loud_inner.py").write_text("import os\nos.environ['LOUD'] = '1'\n")
    (tmp_path / "loud_module.py").write_text("import loud_inner\n")
    watch_imports()
    state = ProcessState(0)
    import quiet_module  # type: ignore[import-not-found] # noqa: F401, PLC0415

    assert state.restore() == []
    state = ProcessState(0)
    import loud_module  # type: ignore[import-not-found] # noqa: F401, PLC0415

    assert state.restore() == ["environment variables, by an import"]
    assert "LOUD" not in os.environ


def test_a_function_of_a_module_that_the_trial_has_imported_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "statistics", raising=False)
    watch_imports()
    state = ProcessState(0)
    import statistics  # noqa: PLC0415 - the trial imports it

    mean = statistics.mean
    statistics.mean = lambda _: 99.0  # type: ignore[assignment]
    assert state.restore() == ["replaced functions"]
    assert statistics.mean is mean


class Equal:
    """Wraps a function and compares equal to it, as the wrappers of tracing libraries do."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function

    def __eq__(self, other: object) -> bool:
        return self._function == other

    __hash__ = None  # type: ignore[assignment]

    def __call__(self, *_: object) -> str:
        return "patched"


def test_a_wrapper_that_equals_what_it_wraps_is_noticed() -> None:
    before, state = json.dumps, ProcessState(0)
    json.dumps = Equal(before)  # type: ignore[assignment]
    assert state.restore() == ["replaced functions"]
    assert json.dumps is before


@pytest.mark.parametrize("owner", [json, json.JSONDecoder], ids=["module", "class"])
@pytest.mark.parametrize("place", [0, -1], ids=["first", "last"])
def test_a_function_that_got_another_name_is_noticed(owner: Any, place: int) -> None:
    """The values are the same then, and those of the last one are in the same order."""
    names = [name for name, value in vars(owner).items() if isinstance(value, FunctionType)]
    if place == -1:  # make it the last variable of all
        value = getattr(owner, names[-1])
        delattr(owner, names[-1])
        setattr(owner, names[-1], value)
    name = names[place]
    state = ProcessState(0)
    before = getattr(owner, name)
    delattr(owner, name)
    owner.renamed = before
    assert state.restore() == ["replaced functions"]
    assert getattr(owner, name) is before
    del owner.renamed


OPTIMIZER = sys.modules["torch.optim.optimizer"]

REPLACED: dict[str, Callable[[], Any]] = {
    "a method that hides an inherited one": lambda: setattr(torch.nn.Linear, "__call__", len),
    "a method that hides one written in C": lambda: setattr(torch.Tensor, "sum", len),
    "a method of a base": lambda: setattr(torch.nn.modules.conv._ConvNd, "reset_parameters", len),
    "a function that hides a builtin": lambda: setattr(random, "len", lambda _: 0),
    "a constant": lambda: setattr(math, "pi", 3.0),
    "a function of numpy's own": lambda: setattr(np._core._methods, "_mean", len),  # type: ignore[attr-defined]
    "an optimizer's function": lambda: setattr(sys.modules["torch.optim.sgd"], "sgd", len),
}
"""What the next trial may not see, so it gets another process. All of it is put back even so."""


@pytest.mark.parametrize("what", REPLACED)
def test_whatever_is_replaced_or_hidden_is_noticed_and_put_back(what: str) -> None:
    before = _computed()
    state = ProcessState(0)
    REPLACED[what]()
    assert state.restore() == ["replaced functions"]
    assert _computed() == before
    assert ProcessState(0).restore() == []


def _computed() -> list[float]:
    """Numbers that each of these changes would change, or keep from being computed."""
    torch.manual_seed(0)
    layer = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    layer(torch.ones(2)).sum().backward()
    optimizer.step()
    found = [value.sum().item() for value in layer.parameters()]
    found += [torch.nn.functional.dropout(torch.ones(9)).sum().item()]
    found += [torch.nn.Conv1d(1, 1, 1).weight.item(), math.pi, float(np.mean(np.arange(3.0)))]
    return [*found, random.Random(0).sample(range(9), 1)[0], random.Random(0).gauss()]


SET: dict[str, Callable[[], Any]] = {
    "a function's code": lambda: setattr(
        torch.nn.functional.dropout, "__code__", torch.nn.functional.alpha_dropout.__code__
    ),
    "a function's defaults": lambda: setattr(
        torch.nn.functional.dropout, "__defaults__", (0.0, True, False)
    ),
    "a method's defaults": lambda: setattr(random.Random.gauss, "__defaults__", (9.0, 1.0)),
    "checks of distributions": lambda: torch.distributions.Distribution.set_default_validate_args(
        value=False
    ),
    "how parameters are swapped": lambda: torch.__future__.set_swap_module_params_on_conversion(
        value=True
    ),
    "how processes start": lambda: multiprocessing.set_start_method("spawn", force=True),
    "what pickles": lambda: copyreg.pickle(complex, lambda _: (complex, ())),
    "stacks": lambda: threading.stack_size(1 << 20),
}
"""Settings that are put back, so that the process stays as it was."""


def _settings() -> list[Any]:
    return [
        torch.distributions.Distribution._validate_args,
        torch.__future__.get_swap_module_params_on_conversion(),
        multiprocessing.get_start_method(allow_none=True),
        pickle.dumps(1j, 2),
        threading.stack_size(),
    ]


@pytest.mark.parametrize("what", SET)
def test_whatever_is_set_is_put_back(what: str) -> None:
    watch_imports()
    before = _settings(), _computed()
    state = ProcessState(0)
    SET[what]()
    assert (_settings(), _computed()) != before
    assert state.restore() == []
    assert (_settings(), _computed()) == before


HOOKS: dict[str, tuple[Callable[[], Any], Callable[[Any], object], str]] = {
    "optimizers": (
        lambda: OPTIMIZER.register_optimizer_step_pre_hook(lambda *_: None),
        lambda hook: hook.remove(),
        "torch's global hooks",
    ),
    "saved tensors": (
        lambda: torch.autograd.graph.saved_tensors_hooks(lambda x: x, lambda x: x).__enter__(),
        lambda _: torch._C._autograd._pop_saved_tensors_default_hooks(),
        "torch's hooks of saved tensors",
    ),
}


@pytest.mark.parametrize("what", HOOKS)
def test_a_hook_that_torch_calls_in_every_trial_is_noticed(what: str) -> None:
    register, remove, part = HOOKS[what]
    state = ProcessState(0)
    hook = register()
    try:
        assert state.restore() == [part]
    finally:
        remove(hook)


@pytest.mark.parametrize("kind", ["Adam", "AdamW", "NAdam", "RAdam", "RMSprop", "SGD", "Adagrad"])
def test_an_optimizer_that_is_made_for_the_first_time_leaves_nothing(kind: str) -> None:
    """Torch wraps its `step`, which some kinds inherit."""
    state = ProcessState(0)
    getattr(torch.optim, kind)([torch.nn.Parameter(torch.ones(2))], lr=0.1)
    assert state.restore() == []


def test_the_global_generator_is_seeded_also_if_a_trial_has_hidden_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn = []
    for _ in range(2):
        state = ProcessState(1)
        drawn.append(torch.rand(3).tolist())
        monkeypatch.setattr(torch, "default_generator", torch.Generator())
        state.restore()
    assert drawn[0] == drawn[1]


def test_a_state_that_is_taken_over_notices_as_much_as_one_that_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also what is replaced in a module that was imported between two trials."""
    monkeypatch.delitem(sys.modules, "statistics", raising=False)
    last = ProcessState(0)
    assert last.restore() == []
    import statistics  # noqa: PLC0415 - the harness or Ray imports it

    for module, name in ((statistics, "mean"), (json, "dumps"), (statistics, "mean")):
        state = ProcessState(0, last)
        before = getattr(module, name)
        setattr(module, name, lambda _: 99.0)
        assert state.restore() == ["replaced functions"]
        assert getattr(module, name) is before
        last = ProcessState(0)
        assert last.restore() == []
    state = ProcessState(0, last)
    monkeypatch.setitem(sys.modules, "statistics", json)
    assert state.restore() == ["modules"]
    assert sys.modules["statistics"] is statistics


def test_a_step_that_torch_wraps_is_nothing_that_a_trial_leaves() -> None:
    """Torch does so when it makes the first optimizer of a class, whatever trial needs it."""
    Rprop = torch.optim.Rprop  # noqa: N806 - a class that nothing else here uses
    step = Rprop.step
    watch_imports()
    state = ProcessState(0)
    Rprop([torch.nn.Parameter(torch.zeros(1))]).step()
    wrapped = Rprop.step
    assert wrapped is not step
    assert state.restore() == []
    state = ProcessState(0)
    Rprop.step = functools.wraps(wrapped)(lambda *_: None)  # type: ignore[method-assign]
    assert state.restore() == ["replaced functions"]
    assert Rprop.step is wrapped


def test_a_thread_of_the_trial_that_has_ended_is_none_that_is_left() -> None:
    state = ProcessState(0)
    thread = threading.Thread(target=time.sleep, args=[0.01])
    thread.start()
    thread.join()
    assert state.restore() == []


def test_a_watchdog_of_the_trial_does_not_end_the_next_trial(tmp_path: Path) -> None:
    with (tmp_path / "dump").open("w+") as dump:
        state = ProcessState(0)
        faulthandler.dump_traceback_later(0.1, file=dump)
        assert state.restore() == []
        time.sleep(0.3)
        assert dump.read() == ""


@dataclass
class Kept:
    """A sink that keeps what each job sends, by its experiment."""

    sent: dict[str, list[Message]] = field(default_factory=lambda: defaultdict(list))

    def resume_point(self, job: Job) -> Checkpoint | None:
        return None

    def receive(self, batch: Sequence[tuple[Job, Message]]) -> None:
        for job, message in batch:
            self.sent[job.experiment].append(message)

    def retrying(self, job: Job, failure: Failure, *, attempt: int, wait_s: float) -> None:
        self.sent[job.experiment].clear()

    def results(self, experiment: str) -> list[Any]:
        """What must not depend on the process: the environment, and all metrics."""
        found: list[Any] = []
        for message in self.sent[experiment]:
            match message:
                case Started():
                    environment = replace(message.provenance.environment, hardware={})
                    found.append((message.resumed_from, environment))
                case EpochRecord() | FinalRecord():
                    found.append((message.epoch, dict(message.metrics)))
        return found

    def process(self, experiment: str) -> str:
        """The id of the process that ran the job."""
        (started,) = (each for each in self.sent[experiment] if isinstance(each, Started))
        return started.provenance.environment.hardware["pid"]


def _job(experiment: str, *, epochs: int = EPOCHS, **parameters: Any) -> Job:
    full = WildParameters(**parameters).model_dump(mode="json")
    return Job(TrialSpec("wild", 1, full, 0, {}), experiment, epochs, Resources())


def _run(jobs: list[Job], *, isolate: bool = False) -> Kept:
    kept = Kept()
    options = engine.Options(retries=1, backoff_s=0.01, checkpoint_interval_s=0.0, isolate=isolate)
    engine.run(jobs, kept, workloads={"wild": WILD}, load_data=_none, options=options)
    return kept


def _none(workload: Any, name: str) -> Any:
    raise NotImplementedError


def _innocent(experiment: str, what: str) -> Job:
    """The same trial every time, whatever its experiment is called here."""
    return _job(experiment, look=what)


def _after(faults: Sequence[str], what: str) -> list[Job]:
    """Each fault, and an innocent trial behind it: the one worker runs them in turn."""
    pairs = ((_job(fault, fault=fault), _innocent(f"after {fault}", what)) for fault in faults)
    return [job for pair in pairs for job in pair]


@pytest.fixture(scope="module")
def one_worker() -> Iterator[None]:
    with engine.cluster(cpus=1):
        yield


def _hold(faults: Sequence[str], what: str) -> Kept:
    """Hold every innocent trial against the same one in a process of its own."""
    fresh = _run([_innocent("alone", what)], isolate=True).results("alone")
    assert len(fresh) == EPOCHS + 2
    kept = _run(_after(faults, what))
    for fault in faults:
        assert kept.results(f"after {fault}") == fresh, fault
    return kept


@pytest.mark.usefixtures("one_worker")
def test_an_innocent_trial_after_a_fault_equals_one_in_a_fresh_process() -> None:
    kept = _hold(
        [
            *("directory-removed", "variables-cleared", "umask", "few-files", "few-digits"),
            *("numpy-errors", "global-generators", "torch-dtype", "thread-left", "raises"),
            *("streams-closed", "clock-replaced"),
        ],
        "process",
    )
    # Where all was put back the next trial is warm; where something was left, none came after it.
    assert kept.process("umask") == kept.process("after umask")
    for broken in ("thread-left", "raises", "streams-closed", "clock-replaced"):
        process = kept.process(broken)
        later = [name for name in kept.sent if kept.process(name) == process]
        assert later[-1] == broken


_PARTS = 4
"""The faults are spread over so many tests, which run side by side: most of them cost a worker."""


@pytest.mark.chaos
@pytest.mark.usefixtures("one_worker")
@pytest.mark.parametrize("what", ["process", "torch"])
@pytest.mark.parametrize("part", range(_PARTS))
def test_an_innocent_trial_after_any_fault_equals_one_in_a_fresh_process(
    what: str, part: int
) -> None:
    wild = (name for name, each in FAULTS.items() if each.workload == "wild" and not each.hangs)
    faults = [name for name in wild if what == "process" or name.startswith("torch")]
    assert len(faults) >= _PARTS
    _hold(faults[part::_PARTS], what)


@pytest.mark.usefixtures("one_worker")
def test_a_worker_that_is_retired_loses_nothing_that_it_sent() -> None:
    """Each time with as many messages on their way as a worker may be ahead of the driver."""
    jobs = [_job(f"{n}", fault="thread-left", epochs=60) for n in range(12)]
    kept = _run(jobs)
    assert len({kept.process(job.experiment) for job in jobs}) == len(jobs)
    for job in jobs:
        sent = kept.sent[job.experiment]
        assert [m.epoch for m in sent if isinstance(m, EpochRecord)] == list(range(1, 61))
        assert isinstance(sent[-1], Finished)
