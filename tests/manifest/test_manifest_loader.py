"""Every rule of a manifest has a fault here, and every fault its line."""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from harness.errors import ManifestError
from harness.manifest import Basis, Experiment, Manifest, discover, load, parse_seeds
from harness.manifest.tree import MAX_DEPTH, number_meant, parse_yaml
from harness.nightly.config import Nights
from harness.record import digest
from harness.workloads.command.section import CommandSection, FunctionSection
from tests.manifest.conftest import SOUND

Read = Callable[..., Experiment]
FaultsOf = Callable[..., list[str]]


def test_a_sound_manifest_is_read_as_it_stands(read: Read) -> None:
    experiment = read(SOUND)

    assert experiment.id == "toy"
    assert experiment.digest == digest(SOUND)
    assert experiment.parameters.model_dump() == {"rate": 1e-4, "sizes": (1, 2), "mode": "fast"}
    manifest = experiment.manifest
    assert manifest.seeds == (0, 1, 2, 5)
    assert manifest.claims[0].reported == {1: 0.5, 10: 1.0}
    assert manifest.workload.parameters["sizes"].basis is Basis.INFERRED
    assert manifest.workload.parameters["sizes"].why == "from page 2"


def test_a_manifest_survives_the_way_to_json_and_back(read: Read) -> None:
    manifest = read(SOUND).manifest

    again = Manifest.model_validate_json(manifest.model_dump_json(exclude_none=True), strict=True)

    assert again == manifest


ONE_FAULT = [
    (rule["there"], rule["instead"], rule["fault"])
    for rule in yaml.safe_load(Path(__file__).with_name("one_fault.yaml").read_text())
]


@pytest.mark.parametrize(("there", "instead", "line"), ONE_FAULT)
def test_one_fault_gets_its_own_line(
    read: Read, faults_of: FaultsOf, there: str, instead: str, line: str | None
) -> None:
    assert SOUND.count(there) >= 1
    text = SOUND.replace(there, instead, 1)

    if line is None:
        read(text)
    else:
        assert any(fault.startswith(f"toy.yaml:{line}") for fault in faults_of(text))


def test_one_fault_gets_no_second_line(faults_of: FaultsOf) -> None:
    doubled = {
        text: faults
        for there, instead, line in ONE_FAULT
        if line and len(faults := faults_of(text := SOUND.replace(there, instead, 1))) > 1
    }
    # These break two: a name that went is missing.
    several = {SOUND.replace("{1: 0.5, 10: 1}", "{1.5: 0.5}", 1): 2}
    several[SOUND.replace("title: A toy", "titel: A toy", 1)] = 2
    several[SOUND.replace("reason: a misprint", "because: x", 1)] = 2
    assert {text: len(faults) for text, faults in doubled.items()} == several


def unions(schema: Any, place: str = "") -> Iterator[str]:
    """The places in pydantic's schema of a model whose value may have one of several types."""
    if isinstance(schema, dict):
        if schema.get("type") == "union":
            yield place
        for key, inner in schema.items():
            if key not in ("metadata", "json_schema_input_schema"):
                yield from unions(inner, f"{place}.{key}")
    elif isinstance(schema, list | tuple):
        for inner in schema:
            yield from unions(inner, place)


@pytest.mark.parametrize("model", [Manifest, Nights, CommandSection, FunctionSection])
def test_a_value_of_several_types_is_told_apart_by_its_shape(model: type[BaseModel]) -> None:
    """Else pydantic reports a fault of each type, with its own name for the type."""
    assert list(unions(model.__pydantic_core_schema__)) == []


