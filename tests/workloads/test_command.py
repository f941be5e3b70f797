"""A command as a workload: what it prints is recorded, and what it starts ends with its trial."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from harness.cli import app
from harness.errors import Exit, ManifestError
from harness.manifest import Experiment, load
from harness.record import (
    Checkpoint,
    EpochRecord,
    Failure,
    FailureKind,
    FinalRecord,
    Finished,
    Message,
    Started,
    TrialSpec,
)
from harness.source import cpu_name, source
from harness.store import Store
from harness.trial import attempt
from harness.variables import Variables, trial_environment
from harness.verdict import Case, Outcome, exit_code, judge
from harness.workload import execution_of, remarks_of
from tests.commands import AT_THE_END, EVERY_EPOCH, REGISTRY, SOUND, job_of, written
from tests.commands import write as write_manifest
from tests.waiting import eventually

Write = Callable[..., Experiment]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    return partial(written, tmp_path)


def messages(
    experiment: Experiment,
    folder: Path,
    seed: int = 0,
    *,
    epochs: int | None = None,
    **options: Any,
) -> Iterator[Message]:
    folder.mkdir(exist_ok=True)
    return attempt(
        job_of(experiment, seed, epochs=epochs),
        experiment.workload(REGISTRY),
        data={},
        source=source(),
        folder=folder,
        **options,
    )


def outcome(experiment: Experiment, folder: Path, seed: int = 0, **options: Any) -> list[Message]:
    return list(messages(experiment, folder, seed, **options))


def rows(found: list[Message]) -> dict[int, dict[str, float]]:
    return {each.epoch: dict(each.metrics) for each in found if isinstance(each, EpochRecord)}


def final(found: list[Message]) -> dict[str, float]:
    assert isinstance(found[-1], Finished), found[-1]
    (record,) = (each for each in found if isinstance(each, FinalRecord))
    return dict(record.metrics)


def failure(experiment: Experiment, folder: Path) -> Failure:
    last = outcome(experiment, folder)[-1]
    assert isinstance(last, Failure)
    return last


def test_json_lines_and_the_claims_metrics_are_the_default(write: Write, tmp_path: Path) -> None:
    experiment = write()
    found = outcome(experiment, tmp_path / "trial", seed=3)
    assert rows(found) == {1: {"loss": 4.0}, 2: {"loss": 3.5}, 3: {"loss": 3 + 1 / 3}}
    assert final(found) == {"accuracy": 93}
    metrics = experiment.workload(REGISTRY).metrics
    assert {name: (each.unit, each.final) for name, each in metrics.items()} == {
        "loss": ("%", False),
        "accuracy": ("%", True),
    }


def test_rows_are_recorded_as_they_are_printed(write: Write, tmp_path: Path) -> None:
    script = """
import json, pathlib, time
print(json.dumps({"loss": 1}))
while not pathlib.Path("go").exists():
    time.sleep(0.01)
