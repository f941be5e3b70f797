"""Damage is detected and the trial redone: never is a damaged byte believed."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.store import Store, files
from tests.store.trials import curve, final, quiet, run
from tests.toy import job

FILES = ["spec.json", "records.jsonl", "checkpoint.pt", "result.json"]


def truncate(file: Path, _: Path) -> None:
    file.write_bytes(file.read_bytes()[:-5])


def empty(file: Path, _: Path) -> None:
    file.write_bytes(b"")


def remove(file: Path, _: Path) -> None:
    file.unlink()


def flip(file: Path, _: Path) -> None:
    whole = bytearray(file.read_bytes())
    whole[len(whole) // 2] ^= 1
    file.write_bytes(whole)


def swap(file: Path, other: Path) -> None:
    shutil.copy(other, file)


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("damage", [truncate, empty, flip, swap, remove])
def test_a_damaged_trial_is_redone_from_its_last_sound_state_and_said_so(
    store: Store,
    caplog: pytest.LogCaptureFixture,
    file: str,
    damage: Callable[[Path, Path], None],
) -> None:
    mine, other = job(0, epochs=6), job(1, epochs=6)
    run(store, mine)
    run(store, other)
    folders = [store.root / "trials" / each.spec.id for each in (mine, other)]
    damage(folders[0] / file, folders[1] / file)
    longer = job(0, epochs=9)
    caplog.clear()
    run(store, longer)
    assert damage is remove or f"{mine.spec.id}/{file}" in caplog.text
    stored = store.read(mine.spec.id)
    assert stored is not None
    assert stored.done == 9
    assert curve(stored) == quiet(longer)
    assert dict(stored.finals[9].metrics) == final(longer)
    assert curve(store.read(other.spec.id)) == quiet(other)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Store:
    store = Store(tmp_path_factory.mktemp("finished") / "results")
    run(store, job(epochs=3), checkpoint_interval_s=0)
    return store


@given(file=st.sampled_from(FILES), place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_flipped_bit_is_ever_taken_for_a_result(
    finished: Store, file: str, place: float, bit: int
) -> None:
    trial = job(epochs=3)
    path = finished.root / "trials" / trial.spec.id / file
    sound = path.read_bytes()
    damaged = bytearray(sound)
    damaged[int(place * len(sound))] ^= 1 << bit
    path.write_bytes(damaged)
    try:
        stored = finished.read(trial.spec.id)
        assert curve(stored) == quiet(trial)[: len(curve(stored))]
        if stored is not None and stored.done:
            assert dict(stored.finals[3].metrics) == final(trial)
        point = finished.resume_point(trial.spec.id)
        assert point is None or file != "checkpoint.pt"
    finally:
        path.write_bytes(sound)
    assert finished.done(trial.spec.id) == 3


@pytest.mark.parametrize("token", [b"NaN", b"[-Infinity]", b"1e999", b"1" + b"0" * 400 + b".0"])
def test_a_number_that_json_does_not_have_is_damage_also_under_a_right_digest(token: bytes) -> None:
    def sealed(judged: bytes) -> bytes:
        body = b'{"tolerances":{},"judged":{"alpha":%s},"origin":""}' % judged
        digest = hashlib.sha256(body).hexdigest().encode()
        return b'{"sha256":"%s","body":%s}\n' % (digest, body)

    assert files.DECLARATION.read(sealed(b'"NaN"')).judged == {"alpha": "NaN"}
    with pytest.raises(files.CorruptError, match="not what belongs there"):
        files.DECLARATION.read(sealed(token))
