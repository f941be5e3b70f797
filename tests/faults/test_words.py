"""Words of manifests and errors run nothing and lead nowhere, whatever they are."""

import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import nightly, workloads
from harness.errors import ManifestError, StoreError
from harness.manifest import load
from harness.report.pages import html, verdicts_markdown
from harness.store import Store
from harness.verdict import ExperimentVerdict
from tests.faults.world import REPOSITORY
from tests.report.test_html import Page
from tests.verdict.builders import curve, experiment, failed, trial, value, verdict_on

TINY = (REPOSITORY / "tests" / "cli" / "tiny.yaml").read_text()

TAGS = [
    '!!python/object/apply:os.system ["touch {file}"]',
    "!!python/object/new:os.system [touch {file}]",
    "!!python/object:subprocess.Popen {{args: touch {file}}}",
    "!!python/name:os.system",
    "!!python/module:antigravity",
    "!<tag:yaml.org,2002:python/object/apply:os.system> [touch {file}]",
    "!!binary aGVsbG8=",
    "!include /etc/passwd",
    "!!merge x",
]
NAMES = [
    "os:system",
    "os.system",
    "antigravity",
    "harness.cli:main",
    "harness.workloads.mutual_information:image_pair",
    "../mutual_information",
    "__import__('os').system('touch {file}')",
    "{{{{ cycler.__init__.__globals__.os.system('touch {file}') }}}}",
    "$(touch {file})",
    "`touch {file}`",
    "; touch {file}",
]


def refused(text: str, folder: Path) -> str:
    path = folder / "hostile.yaml"
    path.write_text(text)
    modules = set(sys.modules)
    with pytest.raises(ManifestError) as fault:
        load([path], workloads.registry())
    assert "antigravity" not in set(sys.modules) - modules
    return str(fault.value)


@pytest.mark.parametrize("tag", TAGS)
@pytest.mark.parametrize("place", ["A tiny run of the sequences", "mine_sequence_pair", "4"])
def test_a_tag_loads_no_object_wherever_it_stands(tmp_path: Path, tag: str, place: str) -> None:
    pwned = tmp_path / "pwned"
    said = refused(TINY.replace(f": {place}", f": {tag.format(file=pwned)}", 1), tmp_path)
    assert "tags are not allowed" in said or "not YAML" in said
    assert not pwned.exists()


@pytest.mark.parametrize("name", NAMES)
def test_a_workload_is_one_of_those_installed_and_never_a_path(tmp_path: Path, name: str) -> None:
    pwned = tmp_path / "pwned"
    quoted = '"' + name.format(file=pwned) + '"'
    said = refused(TINY.replace("name: mine_sequence_pair", f"name: {quoted}"), tmp_path)
    assert "workload.name: unknown workload" in said
    assert not pwned.exists()


@pytest.mark.parametrize("tag", TAGS)
def test_the_nights_load_no_object_either(tmp_path: Path, tag: str) -> None:
    pwned, path = tmp_path / "pwned", tmp_path / "nights.yaml"
    path.write_text(f"format: 1\nnights: {{light: {{experiments: [{tag.format(file=pwned)}]}}}}\n")
    with pytest.raises(ManifestError):
        nightly.load_nights(path)
    assert not pwned.exists()


@pytest.mark.parametrize("name", ["../up", "a/b", "..", ".", "/etc", "a\\b", "con fig", "a\n"])
def test_no_night_is_a_way_out_of_the_workspace(tmp_path: Path, name: str) -> None:
    path = tmp_path / "nights.yaml"
    path.write_text(f"format: 1\nnights:\n  {name!r}: {{experiments: [x.yaml]}}\n")
    with pytest.raises(ManifestError, match="small letters, digits"):
        nightly.load_nights(path)


@given(trial_id=st.text(max_size=30) | st.from_regex(r"[0-9a-f./]{18,24}"))
def test_no_trial_is_a_way_out_of_the_workspace(
    tmp_path_factory: pytest.TempPathFactory, trial_id: str
) -> None:
    store = Store(tmp_path_factory.getbasetemp() / "nothing")
    if len(trial_id) == 20 and set(trial_id) <= set("0123456789abcdef"):
        assert store.read(trial_id) is None
    else:
        for look in (store.read, store.done, store.resume_point):
            with pytest.raises(StoreError, match="no trial's id"):
                look(trial_id)


MARKUP = st.lists(
    st.sampled_from(
        [
            *("<script>alert(1)</script>", "</script>", "</style>", "</pre>", "<!--", "-->"),
            *("<img src=x onerror=alert(1)>", "<svg/onload=alert(1)>", "javascript:alert(1)"),
            *("'", '"', "`", "&lt;script&gt;", "&#60;", "]]>", "{{ 7*7 }}", "{% raw %}", "${7*7}"),
            *("\x00", "\x1b[31m", "\u2028", "\u202e", "\ud7ff", "\ufeff", "\r\n", "| a | b |"),
        ]
    )
    | st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=8),
    min_size=1,
    max_size=4,
).map(lambda parts: "x" + "".join(parts))


def _told(words: str) -> ExperimentVerdict:
    """A verdict in which the words stand wherever a manifest or an error has its say."""
    asked = experiment(curve({1: 0.0, 2: 0.5}), value(1.0, name="test"), epochs=2)
    manifest = asked.manifest
    paper = manifest.paper.model_copy(
        update=dict.fromkeys(("title", "author", "listing", "command"), words)
        | {"url": words[1:] or "x"}
    )
    claims = tuple(
        claim.model_copy(update={"name": words + claim.name, "source": words})
        for claim in manifest.claims
    )
    manifest = manifest.model_copy(
        update={"title": words, "unit": words, "paper": paper, "claims": claims}
    )
    failure = replace(failed(1), error=words, message=words, traceback=words)
    seeds = {0: trial([0.0], failure=failure), 1: trial([0.0, 0.5], test=1.0)}
    return verdict_on(asked.model_copy(update={"manifest": manifest}), seeds)


PLAIN = Page(html([_told("plain")]))


@pytest.mark.filterwarnings("ignore:Glyph")  # of letters that no font here has
@settings(max_examples=25)
@given(words=MARKUP)
def test_the_page_has_the_same_elements_whatever_the_words(words: str) -> None:
    page = Page(html([_told(words)]))
    ours = [tag for tag, _ in PLAIN.tags if tag not in _DRAWN]
    assert [tag for tag, _ in page.tags if tag not in _DRAWN] == ours
    assert {tag for tag, _ in page.tags} <= {tag for tag, _ in PLAIN.tags}
    attributes = {(tag, name) for tag, found in PLAIN.tags for name in found}
    assert {(tag, name) for tag, found in page.tags for name in found} <= attributes
    assert not any(href.startswith("javascript:") for href in page.of("a", "href"))


_DRAWN = {"g", "path", "use", "defs", "text", "tspan"}
"""Of an SVG: how many there are follows from the letters that are drawn."""


@settings(max_examples=25)
@given(words=MARKUP)
def test_the_markdown_has_as_many_rows_whatever_the_words(words: str) -> None:
    rows = verdicts_markdown([_told(words)], {}).splitlines()
    plain = verdicts_markdown([_told("plain")], {}).splitlines()
    assert len([row for row in rows if row.startswith("|")]) == len(
        [row for row in plain if row.startswith("|")]
    )
    assert not re.search(r"(?<!\\)(\\\\)*<\w", "\n".join(rows))