print(json.dumps({"loss": 2, "accuracy": 3}))
"""
    experiment = write(
        script, epochs={"value": 2, "stated": "p"}, seeded=False, argv=["python", "train.py"]
    )
    stream = messages(experiment, tmp_path / "trial")
    assert isinstance(next(stream), Started)
    first = next(stream)
    assert isinstance(first, EpochRecord)
    assert first.metrics == {"loss": 1}
    (tmp_path / "trial" / "go").touch()
    assert final(list(stream)) == {"accuracy": 3}


BIG = """
import json, subprocess, sys
subprocess.run([sys.executable, "-c", "bytearray(96 << 20)"])
print(json.dumps({"loss": 1, "accuracy": 3}))
"""


def test_the_memory_of_the_largest_process_and_the_machine_are_recorded(
    write: Write, tmp_path: Path
) -> None:
    options = {"epochs": {"value": 1, "stated": "p"}, "seeded": False}
    claims = [{**EVERY_EPOCH, "reported": {1: 1.0}}, AT_THE_END]
    script = {"argv": ["python", "train.py"], "claims": claims, **options}

    def memory_mib(text: str, folder: str) -> float:
        found = outcome(write(text, **script), tmp_path / folder)
        (record,) = (each for each in found if isinstance(each, FinalRecord))
        assert record.peak_memory_bytes is not None
        assert isinstance(found[0], Started)
        assert "cpu" in found[0].provenance.environment.hardware or not cpu_name()
        return record.peak_memory_bytes / 2**20

    assert memory_mib(BIG, "big") > 90
    # Not the worker's own memory, nor that of the trial before.
    assert memory_mib(BIG.replace("96", "1"), "small") < 60


PATTERNS = {
    "rows": r"^epoch (?P<epoch>\d+) loss (?P<loss>\S+)",
    "final": r"^accuracy (?P<accuracy>\S+)%",
}
LOSSES = {1: {"loss": 0.5}, 2: {"loss": 0.25}, 3: {"loss": 1e-3}}
WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "patterns": (
        'print("epoch 1 loss 0.5\\nepoch 2 loss 0.25\\nepoch 3 loss 1e-3\\naccuracy 91%")',
        PATTERNS,
    ),
    "several patterns without an epoch, and carriage returns": (
        'print("x 1\\rloss 0.5\\rx 2\\rloss 0.25\\r\\nx 3\\nloss 1e-3\\naccuracy 91%", end="")',
        {**PATTERNS, "rows": [r"^loss (?P<loss>\S+)", r"^never (?P<loss>\S+)"]},
    ),
    "csv": (
        'print("hello\\nepoch,loss,accuracy\\n1,0.5,\\n2,0.25,\\n3,1e-3,91")',
        {"rows": "csv"},
    ),
    "a file with columns, and a file with an object": (
        'import pathlib\nwith open("log.csv", "w") as f:\n    f.write("step, loss\\n")\n'
        '    f.write("a,0.5\\nb,0.25\\nc,1e-3\\n")\n'
        'pathlib.Path("out").mkdir()\n'
        'pathlib.Path("out/result.json").write_text(\'{"acc": 91, "more": [1]}\')',
        {
            "rows": {"file": "log.csv"},
            "final": {"file": "out/result.json"},
            "metrics": {"loss": {}, "accuracy": {"final": True, "key": "acc"}},
        },
    ),
    "epochs from 0, and other names": (
        "import json\nfor e, x in enumerate([0.5, 0.25, 1e-3]): "
        'print(json.dumps({"epoch": e, "train loss": x}))\nprint(\'{"accuracy": "91"}\')',
        {
            "first_epoch": 0,
            "metrics": {"loss": {"key": "train loss"}, "accuracy": {"final": True}},
        },
    ),
}


ROW = '{"epoch": 1, "loss": 0.5, "accuracy": 91}'
LINES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "a byte order mark": ("\ufeff" + ROW, "jsonl", {}),
    "colours": (f"\x1b[1;32m{ROW}\x1b[0m", "jsonl", {}),
    "a title and a cleared line": (f"\x1b]0;train\x07\x1b[2K\x1b[1G{ROW}", "jsonl", {}),
    "a progress bar": (f"10%|##\r20%|####\r{ROW}\r", "jsonl", {}),
    "a number of 5,000 digits": (ROW[:-1] + f', "n": {"9" * 5000}}}', "jsonl", {}),
    "columns after a byte order mark": ("\ufeffloss,accuracy\n\x1b[1m0.5\x1b[0m,91", "csv", {}),
    "a word too long for columns": ("x" * 200_000 + "\nloss,accuracy\n0.5,91", "csv", {}),
    "a coloured number": (
        "loss \x1b[31m0.5\x1b[0m\n\x1b[1maccuracy\x1b[0m 91",
        r"^loss (?P<loss>\S+)",
        {"final": r"^accuracy (?P<accuracy>\S+)"},
    ),
    "a pattern with the escapes": (
        "\x1b[1m0.5\x1b[0m\n91",
        r"\x1b\[1m(?P<loss>[0-9.]+)",
        {"final": r"^(?P<accuracy>\d+)$"},
    ),
    "deep nesting": ('{"a": ' + "[" * 100_000 + f"\n{ROW}", "jsonl", {}),
}


@pytest.mark.parametrize("name", LINES)
def test_a_row_is_read_as_a_terminal_shows_it(write: Write, tmp_path: Path, name: str) -> None:
    text, form, fields = LINES[name]
    script = "import sys; sys.stdout.buffer.write(open('printed.txt', 'rb').read())"
    (tmp_path / "printed.txt").write_bytes(text.encode())
    found = outcome(
        write(
            script,
            argv=["python", "train.py", "{seed}"],
            code=["train.py", "printed.txt"],
            epochs={"value": 1, "stated": "p"},
            claims=[{**EVERY_EPOCH, "reported": {1: 1.0}}, AT_THE_END],
            rows=form,
            **fields,
        ),
        tmp_path / "trial",
    )
    assert rows(found) == {1: {"loss": 0.5}}
    assert final(found) == {"accuracy": 91}


def test_a_file_of_results_may_begin_with_a_byte_order_mark(write: Write, tmp_path: Path) -> None:
    script = "open('r.json', 'w', encoding='utf-8-sig').write('{\"accuracy\": 91}')"
    experiment = write(script, final={"file": "r.json"}, claims=[AT_THE_END], epochs=None)
    assert final(outcome(experiment, tmp_path / "trial")) == {"accuracy": 91}


@pytest.mark.parametrize("way", WAYS)
def test_a_script_may_report_in_many_ways(write: Write, tmp_path: Path, way: str) -> None:
    script, fields = WAYS[way]
    found = outcome(write(script, argv=["python", "train.py", "{seed}"], **fields), tmp_path / "t")
    assert rows(found) == LOSSES
    assert final(found) == {"accuracy": 91}


def test_rows_may_come_from_tensorboard(write: Write, tmp_path: Path) -> None:
    if os.environ.get("CI") != "true":
        pytest.importorskip("tensorboard", reason="the extra tensorboard is not installed")
    script = """
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.event_file_writer import EventFileWriter
writer = EventFileWriter("runs/a")
for step, loss in enumerate([0.5, 0.25]):
    value = Summary.Value(tag="loss/train", simple_value=loss)
    writer.add_event(Event(step=step + 1, summary=Summary(value=[value])))
