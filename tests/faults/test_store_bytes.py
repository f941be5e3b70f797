"""Broken bytes in a workspace: nothing but our own errors, and never a made-up record."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from harness.errors import StoreError
from harness.store import Store
from tests.store.trials import curve, quiet, run
from tests.toy import job

TRIAL = job(epochs=3)
FILES = ["spec.json", "records.jsonl", "checkpoint.pt", "result.json"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Three epochs, done."""
    store = Store(tmp_path_factory.mktemp("finished") / "results")
    run(store, TRIAL, checkpoint_interval_s=0)
    return store


def sealed(body: str | bytes) -> bytes:
    """Whatever it is, with a digest that is right."""
    text = body.encode() if isinstance(body, str) else body
    return b'{"sha256":"%s","body":%s}\n' % (hashlib.sha256(text).hexdigest().encode(), text)


def body(line: bytes) -> Any:
    return json.loads(line)["body"]


def read_all(root: Path) -> None:
    """Everything that reads a workspace; what it believes must be true."""
    try:
        store = Store(root)
        for trial_id in store.trials():
            seen = curve(store.read(trial_id))
            assert seen == quiet(TRIAL)[: len(seen)]
            store.done(trial_id)
            store.settled(trial_id, 3)
            store.resume_point(trial_id)
    except StoreError as error:
        assert str(root) in str(error)  # noqa: PT017 (may not raise)


def with_file(store: Store, name: str, content: bytes, then: Callable[[Path], None]) -> None:
    """Put `content` in the place of a file for as long as `then` looks at it."""
    folder = store.root if name == "workspace.json" else store.root / "trials" / TRIAL.spec.id
    sound = (folder / name).read_bytes()
    (folder / name).write_bytes(content)
    try:
        then(store.root)
    finally:
        (folder / name).write_bytes(sound)


DEEP = b"[" * 2_000
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=8,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from([*FILES, "workspace.json"]), content=st.binary(max_size=200))
@example(name="spec.json", content=DEEP)
@example(name="workspace.json", content=DEEP)
@example(name="workspace.json", content=b'{"format": true}')
@example(name="workspace.json", content=b'{"format": {"a": 1}}')
@example(name="spec.json", content=b'{"workload": "\xff"}')
@example(name="result.json", content=b"\n")
def test_no_bytes_raise_anything_but_our_own_error(
    finished: Store, name: str, content: bytes
) -> None:
    with_file(finished, name, content, read_all)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(FILES[2:]), value=JSON)
def test_a_seal_on_something_else_is_not_believed(finished: Store, name: str, value: Any) -> None:
    with_file(finished, name, sealed(json.dumps(value)), read_all)


@pytest.mark.parametrize(
    "place", [("result.json", "checkpoint.pt"), ("checkpoint.pt", "result.json")]
)
def test_a_file_in_the_place_of_another_of_the_same_trial_is_not_believed(
    finished: Store, place: list[str]
) -> None:
    folder = finished.root / "trials" / TRIAL.spec.id
    moved = (folder / place[0]).read_bytes().splitlines(keepends=True)[0]
    with_file(finished, place[1], moved, read_all)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), value=JSON)
def test_no_value_in_any_place_under_a_right_seal_raises_anything_but_our_own_error(
    finished: Store, data: st.DataObject, value: Any
) -> None:
    name = data.draw(st.sampled_from(FILES[2:]))
    line, *rest = (
        (finished.root / "trials" / TRIAL.spec.id / name).read_bytes().split(b"\n", maxsplit=1)
    )
    whole = here = body(line)
    while True:
        keys = sorted(here) if isinstance(here, dict) else range(len(here))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(here[key], dict | list) or not here[key] or data.draw(st.booleans()):
            break
        here = here[key]
    here[key] = value
    content = sealed(json.dumps(whole)) + b"".join(rest)
    with_file(finished, name, content, lambda root: _reads(Store(root)))


def _reads(store: Store) -> None:
    """Whoever can make seals can make results: only that it is our own error is asked."""
    try:
        store.read(TRIAL.spec.id)
        store.resume_point(TRIAL.spec.id)
        store.settled(TRIAL.spec.id, 3)
    except StoreError:
        pass


def test_records_that_no_version_wrote_are_named_though_their_digest_is_right(
    finished: Store,
) -> None:
    folder = finished.root / "trials" / TRIAL.spec.id
    records = b'{"epoch": 1}\n'
    result = body((folder / "result.json").read_bytes())
    result["covered"] = {
        "epochs": 1,
        "length": len(records),
        "sha256": hashlib.sha256(records).hexdigest(),
    }
    checkpoint = folder / "checkpoint.pt"
    kept = checkpoint.read_bytes()
    checkpoint.unlink()
    try:

        def refused(root: Path) -> None:
            with pytest.raises(StoreError, match="jsonl: not records"):
                Store(root).read(TRIAL.spec.id)

        def with_records(_: Path) -> None:
            with_file(finished, "records.jsonl", records, refused)

        with_file(finished, "result.json", sealed(json.dumps(result)), with_records)
    finally:
        checkpoint.write_bytes(kept)


@pytest.mark.parametrize("name", [*FILES, "trials", "workspace.json", "driver.json"])
def test_a_folder_in_the_place_of_a_file_is_named(tmp_path: Path, name: str) -> None:
    store = Store(tmp_path / "results")
    run(store, TRIAL)
    path = store.root / name if name not in FILES else store.root / "trials" / TRIAL.spec.id / name
    if path.is_dir():
        path.rename(tmp_path / "away")
        path.write_text("")
    else:
        path.unlink()
        path.mkdir()
    with pytest.raises(StoreError, match=name):
        resumed(store.root)


def resumed(root: Path) -> None:
    """What a driver does with a workspace."""
    again = Store(root)
    run(again, job(epochs=4))
    again.read(TRIAL.spec.id)