def test_ten_faults_get_ten_lines(faults_of: FaultsOf) -> None:
    text = SOUND
    for there, instead in [
        ("title: A toy", "title: A toy\nsubtitle: x"),
        ("author: A. Nother", "author: 3"),
        ("value: 1e-4", "value: '1e-4'"),
        ("value: fast", "value: fats"),
        ("0-2,5", "5-0"),
        ("threads: 1", "threads: 1, thread: 1"),
        ("name: start", "name: rows"),
        ("{1: 0.5, 10: 1}", "{1: 0.5, 30: 1}"),
        ("{value: 0.1, reason: a tenth of a point}", "{value: -0.1, reason: x}"),
        ("decimals: 1", "decimals: 1\n    decimals: 2"),
    ]:
        text = text.replace(there, instead, 1)

    faults = faults_of(text)

    assert len(faults) == 10
    lines = [int(fault.split(":")[1]) for fault in faults]
    assert lines == sorted(lines)
    assert len(set(lines)) == 10


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (b"", "toy.yaml:1: the file is empty; it must hold a mapping of fields"),
        (b"# only this\n", "toy.yaml:1: the file is empty; it must hold a mapping of fields"),
        (b"---\n", "toy.yaml:1: the file is empty; it must hold a mapping of fields"),
        (b"- 1\n", "toy.yaml:1: must be a mapping of fields, got a list"),
        (b"4\n", "toy.yaml:1: must be a mapping of fields, got 4"),
        (b"a: 1\nb: \xff\n", "toy.yaml:2: not UTF-8: invalid start byte"),
        (b"a: 1\nb: [\n", "toy.yaml:3: not YAML: "),
        (b"a: 1\nb: \x01\n", "toy.yaml:2: not YAML: control characters are not allowed"),
        (
            b"a: 1\n---\nb: 1\n",
            "toy.yaml:2: not YAML: a second document begins here; a file holds one",
        ),
        (b"a:\n\tb: 1\n", "toy.yaml:2: not YAML: a tab indents this line; indent with spaces"),
        ("a: 1".encode("utf-16"), "toy.yaml:1: not UTF-8: it is UTF-16; save it as UTF-8"),
        (b"a: &a {<<: *a}\n", f"toy.yaml:1: a: aliases nest deeper than {MAX_DEPTH} levels"),
        (b"a: *b\n", "toy.yaml:1: not YAML: found undefined alias"),
        (b"a: " + b"[" * 100_000, f"toy.yaml:1: nested deeper than {MAX_DEPTH} levels"),
        (b"a: &a [*a]\n", f"toy.yaml:1: a: aliases nest deeper than {MAX_DEPTH} levels"),
        (b"#" * (2**20 + 1), "toy.yaml: larger than 1048576 bytes"),
    ],
)
def test_what_is_no_manifest_at_all_is_said_in_one_line(
    faults_of: FaultsOf, text: bytes, fault: str
) -> None:
    (only,) = faults_of(text)
    assert only.startswith(fault)


def test_a_billion_laughs_are_refused_in_bounded_memory(faults_of: FaultsOf) -> None:
    levels = [f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 9)}]" for i in range(1, 20)]

    (only,) = faults_of("\n".join(["l0: &l0 [lol]", *levels]))

    assert "values once aliases are expanded" in only


def test_an_anchor_may_save_typing(read: Read) -> None:
    text = SOUND.replace("{value: 0.1, reason: a tenth of a point}", "&t {value: 1, reason: x}")
    text = text.replace("{value: 1, reason: an epoch}", "*t")

    claims = read(text).manifest.claims

    assert claims[0].tolerance == claims[1].tolerance


@pytest.mark.parametrize("ends", ["\r\n", "\r"])
@pytest.mark.parametrize("starts", ["", "\ufeff", "---\n", "%YAML 1.2\n---\n"])
def test_line_ends_and_byte_order_mark_change_nothing(read: Read, starts: str, ends: str) -> None:
    told = read((starts + SOUND).replace("\n", ends))

    assert told.manifest == read(SOUND).manifest


def test_a_merge_key_takes_over_what_the_mapping_does_not_say_itself(read: Read) -> None:
    text = SOUND.replace("{value: 0.1, reason: a tenth of a point}", "&t {value: 7, reason: x}")
    text = text.replace("{value: 1, reason: an epoch}", "{<<: *t, value: 3}")

    first, second = (claim.tolerance for claim in read(text).manifest.claims[:2])

    assert (first.value, first.reason) == (7, "x")
    assert (second.value, second.reason) == (3, "x")


def test_a_billion_merged_laughs_are_refused_in_bounded_memory(faults_of: FaultsOf) -> None:
    levels = [
        f"l{i}: &l{i} {{{', '.join(f'k{j}: *l{i - 1}' for j in range(9))}, <<: *l{i - 1}}}"
        for i in range(1, 20)
    ]

    (only,) = faults_of("\n".join(["l0: &l0 {lol: 1}", *levels]))

    assert "values once aliases are expanded" in only