writer.close()
"""
    fields = {"rows": {"tensorboard": "runs"}, "metrics": {"loss": {"key": "loss/train"}}}
    found = outcome(
        write(script, argv=["python", "train.py", "{seed}"], claims=[EVERY_EPOCH], **fields),
        tmp_path / "trial",
    )
    assert rows(found) == {1: {"loss": 0.5}, 2: {"loss": 0.25}}


def test_a_row_may_lack_a_metric_and_an_epoch_may_lack_a_row(write: Write, tmp_path: Path) -> None:
    script = """
print('{"epoch": 1, "loss": 1}\\n{"epoch": 1, "error": 5}\\n{"epoch": 4, "loss": 2}')
print('{"epoch": 6, "error": 3}')
"""
    found = outcome(
        write(
            script,
            argv=["python", "train.py", "{seed}"],
            metrics={"loss": {}, "error": {}},
            claims=[EVERY_EPOCH],
            epochs={"value": 8, "stated": "p"},
        ),
        tmp_path / "trial",
    )
    assert rows(found) == {1: {"loss": 1, "error": 5}, 4: {"loss": 2}, 6: {"error": 3}}
    assert final(found) == {}


def test_a_script_with_only_final_values_needs_no_epochs(write: Write, tmp_path: Path) -> None:
    experiment = write(
        "print('accuracy 90%')",
        argv=["python", "train.py", "{seed}"],
        final=PATTERNS["final"],
        claims=[AT_THE_END],
        epochs=None,
    )
    assert experiment.manifest.epochs.value == 1
    assert final(outcome(experiment, tmp_path / "trial")) == {"accuracy": 90}


def test_a_shorter_run_of_a_script_that_takes_no_length_is_cut_off(
    write: Write, tmp_path: Path
) -> None:
    script = SOUND.replace("int(sys.argv[2])", "3") + "\nimport time; time.sleep(600)"
    experiment = write(script, argv=["python", "train.py", "{seed}"])
    found = outcome(experiment, tmp_path / "trial", epochs=2)
    assert list(rows(found)) == [1, 2]
    assert final(found) == {}


def test_parameters_fill_the_words_as_they_are(write: Write, tmp_path: Path) -> None:
    script = """
