"""Commands on a real cluster: a lost worker, a hanging child, a full disk, and another language."""

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from harness import engine
from harness.cli import app
from harness.engine.process_state import ProcessState
from harness.plan import Job, Selection
from harness.record import Failure, FailureKind, Finished, Message, Started
from harness.report.pages import html
from harness.session.session import Session, load_experiments
from harness.source import source
from harness.store import Store
from harness.trial import attempt
from tests.commands import REGISTRY, job_of, write, written
from tests.engine.sinks import StoreSink, epochs, is_epoch
from tests.engine.sinks import load as load_data
from tests.waiting import eventually

pytestmark = pytest.mark.usefixtures("cluster")

STRUCK_ONCE = """
import json, os, subprocess, sys, time
marker, fault = sys.argv[3:5]
first = int(open(sys.argv[6]).read()) if len(sys.argv) > 5 else 0
for epoch in range(first + 1, 4):
    open("state", "w").write(str(epoch))
    print(json.dumps({"epoch": epoch, "loss": epoch / 2}))
    time.sleep(0.3)  # so that the state is copied before it is written again
    if epoch == 2 and not os.path.exists(marker):
        parents = [os.getpid()]
        while len(parents) < 4:
            with open(f"/proc/{parents[-1]}/stat") as file:
                parents.append(int(file.read().rpartition(")")[2].split()[1]))
        other = subprocess.Popen(["sleep", "600"], start_new_session=True)
        pids = {"worker": parents.pop(), "others": [*parents, other.pid]}
        open(marker + ".new", "w").write(json.dumps(pids))
        os.rename(marker + ".new", marker)
        if fault == "full disk":
            open("/dev/full", "w").write("x" * 9999)
        time.sleep(600)
print(json.dumps({"accuracy": 90}))
"""
WORDS = ["python", "train.py", "{seed}", "{epochs}", "{marker}", "{fault}"]
CHECKPOINT = {"file": "state", "resume": ["--resume", "{checkpoint}"]}
ONE_EPOCH = {"value": 1, "stated": "p"}


def struck(folder: Path, fault: str, **fields: Any) -> Path:
    """A script that a fault strikes after its second epoch, the first time."""
    values = {"marker": str(folder / "marker"), "fault": fault}
    parameters = {name: {"value": value, "assumed": "a test"} for name, value in values.items()}
    return write(folder, STRUCK_ONCE, argv=WORDS, parameters=parameters, seeds="0", **fields)


def session_of(folder: Path, *manifests: Path) -> Session:
    return Session(load_experiments(manifests), Selection(), Store(folder / "results"))


def run(folder: Path, *manifests: Path, watch: Any = None, **options: Any) -> StoreSink:
    """Run what is not done, as the command line would once the commands are allowed."""
    session = session_of(folder, *manifests)
    sink = StoreSink(session.store, *([watch] if watch else []))
    chosen = engine.Options(**{"backoff_s": 0.01, "checkpoint_interval_s": 0.0, **options})
    with session.store.lock():
        engine.run(
            session.jobs(), sink, workloads=session.programs, load_data=load_data, options=chosen
        )
    return sink


def curves(sink: StoreSink) -> list[list[tuple[int, Any]]]:
    return [epochs(sink.store.read(trial)) for trial in sink.store.trials()]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def pids_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "marker").read_text())
    return found


CURVE = [(epoch, {"loss": epoch / 2}) for epoch in (1, 2, 3)]


@pytest.mark.parametrize(
    ("fields", "resumed_from"), [({}, {0}), ({"checkpoint": CHECKPOINT}, {1, 2})]
)
def test_a_killed_worker_takes_its_command_along_and_the_trial_is_tried_again(
    tmp_path: Path, fields: dict[str, Any], resumed_from: set[int]
) -> None:
    """With the command's own checkpoint it goes on from the last one that is durable."""

    def kill(job: Job, message: Message) -> None:
        if is_epoch(message, 2) and not killed:
            killed.append(True)
            assert eventually((tmp_path / "marker").exists)
            os.kill(pids_of(tmp_path)["worker"], signal.SIGKILL)

    killed: list[bool] = []
    sink = run(tmp_path, struck(tmp_path, "kill", **fields), watch=kill)
    assert curves(sink) == [CURVE]
    assert [error for _, error, _ in sink.retries] == ["WorkerCrashedError"]
    first, second = [each.resumed_from for _, each in sink.seen if isinstance(each, Started)]
    assert first == 0
    assert second in resumed_from
    assert eventually(lambda: not any(map(alive, pids_of(tmp_path)["others"])))


@pytest.mark.parametrize(
    ("fault", "error"), [("hang", "NoProgress"), ("full disk", "InfrastructureError")]
)
def test_a_command_that_hangs_or_finds_a_full_disk_is_tried_again_and_leaves_nothing(
    tmp_path: Path, fault: str, error: str
) -> None:
    sink = run(tmp_path, struck(tmp_path, fault, resources={"deadline_s": 8}))
    assert curves(sink) == [CURVE]
    # On a machine that is busy enough a sound attempt misses the deadline too.
    assert {each for _, each, _ in sink.retries} == {error}
    assert eventually(lambda: not any(map(alive, pids_of(tmp_path)["others"])))