@given(number=st.integers(-(10**15), 10**15) | st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_in_quotes_is_meant_as_itself(number: float) -> None:
    meant = number_meant(repr(number))
    assert meant is not None
    assert float(meant) == number


@given(number=st.integers(1000, 10**12))
def test_every_way_to_write_a_whole_number_means_that_number(number: int) -> None:
    ways = [f"{number:,}", f"{number:_}", f"0{number}", hex(number), oct(number), bin(number)]
    assert {number_meant(way) for way in ways} == {str(number)}


@pytest.mark.parametrize("text", ["", "four", "1,2,3", "12:30", "1-2", "0x", "1__0", "nan", "5%"])
def test_what_looks_like_no_number_is_not_guessed_at(text: str) -> None:
    assert number_meant(text) is None


def test_a_rival_that_is_not_there_is_a_warning_with_its_line(read: Read) -> None:
    text = SOUND.replace("claims:", "rivals:\n  - {name: a, reason: r, experiment: b}\nclaims:")
    (warning,) = read(text).warnings
    assert warning.partition("toy.yaml:")[2] == (
        "19: rivals[0].experiment: no manifest b in this folder, "
        "so no verdict says whether it excludes this"
    )
    read(SOUND, "b.yml")
    assert not read(text).warnings


def test_a_rival_that_is_a_grid_or_has_faults_is_refused_with_its_line(
    tmp_path: Path, registry: Mapping[str, Any]
) -> None:
    def with_rival(name: str) -> str:
        rival = f"rivals:\n  - {{name: a, reason: r, experiment: {name}}}\nclaims:"
        return SOUND.replace("claims:", rival)

    (tmp_path / "toy.yaml").write_text(with_rival("other"))
    (tmp_path / "other.yaml").write_text(with_rival("grid"))
    grid = with_rival("toy").replace("value: 0.1", "value: $rate", 1)
    (tmp_path / "grid.yaml").write_text(grid + "grid:\n  rate: [0.1, 0.2]\n")
    with pytest.raises(ManifestError) as caught:
        load([tmp_path / "toy.yaml"], registry)
    (only,) = str(caught.value).splitlines()
    assert only.partition("other.yaml:")[2] == (
        "19: rivals[0].experiment: grid.yaml is a grid of 2 experiments; a rival is one"
    )
    (tmp_path / "grid.yaml").write_text(with_rival("toy"))
    (one,) = load([tmp_path / "toy.yaml"], registry)
    assert one.id == "toy"
    (tmp_path / "other.yml").write_text(SOUND)
    with pytest.raises(
        ManifestError, match=r"experiment: other\.yaml and other\.yml are both there"
    ):
        load([tmp_path / "toy.yaml"], registry)
    (tmp_path / "other.yml").unlink()
    (tmp_path / "other.yaml").write_text(SOUND.replace("epochs:", "epoch:"))
    with pytest.raises(ManifestError, match=r"other.yaml:\d+: epoch: unknown field"):
        load([tmp_path / "toy.yaml"], registry)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_the_right_to_read_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "toy.yaml").write_text(SOUND)
    (tmp_path / "toy.yaml").chmod(0)
    with pytest.raises(ManifestError, match=r"toy.yaml: cannot be read: Permission denied"):
        load([tmp_path / "toy.yaml"], {})


def test_a_path_that_the_system_refuses_is_named(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"cannot be read: File name too long"):
        load([tmp_path / ("x" * 300 + ".yaml")], {})


@pytest.mark.parametrize("name", ["Toy.yaml", "a toy.yaml", "toy-.yml", "..toy.yaml"])
def test_an_id_is_a_plain_name(faults_of: FaultsOf, name: str) -> None:
    (only,) = faults_of(SOUND, name)
    assert only.startswith(f"{name}: the file's name is the experiment's id")


