"""What trials print and leave, from the worker to the workspace."""

import ctypes
import json
import os
import subprocess
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness import engine
from harness.engine import trial_output as engine_output
from harness.engine.trial_output import HALF, artifacts, capture
from harness.engine.worker_process import session_folder
from harness.errors import Exit
from harness.plan import Job
from harness.record import Artifact, ArtifactPart, FailureKind, Output, Printed
from harness.store import Store, trial_output
from harness.verdict import exit_code
from harness.workload import Context
from tests.engine.sinks import StoreSink, load, run
from tests.faults.disks import allow_no_file, small_disk
from tests.store.trials import curve, quiet
from tests.toy import Toy, Walk, job
from tests.verdict.builders import experiment, value, verdict_on
from tests.waiting import eventually


class Talking(Walk):
    """Prints in every way that there is, and leaves files."""

    def epoch(self) -> Mapping[str, float]:
        metrics = super().epoch()
        print(f"python {self.count}")  # noqa: T201 - what is tested
        ctypes.CDLL(None).printf(b"C %d\n", self.count)
        subprocess.run(["sh", "-c", "echo child; echo shell >&2"], check=True)
        os.write(2, b"descriptor\n")
        folder = self.context.folder / "artifacts" / "deep"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.bin").write_bytes(b"weights")
        return metrics


@dataclass(frozen=True)
class TalkingToy(Toy):
    def start(self, parameters: Any, context: Context) -> Walk:
        print("starting")  # noqa: T201 - as above
        return Talking(**vars(super().start(parameters, context)))


def ran(folder: Path, workload: Toy, jobs: list[Job]) -> Store:
    store = Store(folder / "results")
    options = engine.Options(backoff_s=0.01, checkpoint_interval_s=0.0)
    with store.lock():
        sink = StoreSink(store)
        engine.run(jobs, sink, workloads={"toy": workload}, load_data=load, options=options)
    return store


@pytest.mark.usefixtures("cluster")
def test_what_a_trial_prints_and_leaves_reaches_the_workspace(tmp_path: Path) -> None:
    talks = [job(seed, epochs=2) for seed in range(2)]
    tripped = job(7, epochs=3, fault="raise", at=2)
    store = ran(tmp_path, TalkingToy(), [*talks, tripped])
    for each in talks:
        out = store.printed(each.spec.id, Printed.STDOUT).decode().split("\n")
        assert sorted(out) == sorted(
            ["starting", "python 1", "C 1", "child", "python 2", "C 2", "child", ""]
        )
        err = store.printed(each.spec.id, Printed.STDERR).decode()
        assert err == 2 * "shell\ndescriptor\n"
        (kept,) = store.artifacts(each.spec.id).items()
        assert (kept[0], kept[1].read_bytes()) == ("deep/model.bin", b"weights")
        assert curve(store.read(each.spec.id)) == quiet(each)
    assert len(list((store.root / "artifacts").iterdir())) == 1  # equal files are stored once
    # Both attempts of the trial that failed are there, and the second has a heading.
    text = store.printed(tripped.spec.id, Printed.STDOUT).decode()
    assert text.count("starting") == 2
    assert text.count("[another attempt on ") == 1
    assert "after epoch 1" in text


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("fault", ["no space", "no folder"])
def test_a_node_that_can_make_no_folder_is_no_verdict_on_the_method(
    tmp_path: Path, fault: str
) -> None:
    a_job = job(epochs=3)
    base = session_folder()
    base.mkdir(exist_ok=True)
    aside = base.rename(base.with_name("aside"))
    with ExitStack() as stack:
        if fault == "no space":
            disk = stack.enter_context(small_disk(tmp_path / "disk", kib=64))
            allow_no_file(disk)
            base.symlink_to(disk)
        else:
            base.touch()
        stack.callback(aside.rename, base)
        stack.callback(base.unlink)
        sink = run(tmp_path, [a_job], retries=1, isolate=True)
    assert [attempt for _, _, attempt in sink.retries] == [2]
    stored = sink.store.read(a_job.spec.id)
    assert stored is not None
    assert stored.failure is not None
    assert stored.failure.kind is FailureKind.INFRASTRUCTURE
    assert stored.failure.message.startswith("the trial's folder cannot be made: ")
    if fault == "no space":
        assert "No space left on device" in stored.failure.message
    verdict = verdict_on(experiment(value(1.0), epochs=3), {0: stored})
    assert exit_code([verdict]) is Exit.INCOMPLETE
    assert curve(run(tmp_path, [a_job]).store.read(a_job.spec.id)) == quiet(a_job)