import json, os, sys
print(json.dumps({"loss": 1, "accuracy": 2}), json.dumps(sys.argv[1:]), file=sys.stderr)
print(json.dumps({"loss": 1, "accuracy": 2}))
json.dump([sys.argv[1:], dict(os.environ), sys.stdin.read()], open("seen", "w"))
"""
    values = {"lr": 1e-05, "sizes": [3, 4], "note": "a b; rm -rf $HOME", "fast": True}
    experiment = write(
        script,
        argv=["python", "train.py", "{seed}", "--lr={lr}", "{sizes}", "{note}", "{fast}", "{{lr}}"],
        parameters={name: {"value": value, "stated": "p"} for name, value in values.items()},
        environment=["TOKEN"],
        resources={"threads": 3},
        epochs={"value": 1, "stated": "p"},
    )
    with trial_environment(Variables({"TOKEN": "t0p"})):
        os.environ["RAY_ADDRESS"] = "somewhere:1"
        outcome(experiment, tmp_path / "trial", seed=7)
    words, environment, stdin = json.loads((tmp_path / "trial" / "seen").read_text())
    assert words == ["7", "--lr=1e-05", "3", "4", "a b; rm -rf $HOME", "true", "{lr}"]
    assert environment["TOKEN"] == "t0p"
    assert environment["OMP_NUM_THREADS"] == "3"
    assert environment["CUDA_VISIBLE_DEVICES"] == ""
    assert "RAY_ADDRESS" not in environment
    assert environment["PATH"].startswith(str(Path(sys.executable).parent))
    assert stdin == ""


MACHINE, METHOD = FailureKind.INFRASTRUCTURE, FailureKind.SCIENTIFIC
FAILURES: dict[str, tuple[str, FailureKind, str]] = {
    "an exit code": (
        "import sys; print('what went wrong', file=sys.stderr); sys.exit(3)",
        METHOD,
        "ended with exit code 3:\nwhat went wrong",
    ),
    "an exception": ("[][1]", METHOD, "IndexError: list index out of range"),
    "a full disk": ("open('/dev/full', 'w').write('x' * 9999)", MACHINE, "No space left"),
    "a missing module": ("import nowhere_at_all", MACHINE, "ModuleNotFoundError"),
    "node's way to say it": (
        "import sys; sys.exit('Error: ENOSPC: no space left on device, write\\n  at x\\nNode 20')",
        MACHINE,
        "ENOSPC",
    ),
    "no memory": ("raise MemoryError", MACHINE, "MemoryError"),
    "a GPU": ("raise RuntimeError('CUDA error: unspecified launch failure')", MACHINE, "CUDA"),
    "a signal": ("import os; os.kill(os.getpid(), 9)", MACHINE, "was killed by SIGKILL"),
    "a shell's word for a signal": ("import sys; sys.exit(137)", MACHINE, "exit code 137"),
    "what the manifest names": (
        "import sys; print('HTTP 503', file=sys.stderr); sys.exit('then this')",
        MACHINE,
        "a failure of the machine: HTTP 503",
    ),
    "text for a number": ('print(\'{"loss": "low"}\')', METHOD, "loss: must be a number, got"),
    "NaN": ("print('{\"loss\": NaN}')", METHOD, "epoch 1: loss is nan"),
    "a file of deep nesting": (
        "open('r.json', 'w').write('[' * 100_000)",
        METHOD,
        "the JSON is nested too deeply",
    ),
    "no epoch": ('print(\'{"epoch": null, "loss": 1}\')', METHOD, "epoch None is no whole number"),
    "an endless number": (f"print('{{\"loss\": {'9' * 5000}}}')", METHOD, "epoch 1: loss is inf"),
    "epoch 0": ('print(\'{"epoch": 0, "loss": 1}\')', METHOD, "say first_epoch: 0"),
    "more epochs": (
        'for e in range(9): print(\'{"loss": 1, "accuracy": 1}\')',
        METHOD,
        "a row of epoch 4, but the run has 3",
    ),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_is_the_method_s_or_the_machine_s(
    write: Write, tmp_path: Path, name: str
) -> None:
    script, kind, said = FAILURES[name]
    fields = {"final": {"file": "r.json"}} if "r.json" in script else {}
    found = failure(write(script, infrastructure=r"HTTP 5\d\d", **fields), tmp_path / "trial")
    assert (found.kind, said in found.message) == (kind, True), found


@pytest.mark.parametrize(
    ("script", "named"),
    [("print('hello')", "loss, accuracy"), ("print('{\"loss\": 1}')", "accuracy")],
)
def test_a_metric_that_the_output_never_gives_is_named_and_is_no_failure(
    write: Write, tmp_path: Path, capfd: pytest.CaptureFixture[str], script: str, named: str
) -> None:
    found = outcome(write(script), tmp_path / "trial")
    assert final(found) == {}
    assert rows(found) == ({} if "loss" in named else {1: {"loss": 1.0}})
    said = capfd.readouterr().err
    assert said.count("nothing in the command's output gives") == 1
    assert f"output gives {named}: check the metric's name" in said


@pytest.mark.parametrize("claim", [EVERY_EPOCH, AT_THE_END])
def test_a_metric_that_a_claim_misspells_is_no_evidence_against_the_paper(
    write: Write, tmp_path: Path, claim: dict[str, Any]
) -> None:
    experiment = write(claims=[{**claim, "metric": "lsos"}])
    store = Store(tmp_path / "workspace")
    specs = {seed: job_of(experiment, seed).spec for seed in (0, 1)}
    with store.lock():
        for seed, spec in specs.items():
            found = outcome(experiment, tmp_path / str(seed), seed)
            store.append([(spec, message) for message in found])
    trials = {seed: store.read(spec.id) for seed, spec in specs.items()}
    (verdict,) = judge([Case(experiment, (0, 1), 3)], lambda _, seed: trials[seed])
    (result,) = verdict.results
    assert result.verdict is Outcome.INCONCLUSIVE
    assert result.note == (
        "seeds 0-1 ran, but recorded no lsos here; no trial gave this metric: check its name, and "
        "what the workload prints"
    )
    assert exit_code([verdict]) is Exit.INCONCLUSIVE


def test_a_node_without_the_program_is_at_fault(write: Write, tmp_path: Path) -> None:
    found = failure(write(argv=["no-such-program", "train.py", "{seed}"]), tmp_path / "trial")
    assert found.kind is MACHINE
    assert "cannot run no-such-program" in found.message


def test_a_secret_is_in_no_line_that_is_kept(
    write: Write, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    lines = ("print('a', token)", "print(token, 'b', file=sys.stderr)", "sys.exit(3)")
    text = "; ".join(["import os, sys", "token = os.environ['TOKEN']", *lines])
    experiment = write(text, environment=["TOKEN"])
    with trial_environment(Variables({"TOKEN": "t0p-s3cret"})):
        found = failure(experiment, tmp_path / "trial")
    kept = capfd.readouterr()
    assert "a ***\n" in kept.out
    assert "*** b\n" in kept.err
    assert "t0p-s3cret" not in kept.out + kept.err + found.message


def test_a_secret_is_in_no_message(write: Write, tmp_path: Path) -> None:
    experiment = write("import os; raise ValueError(os.environ['TOKEN'])", environment=["TOKEN"])
    with trial_environment(Variables({"TOKEN": "t0p-s3cret"})):
        found = failure(experiment, tmp_path / "trial")
    assert "ValueError: ***" in found.message
    assert "t0p" not in found.message + found.traceback


GRANDCHILD = """
import os, subprocess, sys
child = subprocess.Popen(["sleep", "600"], start_new_session=True)
if os.fork() == 0:  # its parent ends at once
    os.setsid()
    other = subprocess.Popen(["sleep", "600"])
    print('{"loss": %d}' % other.pid, flush=True)
    os._exit(0)
os.wait()
print('{"loss": %d}' % child.pid, flush=True)
"""


def alive(pid: float) -> bool:
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(
    "end",
    [
        "print('{\"accuracy\": 1}')",
        "sys.exit(1)",
        'print(\'{"loss": "x"}\', flush=True)\nos.wait()',
    ],
)
def test_nothing_that_a_script_starts_outlives_its_trial(
    write: Write, tmp_path: Path, end: str
) -> None:
    found = outcome(write(GRANDCHILD + end), tmp_path / "trial")
    pids = [row["loss"] for row in rows(found).values()]
    assert len(pids) == 2
    assert not any(map(alive, pids))


HOLDER = """
import sys
from pathlib import Path
from harness.workloads.command.run import Child
def heard(line):
    print(line, flush=True)