def test_files_come_in_the_order_of_their_ids_and_each_once(
    tmp_path: Path, registry: Mapping[str, Any]
) -> None:
    for name in ("b.yaml", "a.yml", "c.yaml"):
        (tmp_path / name).write_text(SOUND)
    (tmp_path / "notes.txt").write_text("not one of them")

    loaded = load([tmp_path / "c.yaml", tmp_path], registry)

    assert [experiment.id for experiment in loaded] == ["a", "b", "c"]
    assert discover([tmp_path]) == tuple(experiment.path for experiment in loaded)


def test_every_fault_of_every_path_is_said_at_once(
    tmp_path: Path, registry: Mapping[str, Any]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "toy.yaml").write_text(SOUND.replace("format: 1", "format: 2"))
    (tmp_path / "toy.yml").write_text(SOUND)

    with pytest.raises(ManifestError) as caught:
        load([tmp_path, tmp_path / "empty", tmp_path / "absent.yaml"], registry)

    assert str(caught.value).replace(f"{tmp_path}/", "").split("\n") == [
        "absent.yaml: no such file or folder",
        "empty: no manifest (*.yaml, *.yml) in this folder",
        "toy.yaml:1: format: format 2 is unknown; this harness reads format 1",
        "toy.yml: the id toy is also that of toy.yaml; rename one of the files",
    ]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(content=st.binary(max_size=300))
@example(b'a: "\\ud800"')
@example(b"a: 1e99999\nb: " + b"9" * 5000)
def test_no_bytes_raise_anything_but_our_own_error(read: Read, content: bytes) -> None:
    with pytest.raises(ManifestError):
        read(content)


TOKENS = [
    *(
        "[",
        "]",
        "{",
        "}",
        "&a ",
        "*a",
        "!!int ",
        "!x ",
        ": ",
        "\n",
        "\n  ",
        "- ",
        '"',
        "'",
        "|",
        ">",
    ),
    *("#", "\0", "\ufeff", "1e999", ".nan", "~", "<<: ", "? ", "%YAML 1.1\n---\n", "\t", "\u2028"),
]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    slips=st.lists(
        st.tuples(st.integers(0, len(SOUND)), st.sampled_from(TOKENS), st.integers(0, 9)),
        min_size=1,
        max_size=5,
    )
)
@example(slips=[(SOUND.index("1e-4"), "!!int ", 0)])
def test_no_slip_of_the_hand_raises_anything_but_our_own_error(
    read: Read, slips: list[tuple[int, str, int]]
) -> None:
    text = SOUND
    for place, token, lost in slips:
        text = text[:place] + token + text[place + lost :]

    try:
        read(text)
    except ManifestError as error:
        assert all("\n" not in str(fault) for fault in error.faults)  # noqa: PT017 (may not raise)


LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
TREES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["value", "name", "kind", "reported", "1", "<rows>"]) | st.text(),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data(), tree=TREES)
def test_no_tree_in_any_place_raises_anything_but_our_own_error(
    read: Read, data: st.DataObject, tree: Any
) -> None:
    root, _ = parse_yaml(SOUND, "sound")
    assert root is not None
    whole = root.plain()
    here = whole
    while True:  # down to some place of the sound manifest, whatever it is
        key = data.draw(
            st.sampled_from(sorted(here) if isinstance(here, dict) else range(len(here)))
        )
        if not isinstance(here[key], dict | list) or data.draw(st.booleans()):
            break
        here = here[key]
    here[key] = tree

    try:
        read(json.dumps(whole))
    except ManifestError as error:
        assert all("\n" not in str(fault) for fault in error.faults)  # noqa: PT017 (may not raise)


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("0", (0,)), ("0-3", (0, 1, 2, 3)), ("5, 0-2,1", (0, 1, 2, 5)), ("7-7", (7,))],
)
def test_seeds_are_sorted_and_each_comes_once(text: str, seeds: tuple[int, ...]) -> None:
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "-1", "1-", "3-1", "a", "1.5", "0-4294967296", "0-2000000"])
def test_what_names_no_seeds_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="seeds"):
        parse_seeds(text)


@given(st.sets(st.integers(0, 2**32 - 1), min_size=1, max_size=20))
def test_any_seeds_can_be_written(seeds: set[int]) -> None:
    assert parse_seeds(",".join(map(str, seeds))) == tuple(sorted(seeds))
