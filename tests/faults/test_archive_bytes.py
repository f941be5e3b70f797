"""Broken committed records: only our own error, with its line, even under a right digest."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from harness.cli import app
from harness.errors import HarnessError, StoreError
from harness.store import Archive
from harness.store.archive import decoded, encoded
from harness.store.files import CorruptError

NAME = "gaussian-2d-rho-50"
EXPERIMENTS = Path("experiments")
SOUND = (EXPERIMENTS / "records" / f"{NAME}.jsonl").read_bytes()
DECLARED, *TRIALS = SOUND.splitlines()[1:]
DEEP = b"[" * 50_000
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=8,
)


def sealed(*lines: bytes) -> bytes:
    """A file of these lines, with a digest that is right."""
    body = b"".join(line + b"\n" for line in lines)
    return b'{"format":1,"sha256":"%s"}\n%s' % (hashlib.sha256(body).hexdigest().encode(), body)


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest with a folder of committed records beside it."""
    folder = tmp_path_factory.mktemp("clone")
    (folder / "records").mkdir()
    return Path(shutil.copy(EXPERIMENTS / f"{NAME}.yaml", folder))


def check(manifest: Path, content: bytes) -> None:
    """Judge by these records: there is a verdict, or an error of ours that names the file."""
    file = Archive(manifest.parent / "records").file(NAME)
    file.write_bytes(content)
    arguments = ["check", str(manifest), "--committed", "--workspace", str(manifest.parent / "no")]
    outcome = CliRunner().invoke(app, arguments)
    if isinstance(outcome.exception, HarnessError):
        assert f"{file}:" in str(outcome.exception)
    else:
        assert isinstance(outcome.exception, SystemExit | None), outcome.exception
    kept = None
    try:
        kept = Archive(file.parent).kept(NAME)
    except StoreError:
        return
    encoded(kept)  # what was believed can be written again


def put(line: bytes, data: st.DataObject, value: Any) -> bytes:
    """The line with a value in some place of it."""
    whole = here = json.loads(line)
    while True:
        keys = sorted(here) if isinstance(here, dict) else range(len(here))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(here[key], dict | list) or not here[key] or data.draw(st.booleans()):
            break
        here = here[key]
    if data.draw(st.booleans()):
        here[key] = value
    elif isinstance(here, dict):
        del here[key]
    else:
        here.pop(key)
    return json.dumps(whole).encode()


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data(), value=JSON)
def test_no_value_in_any_place_of_committed_records_raises_anything_but_our_own_error(
    clone: Path, data: st.DataObject, value: Any
) -> None:
    lines = [DECLARED, *TRIALS]
    number = data.draw(st.sampled_from(range(len(lines))))
    lines[number] = put(lines[number], data, value)
    check(clone, sealed(*lines))


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(content=st.binary(max_size=200), sealed_too=st.booleans())
@example(content=DEEP, sealed_too=False)
@example(content=DEEP, sealed_too=True)
@example(content=b'{"declared":{"a":1}}\n{"spec":' + DEEP, sealed_too=True)
@example(content=b'{"format":' + DEEP + b"}", sealed_too=False)
@example(content=b'{"format":1,"sha256":null}\n', sealed_too=False)
@example(content=b"", sealed_too=True)
@example(content=b"\xff\xfe", sealed_too=True)
def test_no_bytes_as_committed_records_raise_anything_but_our_own_error(
    clone: Path, content: bytes, sealed_too: bool
) -> None:
    check(clone, sealed(*content.split(b"\n")) if sealed_too else content)


def leaves(value: Any, *place: str | int) -> Iterator[tuple[str | int, ...]]:
    """The places in a line, of which a list gives one."""
    yield place
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves(inner, *place, name)
    elif isinstance(value, list) and value:
        yield from leaves(value[0], *place, 0)


@pytest.mark.parametrize("token", ["NaN", "-Infinity", "1e999", '{"inside": [1e999]}'])
def test_a_number_that_json_does_not_have_is_refused_in_every_place(token: str) -> None:
    """Also where a line holds any JSON: the settings of an environment, what was judged."""
    for number, text in enumerate((DECLARED, TRIALS[0]), start=2):
        for place in leaves(json.loads(text)):
            if not place:
                continue
            whole = here = json.loads(text)
            for step in place[:-1]:
                here = here[step]
            here[place[-1]] = "PUT HERE"
            line = json.dumps(whole).replace('"PUT HERE"', token).encode()
            lines = [line, TRIALS[0]] if number == 2 else [DECLARED, line]
            with pytest.raises(CorruptError) as caught:
                decoded(sealed(*lines))
            assert caught.value.line == number, place  # type: ignore[attr-defined]


def changed(**fields: Any) -> bytes:
    return json.dumps({**json.loads(TRIALS[0]), **fields}).encode()


WHOLE = json.loads(TRIALS[0])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (changed(seconds=WHOLE["seconds"][:-1]), r"seconds: \d+ values for \d+ epochs"),
        (changed(seconds=[float("inf"), *WHOLE["seconds"][1:]]), "seconds.0: .*finite"),
        (changed(ended_ms=[10**30, *WHOLE["ended_ms"][1:]]), "ended_ms.0: "),
        (changed(done=10_000), "done: 10000, but there are"),
        (changed(done="1"), "done: .*integer"),
        (changed(spec=WHOLE["spec"] | {"seed": -1}), "spec.seed: must be from 0"),
        (
            changed(spec=WHOLE["spec"] | {"parameters": {"rate": float("nan")}}),
            "spec.parameters: must hold finite numbers, got NaN or infinity",
        ),
        (
            TRIALS[0].replace(b'"settings":{', b'"settings":{"rounding":NaN,', 1),
            "provenance.0.environment.settings: must hold finite numbers",
        ),
        (changed(extra=1), "extra: "),
        (TRIALS[0].replace(b'"done":', b'"done":7,"done":', 1), "done: twice in one object"),
        (b"", "Invalid JSON"),
        (TRIALS[0], "seed 0 is on line 3 already"),
    ],
)
def test_what_is_wrong_with_committed_records_is_told_with_file_line_and_field(
    tmp_path: Path, line: bytes, message: str
) -> None:
    two = json.loads(TRIALS[0])
    two["spec"]["seed"] = 1
    archive = Archive(tmp_path)
    archive.file(NAME).write_bytes(sealed(DECLARED, TRIALS[0], json.dumps(two).encode(), line))
    with pytest.raises(StoreError, match=rf"{NAME}\.jsonl:5: {message}"):
        archive.kept(NAME)