child = Child(["python", sys.argv[1]], folder=Path.cwd(), environment={"PATH": sys.argv[2]},
              heard=heard, infrastructure=None)
while child.wait():
    pass
"""


def test_nothing_that_a_script_starts_outlives_a_killed_worker(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(GRANDCHILD + "print('{\"loss\": %d}' % os.getpid(), flush=True)\nos.wait()")
    words = [sys.executable, "-c", HOLDER, str(script)]
    with subprocess.Popen(
        [*words, f"{Path(sys.executable).parent}:{os.environ['PATH']}"],
        stdout=subprocess.PIPE,
        cwd=tmp_path,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        lines = (holder.stdout.readline() for _ in range(6))  # each arrives twice
        pids = {json.loads(line)["loss"] for line in lines}
        assert len(pids) == 3
        assert all(map(alive, pids))
        holder.send_signal(signal.SIGKILL)
    assert eventually(lambda: not any(map(alive, pids)))


def test_a_trial_s_identity_is_what_determines_its_result(write: Write, tmp_path: Path) -> None:
    base = job_of(write()).spec.id
    assert job_of(write(infrastructure="HTTP")).spec.id == base
    assert job_of(write(resources={"threads": 2, "deadline_s": 9})).spec.id == base
    assert (
        job_of(write(metrics={"loss": {"description": "d"}, "accuracy": {"final": True}})).spec.id
        == base
    )
    others = [
        write(SOUND + "\n"),
        write(argv=["python", "-u", "train.py", "{seed}", "{epochs}"]),
        write(argv=["python", "train.py", "{seed}", "{epochs}", "{x}"], parameters=parameter(1)),
        write(argv=["python", "train.py", "{seed}", "{epochs}", "{x}"], parameters=parameter(2)),
        write(rows=r"(?P<loss>\S+)", final="jsonl", metrics={"accuracy": {"final": True}}),
        write(epochs={"value": 4, "stated": "p"}),
    ]
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "a.ini").write_text("x = 1")
    others.append(write(code=["train.py", "config/"]))
    ids = {job_of(each).spec.id for each in others}
    assert len(ids | {base}) == 8


def test_a_spec_is_read_back_as_it_was_written(write: Write) -> None:
    spec = job_of(write(**PATTERNS)).spec
    assert TrialSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec


def parameter(value: Any) -> dict[str, Any]:
    return {"x": {"value": value, "stated": "p"}}


def test_a_permission_is_for_words_parameters_and_code(write: Write) -> None:
    def digest(experiment: Experiment) -> str:
        execution = execution_of(experiment.workload(REGISTRY))
        assert execution is not None
        return execution.digest

    base = digest(write())
    assert (
        digest(write(metrics={"loss": {"description": "d"}, "accuracy": {"final": True}})) == base
    )
    assert digest(write(infrastructure="HTTP", epochs={"value": 5, "stated": "p"})) == base
    words = ["python", "train.py", "{seed}", "{epochs}", "{x}"]
    changed = [
        write(SOUND + "\n"),
        write(argv=[*words, "x"], parameters=parameter("a")),
        write(argv=words, parameters=parameter("a")),
        write(argv=words, parameters=parameter("b")),
        write(environment=["HF_TOKEN"]),
    ]
    assert len({base, *map(digest, changed)}) == 6
    execution = execution_of(changed[2].workload(REGISTRY))
    assert execution is not None
    assert execution.text == "python train.py '{seed}' '{epochs}' a"


def test_trials_without_a_seed_are_numbered_and_every_verdict_says_so(write: Write) -> None:
    experiment = write(argv=["python", "train.py"], seeded=False)
    (remark,) = remarks_of(experiment.workload(REGISTRY))
    assert "takes no seed" in remark
    assert remarks_of(write().workload(REGISTRY)) == ()


RESUMABLE = """
import json, os, sys
first = int(open(sys.argv[4]).read()) if len(sys.argv) > 3 else 0
open("resumed", "w").write(str(first))
if first == 13: sys.exit("the file is damaged")
for epoch in range(first + 1, int(sys.argv[2]) + 1):
    open("model.txt", "w").write(str(epoch))
    print(json.dumps({"epoch": epoch, "loss": epoch}), flush=True)