@pytest.mark.usefixtures("cluster")
def test_a_trial_that_prints_nothing_leaves_no_file_of_it(tmp_path: Path) -> None:
    store = ran(tmp_path, Toy(), [job()])
    names = {each.name for each in (store.root / "trials" / job().spec.id).iterdir()}
    assert names == {"checkpoint.pt", "records.jsonl", "result.json", "spec.json"}
    assert not (store.root / "artifacts").exists()


def test_a_flood_between_two_batches_keeps_its_beginning_and_its_end(tmp_path: Path) -> None:
    line = b"x" * 99 + b"\n"
    count = 100_000  # 10 MB
    with capture(tmp_path).on() as taken:
        for _ in range(count):
            os.write(1, line)
        (output,) = taken()
        os.write(1, b"after\n")
        (after,) = taken()
    assert output.stream is Printed.STDOUT
    assert len(output.head) + len(output.tail) == 2 * HALF
    assert output.skipped <= count * len(line) - 2 * HALF
    assert output.skipped > 0
    assert (after.head, after.skipped) == (b"after\n", 0)


def test_nothing_that_is_less_than_both_halves_is_lost(tmp_path: Path) -> None:
    said = b"".join(b"%d\n" % number for number in range(9_000))
    assert HALF < len(said) < 2 * HALF
    with capture(tmp_path).on() as taken:
        for start in range(0, len(said), 777):
            os.write(2, said[start : start + 777])
        (output,) = taken()
        assert taken() == []
    assert (output.head + output.tail, output.skipped) == (said, 0)


def test_the_disk_holds_little_of_a_trial_that_prints_without_end(tmp_path: Path) -> None:
    captured = capture(tmp_path)
    number = captured._streams[0].file.fileno()
    part = b"y" * (1 << 16)
    with captured.on() as taken:
        for _ in range(4):
            for _ in range(32):
                os.write(1, part)
            assert eventually(lambda: os.fstat(number).st_size < engine_output._LARGE)
        (output,) = taken()
    assert output.skipped + 2 * HALF == 4 * 32 * len(part)


def test_streams_lead_where_they_led_before(tmp_path: Path) -> None:
    before = [os.fstat(number) for number in (1, 2)]
    with capture(tmp_path).on():
        os.close(1)
    after = [os.fstat(number) for number in (1, 2)]
    assert [(each.st_dev, each.st_ino) for each in before] == [
        (each.st_dev, each.st_ino) for each in after
    ]


def test_what_cannot_be_kept_is_named_on_standard_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.engine.trial_output.MOST_ARTIFACT_BYTES", 10)
    folder = tmp_path / "artifacts"
    folder.mkdir()
    (folder / "a-small").write_bytes(b"12345")
    (folder / "b-large").write_bytes(b"123456")
    (folder / "c-link").symlink_to("/etc/passwd")
    os.mkfifo(folder / "d-pipe")
    (folder / "e-empty").touch()
    sent = list(artifacts(folder))
    assert [each.name for each in sent if isinstance(each, Artifact)] == ["a-small", "e-empty"]
    assert [each.data for each in sent if isinstance(each, ArtifactPart)] == [b"12345", b""]
    notes = b"".join(each.head for each in sent if isinstance(each, Output)).decode()
    assert notes.splitlines() == [
        "harness: artifacts/b-large is not kept: "
        "it has 6 bytes, and a trial keeps at most 10 in all",
        "harness: artifacts/c-link is not kept: it is no regular file",
        "harness: artifacts/d-pipe is not kept: it is no regular file",
    ]
    assert list(artifacts(tmp_path / "nothing")) == []


def test_the_workspace_keeps_a_bounded_part_and_counts_what_it_leaves_out(tmp_path: Path) -> None:
    output = trial_output.TrialOutput(tmp_path, tmp_path / "pool")
    total = 0
    for number in range(300):
        line = b"%05d" % number + b"." * 10_000 + b"\n"
        output.write([Output(Printed.STDOUT, line, skipped=number % 3)])
        total += len(line) + number % 3
    kept = output.printed(Printed.STDOUT)
    assert len(kept) < 4 * trial_output.HALF
    assert kept.startswith(b"00000")
    assert b"\n00299" in kept
    gaps = list(trial_output._GAP.finditer(kept))
    left_out = sum(int(gap[1]) - len(gap[0]) for gap in gaps)
    assert left_out + len(kept) == total


@pytest.mark.parametrize("name", ["../../other", "/etc/passwd", ""])
def test_no_artifact_is_a_way_out_of_the_workspace(tmp_path: Path, name: str) -> None:
    output = trial_output.TrialOutput(tmp_path, tmp_path / "pool")
    with pytest.raises(ValueError, match="artifact"):
        output.write([Artifact(name, 1, "a" * 64), ArtifactPart(b"1")])
    (tmp_path / "artifacts.json").write_text(json.dumps({name: "a" * 64}))
    assert output.artifacts() == {}
