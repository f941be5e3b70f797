"""A generator function as a workload: its text is the declaration, and a trial is a command."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import ManifestError
from harness.function import _argument
from harness.manifest import Experiment, load
from harness.plan import Selection
from harness.record import FailureKind
from harness.report.pages import html
from harness.session.session import Session
from harness.source import source
from harness.store import Store
from harness.trial import attempt
from harness.workload import remarks_of
from harness.workloads.command import Command
from harness.workloads.command.section import fill
from tests.commands import EVERY_EPOCH, FUNCTION, REGISTRY, job_of, write, written
from tests.waiting import HANG_S
from tests.workloads.test_command import failure, final, outcome, rows

HEAD = "from harness import workload\n"
MARK = '@workload(metrics={"loss": "%"}, final={"accuracy": "%"})\n'
SIGNATURE = (
    "def train(seed: int, epochs: int, rate: float = 0.5, *,"
    " steps: int = 2, mode: str = 'a', fast: bool = False):\n"
)
BODY = """
    print('{"loss": 99, "accuracy": 99}')
    for epoch in range(epochs):
        yield {"loss": rate + steps * fast}
    return {"accuracy": 90 + seed}
"""
SOUND = HEAD + MARK + SIGNATURE + BODY


def function(folder: Path, script: str, *, file: str = "train.py", **fields: Any) -> Experiment:
    return written(folder, script, workload={**FUNCTION, "file": file}, **fields)


def parameters(**values: Any) -> dict[str, Any]:
    return {name: {"value": value, "stated": "p"} for name, value in values.items()}


def test_what_a_function_yields_and_returns_is_recorded_and_not_what_it_prints(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    found = outcome(function(tmp_path, SOUND), tmp_path / "trial", seed=1)
    assert rows(found) == {epoch: {"loss": 0.5} for epoch in (1, 2, 3)}
    assert final(found) == {"accuracy": 91}
    assert capfd.readouterr().out == '{"loss": 99, "accuracy": 99}\n'


def test_the_manifest_s_parameters_replace_the_defaults(tmp_path: Path) -> None:
    experiment = function(tmp_path, SOUND, parameters=parameters(rate=2, fast=True))
    assert rows(outcome(experiment, tmp_path / "trial"))[1] == {"loss": 4.0}
    others = [function(tmp_path, SOUND), function(tmp_path, SOUND + "\n"), experiment]
    assert len({job_of(each).spec.id for each in others}) == 3


DEFAULTS = {"rate": 0.5, "steps": 2, "mode": "a", "fast": False}
GIVEN = st.fixed_dictionaries(
    {},
    optional={
        "rate": st.floats(allow_nan=False, allow_infinity=False),
        "steps": st.integers(-(10**15), 10**15),
        "mode": st.text(st.characters(categories=("L", "N", "P", "S")), min_size=1),
        "fast": st.booleans(),
    },
)


@given(values=GIVEN)
def test_a_function_is_called_with_the_manifest_s_values_and_else_with_its_defaults(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, Any]
) -> None:
    folder = tmp_path_factory.getbasetemp() / "values"
    folder.mkdir(exist_ok=True)
    experiment = function(folder, SOUND, parameters=parameters(**values))
    workload = experiment.workload(REGISTRY)
    assert isinstance(workload, Command)
    assert workload.program is not None
    handed = {"seed": 3, "epochs": 4}
    words = fill(workload.program.argv[6:], experiment.parameters.model_dump() | handed)
    assert dict(map(_argument, words)) == DEFAULTS | values | handed


WAYS = {
    "in a folder, with another module, and under other names": (
        "src/train.py",
        "from __future__ import annotations\nimport harness as h\nfrom other import half\n"
        '@h.workload(metrics={"loss": "%"})\ndef train(epochs, x: "float"=1e-1):\n'
        "    from os import chdir; chdir('/')\n"
        "    for epoch in range(epochs): yield {'loss': half(x)}\n",
    ),
    "epochs that it names, and numbers of a library": (
        "train.py",
        HEAD + MARK.replace(', final={"accuracy": "%"}', "") + "def train():\n"
        "    from fractions import Fraction\n    yield {'epoch': 2, 'loss': Fraction(1, 2)}\n"
        "    yield {'loss': 1.5}\n",
    ),
}
ROWS = [{1: 0.05, 2: 0.05, 3: 0.05}, {2: 0.5, 3: 1.5}]


@pytest.mark.parametrize(("way", "losses"), [*zip(WAYS, ROWS, strict=True)])
def test_a_function_may_be_written_in_many_ways(
    tmp_path: Path, way: str, losses: dict[int, float]
) -> None:
    file, text = WAYS[way]
    (tmp_path / "src").mkdir()
    (tmp_path / "src/other.py").write_text("def half(x): return x / 2")
    chosen = {"name": "function", "file": file}
    experiment = written(tmp_path, text, workload=chosen, claims=[EVERY_EPOCH], code=["src"])
    found = outcome(experiment, tmp_path / "trial")
    assert rows(found) == {epoch: {"loss": loss} for epoch, loss in losses.items()}
    assert final(found) == {}
    (remark,) = remarks_of(experiment.workload(REGISTRY))
    assert remark.startswith("the function takes no seed")


def test_one_of_several_functions_is_named(tmp_path: Path) -> None:
    other = MARK + SIGNATURE.replace("train", "other") + "    yield {'loss': 7}\n"
    experiment = function(tmp_path, SOUND + other, function="other")
    assert rows(outcome(experiment, tmp_path / "trial"))[1] == {"loss": 7}
    assert "required: say which of train, other" in faults(tmp_path, SOUND + other)
    wrong = faults(tmp_path, SOUND + other, function="othr")
    assert "workload.function: no marked function has this name; did you mean other?" in wrong


def faults(folder: Path, text: str, **fields: Any) -> str:
    with pytest.raises(ManifestError) as caught:
        function(folder, text, **fields)
    return str(caught.value)


FAULTS = [
    (SIGNATURE, SIGNATURE.replace(": float", ""), "3: rate: must be annotated as int, float"),
    (": float", ": float | None", "rate: must be annotated as int, float, bool or str; got float"),
    ("= 0.5", "= RATE", "3: rate: its default must be written out as float, got RATE"),
    ("= 0.5", "= 1e999", "rate: its default must be written out as float"),
    ("= 0.5", f"= 1{'0' * 400}", "rate: its default must be written out as float"),
    ("= False", "= 0", "fast: its default must be written out as bool, got 0"),
    ("seed: int", "seed: str", "seed: the trial hands over int, got str"),
    ("*, steps", "*copy, steps", "copy: must be a plain argument"),
    ("mode:", "_mode:", "_mode: cannot be the name of a parameter"),
    ("def train", "async def train", "train: must be a generator"),
    (BODY, "    def inner(): yield\n    return {}\n", "3: train: must be a generator"),
    ('{"loss": "%"}', "METRICS", '2: metrics: must be written out as {"name": "unit"}'),
    ('{"loss": "%"}', '{"loss": 3}', "metrics: must be written out"),
    ('{"accuracy": "%"}', '{"loss": "%"}', "final: 'loss' is taken"),
    ('{"accuracy": "%"}', '{"epoch": "%"}', "final: 'epoch' is taken"),
    ('{"accuracy": "%"}', '{"seconds": "s"}', "final: the harness measures seconds itself"),
    ('metrics={"loss": "%"}', '{"loss": "%"}', "2: harness.workload: must be called by names"),
    ("final=", "finale=", "finale: unknown argument"),
    (MARK, "@workload\n", "harness.workload: must be called by names"),
    (MARK, "@workload(metrics={})\n", "harness.workload: must name a metric"),
    (HEAD, "from elsewhere import workload\n", "train.py: no function is marked with"),
    ("yield", "yeld yield", "train.py:7: invalid syntax"),
]


@pytest.mark.parametrize(("before", "after", "said"), FAULTS)
def test_a_fault_of_the_text_is_named_with_its_file_and_line(
    tmp_path: Path, before: str, after: str, said: str
) -> None:
    assert before in SOUND
    found = faults(tmp_path, SOUND.replace(before, after, 1))
    assert said in found
    assert found.startswith(str(tmp_path / "train.py"))


def test_faults_of_the_text_are_named_all_at_once(tmp_path: Path) -> None:
    text = (
        SOUND.replace(": float", "").replace("seed: int", "seed: str").replace(MARK, "@workload\n")
    )
    assert len(faults(tmp_path, text).splitlines()) == 3


SECTION_FAULTS: list[tuple[dict[str, Any], str]] = [
    ({"file": "train.sh"}, "workload.file: must match"),
    ({"file": "nowhere.py"}, "workload.file: no such file or folder"),
    ({"file": "../train.py"}, "workload.file: must be below"),
    ({"code": ["nowhere"]}, "workload.code[0]: no such file or folder"),
    ({"parameters": parameters(rte=1)}, "workload.parameters.rte: unknown parameter; did you mean"),
    ({"parameters": parameters(rate="x")}, "workload.parameters.rate.value: must be a number"),
    ({"parameters": parameters(seed=1)}, "workload.parameters.seed: unknown parameter"),
    ({"argv": ["x"]}, "workload.argv: unknown field"),
]


@pytest.mark.parametrize(("fields", "said"), SECTION_FAULTS)
def test_a_fault_of_the_section_is_named_with_its_line(
    tmp_path: Path, fields: dict[str, Any], said: str
) -> None:
    path = write(tmp_path, SOUND, workload=FUNCTION)
    manifest = yaml.safe_load(path.read_text())
    manifest["workload"] |= fields
    path.write_text(yaml.safe_dump(manifest))
    with pytest.raises(ManifestError) as caught:
        load([path], REGISTRY)
    assert said in str(caught.value)


HIDING = [
    ("harness.py", "workload.file: hides the module harness"),
    ("json.py", "workload.file: hides the module json"),
    ("numpy.py", "workload.file: hides the module numpy"),
    ("train.py", "workload.code: harness.py hides the package harness"),
]


@pytest.mark.parametrize(("file", "said"), HIDING)
def test_code_that_hides_a_module_is_refused(tmp_path: Path, file: str, said: str) -> None:
    (tmp_path / "harness.py").touch()
    fields = {"code": ["harness.py"]} if file == "train.py" else {}
    with pytest.raises(ManifestError) as caught:
        function(tmp_path, "import numpy as np\n" + SOUND, file=file, **fields)
    found = str(caught.value)
    assert said in found
    assert re.match(r".*script\.yaml:\d+: ", found)


def test_modules_of_the_code_hide_nothing_that_a_trial_has_imported(tmp_path: Path) -> None:
    for name in ("json", "pathlib", "helper"):
        (tmp_path / f"{name}.py").write_text("VALUE = 0.25\n")
    text = "import helper\n" + SOUND.replace("steps * fast", "steps * fast + helper.VALUE")
    code = ["json.py", "pathlib.py", "helper.py"]
    found = outcome(function(tmp_path, text, code=code), tmp_path / "trial")
    assert rows(found)[1] == {"loss": 0.75}


def test_a_parameter_without_default_must_be_given(tmp_path: Path) -> None:
    text = SOUND.replace(" = 0.5", "")
    assert "workload.parameters: required" in faults(tmp_path, text)
    found = faults(tmp_path, text, parameters=parameters(steps=1))
    assert "workload.parameters.rate: required" in found


def test_a_final_metric_that_is_not_returned_is_missing_and_is_no_failure(tmp_path: Path) -> None:
    text = HEAD + MARK + "def train(seed):\n    yield {'loss': 1}\n"
    found = outcome(function(tmp_path, text), tmp_path / "trial")
    assert (rows(found), final(found)) == ({1: {"loss": 1}}, {})


FAILURES = {
    "an exception": ("raise ValueError('the loss exploded')", "ValueError: the loss exploded"),
    "no dict": ("yield 3", "TypeError: train must yield a dict of metrics, got 3"),
    "text": ("yield {'loss': 'low'}", "loss: must be a number, got 'low'"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_function_that_fails_is_the_method_s_failure(tmp_path: Path, name: str) -> None:
    line, said = FAILURES[name]
    text = HEAD + MARK + "def train(seed):\n    print(end='')\n    " + line + "\n    yield\n"
    found = failure(function(tmp_path, text), tmp_path / "trial")
    assert (found.kind, said in found.message) == (FailureKind.SCIENTIFIC, True), found
    if name == "an exception":
        assert 'train.py", line 5, in train\n    raise ValueError' in found.message


ORDERS = """
import sys