def test_a_command_that_fails_twice_is_the_method_s_outcome_with_its_last_words(
    tmp_path: Path,
) -> None:
    script = "import sys; print('{\"loss\": 1}'); sys.exit('the loss exploded')"
    sink = run(tmp_path, write(tmp_path, script, seeds="0"))
    (trial,) = map(sink.store.read, sink.store.trials())
    assert trial is not None
    assert isinstance(trial.failure, Failure)
    assert trial.failure.kind is FailureKind.SCIENTIFIC
    assert trial.failure.message.endswith("ended with exit code 1:\nthe loss exploded")
    assert epochs(trial) == [(1, {"loss": 1})]
    assert len(sink.retries) == 1


def test_a_command_leaves_its_worker_as_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "trial"
    folder.mkdir()
    experiment = written(tmp_path)
    state = ProcessState(1)
    messages = attempt(
        job_of(experiment),
        experiment.workload(REGISTRY),
        data={},
        source=source(),
        folder=folder,
    )
    assert isinstance(list(messages)[-1], Finished)
    assert state.restore() == []


NODE = """
import { writeFileSync } from "node:fs";
const [seed, epochs] = process.argv.slice(2).map(Number);
let accuracy = 80;
for (let epoch = 1; epoch <= epochs; epoch++) {
  accuracy += 10 / epoch;
  console.log(`epoch ${epoch}: accuracy ${accuracy.toFixed(2)}%`);
}
writeFileSync("result.json", JSON.stringify({ test: accuracy - seed / 10 }));
"""


def test_commands_in_several_languages_run_side_by_side(tmp_path: Path) -> None:
    if shutil.which("node") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("no node.js; on Debian: apt-get install nodejs")
        pytest.skip("no node.js")
    (tmp_path / "train.mjs").write_text(NODE)
    node = write(
        tmp_path,
        name="node",
        argv=["node", "train.mjs", "{seed}", "{epochs}"],
        rows=r"^epoch (?P<epoch>\d+): accuracy (?P<accuracy>\S+)%",
        final={"file": "result.json"},
        metrics={"test": {"final": True}},
        claims=[claim("accuracy", {1: 90}), claim("test", 98.2)],
        seeds="0-1",
    )
    shell = write(
        tmp_path,
        name="shell",
        argv=["sh", "-c", 'echo "loss $1"', "sh", "{seed}"],
        rows=r"^loss (?P<loss>\S+)",
        claims=[claim("loss", {1: 50})],
        epochs=ONE_EPOCH,
        seeds="0-1",
    )
    sink = run(tmp_path, node, shell)
    assert not sink.retries
    found = {
        (
            trial.spec.program.partition("~")[0],
            trial.spec.seed,
            tuple(trial.epochs[-1].metrics.items()),
        )
        for trial in map(sink.store.read, sink.store.trials())
        if trial is not None and trial.done
    }
    accuracy = (("accuracy", 98.33),)
    assert found == {
        ("command", 0, accuracy),
        ("command", 1, accuracy),
        ("command", 0, (("loss", 0.0),)),
        ("command", 1, (("loss", 1.0),)),
    }

    verdicts = {each.id: each.verdict for each in session_of(tmp_path, node, shell).verdicts()}
    assert verdicts == {"node": "REPRODUCED", "shell": "NOT REPRODUCED"}


FUNCTION_THAT_WORKS = """
import harness

@harness.workload(metrics={"loss": "%"}, final={"accuracy": "%"})
def train(seed: int, epochs: int, rate: float = 0.0):
    for epoch in range(epochs):
        print("epoch", epoch, "of seed", seed)
        yield {"loss": rate}
    return {"accuracy": 90}
"""
FUNCTION_THAT_FAILS = FUNCTION_THAT_WORKS.replace(
    "return", "raise ValueError('it diverged')\n    #"
)


def test_functions_run_to_a_verdict_and_show_what_they_print_and_raise(tmp_path: Path) -> None:
    rate = {"rate": {"value": 1.0, "stated": "p"}}
    works = write(
        tmp_path,
        FUNCTION_THAT_WORKS,
        name="works",
        workload={"name": "function", "file": "works.py", "parameters": rate},
        seeds="0-1",
    )
    fails = write(
        tmp_path,
        FUNCTION_THAT_FAILS,
        name="fails",
        workload={"name": "function", "file": "fails.py"},
        seeds="0",
    )
    sink = run(tmp_path, works, fails)
    whole = [(epoch, {"loss": 1.0}) for epoch in (1, 2, 3)]
    none = [(epoch, {"loss": 0.0}) for epoch in (1, 2, 3)]
    assert sorted(curves(sink), key=str) == [none, whole, whole]
    verdicts = {each.id: each for each in session_of(tmp_path, works, fails).verdicts()}
    assert {name: each.verdict for name, each in verdicts.items()} == {
        "works": "REPRODUCED",
        "fails": "NOT REPRODUCED",
    }
    page = html(list(verdicts.values()))
    assert "fails.py&#34;, line 9, in train" in page
    assert "ValueError: it diverged" in verdicts["fails"].stderr[0]
    words = ["logs", str(works), "--seed", "1", "--workspace", str(tmp_path / "results")]
    lines = CliRunner().invoke(app, words).output.splitlines()
    assert lines == [f"epoch {epoch} of seed 1" for epoch in range(3)]


def claim(metric: str, reported: Any) -> dict[str, Any]:
    tolerance = {"value": 1, "reason": "so"}
    fields = {"kind": "value", "source": "p", "reported": reported, "tolerance": tolerance}
    return {"name": metric, "metric": metric, **fields}