print(json.dumps({"accuracy": 5}))
"""
CHECKPOINT = {"file": "model.txt", "resume": ["--resume", "{checkpoint}"]}


def last_checkpoint(found: list[Message], epoch: int) -> Checkpoint:
    (checkpoint,) = (e for e in found if isinstance(e, Checkpoint) and e.epoch == epoch)
    return checkpoint


@pytest.mark.parametrize(
    ("content", "from_epoch"),
    [
        ("2", 2),
        ("1", 2),  # an older state: epoch 2 is printed again and recorded once
        ("3", 0),  # a newer state: epoch 3 would be lost
        ("13", 0),  # the command cannot go on
    ],
)
def test_a_trial_goes_on_from_the_command_s_own_checkpoint_or_starts_again(
    write: Write, tmp_path: Path, content: str, from_epoch: int
) -> None:
    experiment = write(RESUMABLE, checkpoint=CHECKPOINT, epochs={"value": 5, "stated": "p"})
    found = outcome(experiment, tmp_path / "one", checkpoint_interval_s=0)
    checkpoint = last_checkpoint(found, 2)
    payload: Any = checkpoint.payload
    saved = tmp_path / "saved"
    saved.write_text(f"[2, 1]\n{content}")
    resumed = outcome(
        experiment,
        tmp_path / "two",
        checkpoint=Checkpoint(2, checkpoint.form, type(payload).of(saved)),
    )
    started = resumed[0]
    assert isinstance(started, Started)
    assert started.resumed_from == from_epoch
    assert list(rows(resumed)) == list(range(from_epoch + 1, 6))
    assert final(resumed) == {"accuracy": 5}
    assert (tmp_path / "two" / "resumed").read_text() == (content if from_epoch else "0")


def test_without_a_checkpoint_a_trial_starts_again(write: Write, tmp_path: Path) -> None:
    experiment = write()
    checkpoint = last_checkpoint(outcome(experiment, tmp_path / "one"), 3)
    resumed = outcome(experiment, tmp_path / "two", checkpoint=checkpoint)
    assert list(rows(resumed)) == [1, 2, 3]


SECTION_FAULTS: list[tuple[dict[str, Any], str]] = [
    ({"argv": "python train.py"}, "workload.argv: must be a list, got 'python train.py'"),
    ({"argv": ["python", 3, "{seed}"]}, "workload.argv[1]: must be text, got 3"),
    ({"argv": []}, "workload.argv: at least 1 wanted"),
    (
        {"argv": ["x", "{sed}", "{seed}"]},
        "workload.argv[1]: no parameter is called sed; did you mean",
    ),
    ({"argv": ["python", "train.py"]}, 'workload.argv: nowhere has "{seed}"'),
    ({"seeded": False}, 'workload.seeded: argv has "{seed}"'),
    ({"parameters": parameter(1)}, 'workload.parameters.x: unused: put "{x}" into argv'),
    (
        {"parameters": {"seed": {"value": 1, "stated": "p"}}},
        "workload.parameters.seed: the trial fills this in",
    ),
    ({"parameters": {"x": {"value": 1}}, "argv": ["x", "{seed}", "{x}"]}, "say one of stated"),
    ({"arg": 1}, "workload.arg: unknown field; did you mean argv?"),
    ({"rows": "("}, "workload.rows: is no regular expression"),
    ({"rows": "loss"}, "workload.rows: 'loss' has no named group"),
    ({"rows": {"file": "a.txt"}}, "workload.rows: 'txt' has no named group"),
    ({"rows": {"file": "../a.csv"}}, "must be a path below the folder"),
    ({"rows": 3}, "workload.rows: must be a regular expression with named groups"),
    (
        {"rows": r"(?P<los>\S+)", "final": "jsonl", "metrics": {"loss": {}}},
        "workload.metrics.loss: no group (?P<loss>...) in rows gives it",
    ),
    ({"rows": r"(?P<los>\S+)"}, "claims[0].metric: unknown metric 'loss'; did you mean los?"),
    ({"epochs": None}, "epochs: required"),
    (
        {"claims": [EVERY_EPOCH, {**AT_THE_END, "metric": "seconds", "unit": "s"}]},
        "claims[1].hardware: required: seconds depends on it",
    ),
    (
        {"metrics": {"loss": {}, "seconds": {"unit": "s"}}},
        "workload.metrics.seconds: the harness measures seconds itself",
    ),
    (
        {"rows": r"(?P<loss>\S+) (?P<peak_memory_mib>\S+)", "final": "jsonl"},
        "workload.rows: the harness measures peak_memory_mib itself",
    ),
    ({"final": r"(?P<seconds>\S+) s"}, "workload.final: the harness measures seconds itself"),
    ({"infrastructure": "["}, "workload.infrastructure: is no regular expression"),
    ({"environment": ["A B"]}, "workload.environment[0]: must match"),
    ({"root": "codee"}, "workload.root: no such folder: "),
    ({"root": "train.py"}, "workload.root: no such folder: "),
    ({"root": "a\0"}, "workload.root: must not hold the character"),
    ({"rows": {"file": "a\0.csv"}}, "workload.rows: must not hold the character"),
    ({"rows": {"tensorboard": "a\0"}}, "workload.rows: must not hold the character"),
    ({"argv": ["python", "train.py", "{seed}", "\0"]}, "argv[3]: must not hold the character"),
    (
        {"argv": ["x", "{seed}", "{x}"], "parameters": parameter(["a", "\0"])},
        "workload.parameters.x.value: must not hold the character",
    ),
    ({"code": ["nowhere.py"]}, "workload.code[0]: no such file or folder"),
    ({"code": ["train.py", "../x"]}, "workload.code[1]: must be below"),
    ({"checkpoint": {"file": "m", "resume": ["-r"]}}, 'resume: nowhere has "{checkpoint}"'),
    (
        {"checkpoint": CHECKPOINT, "rows": r"(?P<loss>\S+)", "final": "jsonl"},
        "workload.checkpoint: every pattern of rows needs a group (?P<epoch>...)",
    ),
]


@pytest.mark.parametrize(("fields", "said"), SECTION_FAULTS)
def test_a_fault_of_the_section_is_named_with_its_line(
    write: Write, fields: dict[str, Any], said: str
) -> None:
    with pytest.raises(ManifestError) as caught:
        write(**fields)
    assert said in str(caught.value)
    assert all(fault.line > 0 or fault.field == "epochs" for fault in caught.value.faults)


MISSING = [
    (["python", "tarin.py"], 1, "tarin.py; did you mean train.py?"),
    (["python3.12", "-u", "-W", "ignore", "./tarin.py"], 4, "tarin.py; did you mean train.py?"),
    (["/usr/bin/python3", "-Im", "train"], None, ""),
    (["python", "-Xutf8", "tarin.py"], None, ""),
    (["python", "train"], 1, "train; did you mean train.py?"),
    (["python", "-c", "import tarin", "tarin.py"], None, ""),
    (["python", "-m", "tarin", "tarin.py"], None, ""),
    (["python", "-", "tarin.py"], None, ""),
    (["python", "{seed}.py"], None, ""),
    (["python", "{file}"], 1, "nowhere.py"),
    (["python", "/opt/tarin.py"], None, ""),
    (["python", "lib"], None, ""),
    (["python", "train.py", "tarin.py"], None, ""),
    (["torchrun", "--standalone", "--nproc_per_node", "2", "tarin.py"], 4, "tarin.py"),
    (["torchrun", "--nnodes=1", "train.py", "--config", "tarin.py"], None, ""),
    (["torchrun", "--no-python", "tarin.py"], None, ""),
    (["torchrun", "--virtual-local-rank", "train.py", "tarin.py"], None, ""),
    (["torchrun", "--unknown", "train.py", "tarin.csv"], None, ""),
    (["stdbuf", "-oL", "python", "tarin.py"], 3, "tarin.py"),
    (["nice", "./tarin", "train.py"], None, ""),
    (["node", "tarin.mjs"], 1, "tarin.mjs"),
    (["node", "--require", "./tarin.js", "x.js"], None, ""),
    (["node", "inspect", "train.js"], None, ""),
    (["Rscript", "lib/tarin.R"], 1, "lib/tarin.R"),
    (["sh", "-c", "tarin.sh"], None, ""),
    (["bash", "-e", "tarin.sh"], None, ""),
    (["bash", "tarin.sh"], 1, "tarin.sh"),
    (["./tarin.sh"], 0, "tarin.sh"),
    (["tarin.sh"], None, ""),
    (["julia", "tarin.jl"], 1, "tarin.jl"),
]


@pytest.mark.parametrize(("words", "place", "named"), MISSING)
def test_a_script_that_does_not_exist_is_a_fault_of_the_manifest(
    write: Write, tmp_path: Path, words: list[str], place: int | None, named: str
) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/__main__.py").touch()
    parameters = {"file": {"value": "nowhere.py", "stated": "p"}} if "{file}" in words else {}
    code = ["train.py", "lib"]
    if place is None:
        write(argv=[*words, "{seed}"], parameters=parameters, code=code)
        return
    with pytest.raises(ManifestError) as caught:
        write(argv=[*words, "{seed}"], parameters=parameters, code=code)
    (fault,) = caught.value.faults
    assert (fault.field, fault.line > 0) == (f"workload.argv[{place}]", True)
    assert fault.message.startswith(f"no such file: {tmp_path}/")
    assert named in fault.message


def test_a_script_that_is_left_out_of_code_is_a_fault_of_the_manifest(
    write: Write, tmp_path: Path
) -> None:
    (tmp_path / "lib").mkdir()
    with pytest.raises(ManifestError, match=r"argv\[1\]: ./train.py is not in code, so no trial"):
        write(argv=["python", "./train.py", "{seed}"], code=["lib"])
    with pytest.raises(ManifestError, match=r"argv\[1\]: lib is not in code, so no trial has it"):
        write(argv=["python", "lib", "{seed}"])


def test_a_script_may_give_its_own_time_under_another_name(write: Write, tmp_path: Path) -> None:
    metrics = {"own_seconds": {"key": "seconds", "final": True, "unit": "s"}}
    claims = [{**AT_THE_END, "metric": "own_seconds"}]
    script = "print('{\"seconds\": 90}')"
    experiment = write(script, metrics=metrics, claims=claims, unit="s")
    assert final(outcome(experiment, tmp_path / "trial")) == {"own_seconds": 90}


def test_a_command_may_have_claims_about_its_time_alone(write: Write, tmp_path: Path) -> None:
    claim = {**AT_THE_END, "metric": "seconds", "unit": "s", "hardware": {"cpu": ".*"}}
    experiment = write("print('{\"seconds\": 90}')", claims=[claim], unit="s")
    assert final(outcome(experiment, tmp_path / "trial")) == {}


WARNINGS: list[tuple[list[str], list[str] | None, str]] = [
    (["python", "train.py"], None, ""),
    (["python", "train.py", "--config=lib/a.ini"], None, "lib/a.ini"),
    (["python", "train.py", "lib/"], None, "lib/"),
    (["python", "train.py", "./lib"], ["train.py", "lib/"], ""),
    (["python", "train.py", "../elsewhere.py"], None, ""),
    (["python", "lib/../train.py"], None, "lib/../train.py"),
    (["/opt/train.py"], [], "/opt/train.py"),
    (["python", "-u", "-m", "train"], [], "the module train"),
    (["python", "-m", "train"], ["train.py"], ""),
    (["python", "-m", "lib.net"], ["lib"], ""),
    (["torchrun", "-m", "torch.nn"], [], "the module torch.nn"),
    (["python", "train.py", "-m", "fast"], None, ""),
    (["python", "-c", "import train, json"], None, "train.py"),
    (["python", "-c", "import train, json"], ["train.py"], ""),
    (["sh", "-c", "exec python ./lib/net.py 1"], None, "./lib/net.py"),
    (["sh", "-c", "echo loss 1 > /tmp/../dev/null; x=."], None, "/tmp/../dev/null"),
    (["echo", "x" * 5000, ".", "/", "a=b"], None, ""),
    (["python", "train.py", "{x}"], None, "lib/a.ini"),
]


@pytest.mark.parametrize(("words", "code", "named"), WARNINGS)
def test_a_word_that_names_code_outside_the_digest_is_warned_of(
    write: Write, tmp_path: Path, words: list[str], code: list[str] | None, named: str
) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/a.ini").touch()
    (tmp_path / "lib/net.py").touch()
    parameters = parameter("lib/a.ini") if "{x}" in words else {}
    experiment = write(argv=[*words, "{seed}"], code=code, parameters=parameters)
    path = tmp_path / "script.yaml"
    if not named:
        assert experiment.warnings == ()
        return
    (line,) = experiment.warnings
    place = re.escape(str(path)) + r":(\d+): workload\.argv\[\d\]: "
    found = re.match(place + re.escape(named) + " is not in code, so", line)
    assert found
    assert path.read_text().splitlines()[int(found[1]) - 1].strip().startswith("- ")


def test_validate_and_plan_print_each_warning_once_and_exit_0(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lib").mkdir()
    grid = {"x": [1, 2]}
    x = {"x": {"value": "$x", "stated": "p"}}
    words = ["python", "train.py", "{seed}", "{x}", "--library", "lib"]
    path = write_manifest(tmp_path, argv=words, parameters=x)
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"grid": grid}))
    monkeypatch.chdir(tmp_path)
    for name in ("validate", "plan"):
        done = CliRunner().invoke(app, [name, str(path)])
        assert done.exit_code == 0, done.output
        (line,) = (line for line in done.output.splitlines() if "warning: " in line)
        assert re.fullmatch(
            r"warning: .*script\.yaml:\d+: workload\.argv\[5\]: lib is not in code, .*", line
        )


@pytest.mark.parametrize(
    ("script", "code", "hint"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", 4, True),
        ("raise SystemExit(3)", 1, False),
    ],
)
def test_one_trial_exits_4_if_the_machine_failed_and_1_if_the_method_did(
    tmp_path: Path, script: str, code: int, hint: bool
) -> None:
    path = write_manifest(tmp_path, script)
    done = CliRunner().invoke(app, ["trial", str(path), "--seed", "0", "--allow-commands"])
    assert done.exit_code == code, done.output
    assert ("a machine failed" in done.output) == hint


def test_a_trial_without_final_estimates_prints_its_epochs_only(tmp_path: Path) -> None:
    script = 'import json; print(json.dumps({"epoch": 1, "loss": 2.0}))'
    path = write_manifest(
        tmp_path,
        script,
        claims=[EVERY_EPOCH],
        epochs={"value": 1, "stated": "page 1"},
    )
    done = CliRunner().invoke(app, ["trial", str(path), "--seed", "0", "--allow-commands"])
    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[-1] == "1 2.0000"
    assert "test" not in done.output.splitlines()


def test_another_workload_has_no_such_fields(tmp_path: Path) -> None:
    from harness.workloads import registry  # noqa: PLC0415 - only this test needs the others

    path = tmp_path / "x.yaml"
    path.write_text("workload: {name: mine_gaussian, argv: [x]}")
    with pytest.raises(ManifestError) as caught:
        load([path], registry())
    assert "workload.argv: unknown field; allowed: name, parameters" in str(caught.value)


def test_code_travels_as_it_is_and_no_link_leads_out(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lib = tmp_path / "lib"
    (lib / "__pycache__").mkdir(parents=True)
    (lib / "__pycache__" / "x.pyc").touch()
    (lib / "run.sh").write_text('#!/bin/sh\necho "{\\"loss\\": 1, \\"accuracy\\": $1}"\n')
    (lib / "run.sh").chmod(0o755)
    (lib / "same.sh").symlink_to("run.sh")
    experiment = write(argv=["./lib/same.sh", "{seed}"], code=["lib"])
    assert final(outcome(experiment, tmp_path / "trial", seed=4)) == {"accuracy": 4}
    assert not (tmp_path / "trial" / "lib" / "__pycache__").exists()
    (lib / "out").symlink_to("/etc/hostname")
    with pytest.raises(ManifestError, match="lib/out is a link out of"):
        write(code=["lib"])
    (lib / "out").unlink()
    monkeypatch.setattr("harness.workloads.command.code.LARGEST_BYTES", 10)
    with pytest.raises(ManifestError, match="code is for programs, not for data"):
        write(code=["lib"])
