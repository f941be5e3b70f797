"""A real browser: the system's own Chromium, driven by Playwright."""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from harness import workloads
from harness.manifest import load
from harness.plan import Selection, jobs
from harness.source import source
from harness.store import Store
from harness.trial import attempt
from tests.cli.conftest import (  # noqa: F401 - fixtures, used by their names
    TINY,
    Harness,
    command,
    environment,
    harness,
)
from tests.tracking.test_server import free_port

ARGUMENTS = [
    "--no-sandbox",  # in a container, as root
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
]

PATIENCE_MS = 120_000
"""How long a page may take on a busy machine. Playwright's own 5 s and 30 s are too short there."""
expect.set_options(timeout=PATIENCE_MS)

Open = Callable[..., Page]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Tests install nothing. Without Chromium they are skipped, but fail under CI."""
    path = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
    if path is None:
        reason = "no chromium; on Debian: apt-get install chromium"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture(scope="session")
def screenshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pictures of the pages are kept: `$HARNESS_SCREENSHOTS`, by default nowhere for long."""
    named = os.environ.get("HARNESS_SCREENSHOTS")
    folder = Path(named) if named else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def open_page(
    browser: Browser, screenshots: Path, request: pytest.FixtureRequest
) -> Iterator[Open]:
    """Opens pages, and takes a picture of each when the test ends."""
    contexts: list[BrowserContext] = []

    def opened(url: str, *, width: int = 1280, **options: object) -> Page:
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        # MLflow opens its assistant over a third of the page, once in each new browser.
        context.add_init_script(
            "try { localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true') }"
            " catch {}"
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.goto(url)
        return page

    yield opened
    name = re.sub(r"\W+", "-", request.node.name).strip("-")
    for number, context in enumerate(contexts):
        for page in context.pages:
            page.screenshot(path=screenshots / f"{name}-{number}.png")
        context.close()


@pytest.fixture(scope="session")
def barriers() -> Callable[[Page], list[str]]:
    """Finds with axe what bars people from a page: light and dark, on a screen and a phone."""
    from axe_playwright_python.sync_playwright import Axe  # noqa: PLC0415 - only these tests need it

    run = Axe().run

    def found(page: Page) -> list[str]:
        page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
        lines = []
        for scheme, width in product(("light", "dark"), (1280, 390)):
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size({"width": width, "height": 900})
            for rule in run(page).response["violations"]:
                places = [node["html"][:160] for node in rule["nodes"][:3]]
                lines.append(f"{scheme}, {width}: {rule['id']}: {places}")
        return lines

    return found


@pytest.fixture(scope="session")
def workspace(harness: Harness, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: F811
    """Seeds 0 and 1 of the tiny experiment, really trained, and projected into MLflow."""
    root = tmp_path_factory.mktemp("looked-at") / "results"
    train(root, harness)
    return root


def train(root: Path, harness: Harness, seeds: tuple[int, ...] | None = None) -> None:  # noqa: F811
    """Train seeds of the tiny experiment, by default its own, and project them into MLflow."""
    registry = workloads.registry()
    store = Store(root)
    with store.lock():
        for job in jobs(load([TINY], registry), registry, Selection(seeds=seeds)):
            messages = attempt(job, registry[job.spec.workload], data={}, source=source())
            store.append([(job.spec, message) for message in messages])
    named = () if seeds is None else ("--seeds", ",".join(map(str, seeds)))
    done = harness("sync", TINY, "--workspace", root, *named)
    assert done.returncode == 0, done.stderr


@contextmanager
def served(
    environment: dict[str, str],  # noqa: F811
    workspace: Path,
    port: int,
) -> Iterator["subprocess.Popen[str]"]:
    """`harness ui`, to be told to end by SIGTERM unless it has ended already."""
    words = command("ui", "--workspace", workspace, "--port", str(port))
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                assert process.wait(60) == 0


@pytest.fixture(scope="session")
def charts(environment: dict[str, str], workspace: Path) -> Iterator[str]:  # noqa: F811
    """The address of the tiny experiment's charts, as `harness ui` prints it."""
    with served(environment, workspace, free_port()) as process:
        assert process.stdout is not None
        printed = dict(process.stdout.readline().strip().split(": ") for _ in range(2))
        assert list(printed) == ["verdicts", "tiny"]
        yield printed["tiny"]