def works(workload):
    assert workload(metrics={"loss": "nats"})(len) is len

import harness
works(harness.workload)
assert "numpy" not in sys.modules
import harness.workload
works(harness.workload)
harness.workload.Metric
import harness.workload as module
assert module is sys.modules["harness.workload"]
for name in [name for name in sys.modules if name.partition(".")[0] == "harness"]:
    del sys.modules[name]
from harness.workload import Metric
from harness import workload
works(workload)
import harness
works(harness.workload)
harness.workload.Metric
"""


def test_the_decorator_and_the_module_of_its_name_are_both_there_in_any_order() -> None:
    subprocess.run([sys.executable, "-c", ORDERS], check=True, timeout=HANG_S)


def test_reading_a_function_executes_nothing(tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    experiment = function(tmp_path, f"open({str(marker)!r}, 'w')\n" + SOUND)
    job_of(experiment)
    assert not marker.exists()


def test_records_of_functions_are_judged_and_a_failure_shows_its_traceback(tmp_path: Path) -> None:
    sound = SOUND.replace("90 + seed", "90").replace("= 0.5", "= 1.0")
    fails = SOUND.replace("return", "raise ValueError('it diverged') #")
    experiments = (
        written(tmp_path, sound, name="works", workload=FUNCTION | {"file": "a.py"}, seeds="0-1"),
        written(tmp_path, fails, name="fails", workload=FUNCTION | {"file": "b.py"}, seeds="0"),
    )
    session = Session(experiments, Selection(), Store(tmp_path / "results"), registry=REGISTRY)
    with session.store.lock():
        for job in session.jobs():
            workload = session.programs[job.spec.program]
            messages = attempt(job, workload, data={}, source=source())
            session.store.append([(job.spec, message) for message in messages])
    verdicts = {each.id: each for each in session.verdicts()}
    assert {name: each.verdict for name, each in verdicts.items()} == {
        "works": "REPRODUCED",
        "fails": "NOT REPRODUCED",
    }
    page = html(list(verdicts.values()))
    assert "in train" in page
    assert "ValueError: it diverged" in page
