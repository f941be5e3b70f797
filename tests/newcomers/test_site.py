"""The documentation site builds from the repository's own pages and reads without a network."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]

_FETCHED = re.compile(
    r"""<(?:script|img|iframe|source)\b[^>]*\bsrc=["'](?P<src>[^"']+)"""
    r"""|<link\b(?=[^>]*\brel=["'](?:stylesheet|preload|(?:shortcut )?icon)["'])"""
    r"""[^>]*\bhref=["'](?P<href>[^"']+)"""
    r"""|url\(["']?(?P<css>[^"')]+)""",
)
"""What a browser fetches by itself; a link that a reader may follow is not one."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    command = ["-m", "sphinx", "-q", "-W", "--keep-going", "-c", "ci/site", ".", str(out)]
    done = subprocess.run(
        [sys.executable, *command], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return out


def test_every_page_is_built_without_a_warning(site: Path) -> None:
    for page in ("README", "CONTRIBUTING", "experiments/ADD-YOUR-PAPER", "ci/site/reference"):
        assert (site / f"{page}.html").is_file()


def test_the_reference_holds_the_public_api(site: Path) -> None:
    import harness  # noqa: PLC0415 (only this test needs it)

    text = (site / "ci/site/reference.html").read_text(encoding="utf-8")
    for name in harness.__all__:
        # `harness.workload` is a module as well, so the function stands under its own module.
        where = "function.workload" if name == "workload" else name
        assert f'id="harness.{where}"' in text, name


def test_a_page_fetches_nothing_from_another_host(site: Path) -> None:
    foreign = [
        (page.name, found.group(0))
        for page in (*site.rglob("*.html"), *site.rglob("*.css"))
        for found in _FETCHED.finditer(page.read_text(encoding="utf-8", errors="replace"))
        if re.match(r"(https?:)?//", next(filter(None, found.groups())))
    ]
    assert foreign == []


def test_the_contributors_guide_names_files_that_exist() -> None:
    text = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:harness|experiments|tests|ci)/[\w./-]+)`", text))
    assert named
    assert [path for path in sorted(named) if not (REPOSITORY / path).exists()] == []
