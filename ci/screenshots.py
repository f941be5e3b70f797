"""Render the pictures of what people see first: `python ci/screenshots.py FOLDER`.

From the committed records it draws the report at two widths, light, dark and on paper, the terminal
at 80 columns, and MLflow: the page of verdicts, the charts on the plain path, and the list of runs.
Two small nights give their summary, their history and their badge. It needs Chromium and the
package's `test` extra, and takes some minutes. `screenshots.py FOLDER nights` renders only the
nights; the other names are `terminal`, `report` and `mlflow`.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from pathlib import Path

from markdown_it import MarkdownIt
from playwright.sync_api import Browser, Page, sync_playwright

from harness.errors import Exit

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
WIDTHS = (1280, 390)
SCHEMES = ("light", "dark")
PATIENCE_MS = 120_000
SHOWN = "experiments/image-pair-8.yaml"
NIGHTS = """format: 1
nights:
  small: {experiments: [%s], seeds: "0", time_limit_min: 10, keep: 7}
"""
COMMAND = [sys.executable, "-c", "from harness.cli import main; main()"]
STYLE = """<meta charset="utf-8"><style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 24px; }
pre { font: 14px/1.3 monospace; }
table { border-collapse: collapse; } td, th { border: 1px solid #ccc; padding: 4px 8px; }
</style>"""


def harness(*words: str, code: int = Exit.AS_EXPECTED) -> str:
    """Run a command of the harness at 80 columns, which must end with this exit code."""
    done = subprocess.run(
        [*COMMAND, *words],
        env=os.environ | {"COLUMNS": "80"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != code:
        raise SystemExit(f"harness {' '.join(words)}: exit code {done.returncode}\n{done.stderr}")
    return done.stdout


def opened(browser: Browser, url: str, *, width: int = 1280, scheme: str = "light") -> Page:
    """Open a page in a browser that has never seen it."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    # MLflow opens its assistant over a third of the page, once in each new browser.
    context.add_init_script(
        "try { localStorage.setItem('mlflow.assistant.fab.autoOpenedOnFirstLoad_v1', 'true') }"
        " catch {}"
    )
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.goto(url)
    return page


def picture_report(browser: Browser, folder: Path) -> None:
    harness("report", "experiments", "--committed", "--out", str(folder / "report"))
    report = (folder / "report" / "report.html").resolve()
    for width in WIDTHS:
        for scheme in SCHEMES:
            page = opened(browser, report.as_uri(), width=width, scheme=scheme)
            page.screenshot(path=folder / f"report-{width}-{scheme}.png")
            page.locator(".forest").screenshot(path=folder / f"overview-{width}-{scheme}.png")
            page.locator(".experiment figure").first.scroll_into_view_if_needed()
            page.locator(".live.drawn canvas").first.wait_for()
            page.screenshot(path=folder / f"curves-{width}-{scheme}.png")
            page.close()
    page = opened(browser, report.as_uri())
    page.pdf(path=folder / "report.pdf", prefer_css_page_size=True)


def picture_text(browser: Browser, html: str, name: str, folder: Path) -> None:
    page = opened(browser, "about:blank", width=900)
    page.set_content(STYLE + html)
    page.screenshot(path=folder / f"{name}.png", full_page=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def served(workspace: Path) -> Iterator[str]:
    """Run `harness ui`, and yield its address."""
    port = free_port()
    words = [*COMMAND, "ui", "--workspace", str(workspace), "--port", str(port)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            if not process.stdout.readline():  # a line is printed once the server answers
                raise SystemExit("harness ui: it ended before it served")
            yield f"http://127.0.0.1:{port}/"
        finally:
            process.send_signal(signal.SIGTERM)


def picture_mlflow(browser: Browser, folder: Path) -> None:
    """Go from MLflow's front page to the curves in two clicks, and from there to the list."""
    workspace = folder / "workspace"
    harness("run", SHOWN, "--from-records", "--workspace", str(workspace))
    with served(workspace) as address:
        page = opened(browser, address + "harness")
        page.screenshot(path=folder / "mlflow-verdicts.png")
        page = opened(browser, address)
        page.get_by_role("link", name="Experiments").first.click()
        page.get_by_role("link", name=Path(SHOWN).stem, exact=True).first.click()
        page.wait_for_function(
            "[...document.querySelectorAll('.js-plotly-plot')].some(plot => plot.data.length > 9)"
        )
        page.wait_for_timeout(1000)  # the lines are drawn one after the other
        page.screenshot(path=folder / "mlflow-curves.png")
        page.goto(page.url.replace("&compareRunsMode=CHART", ""))
        page.get_by_role("columnheader", name="within tolerance").first.wait_for()
        page.screenshot(path=folder / "mlflow-runs.png")


def picture_nights(browser: Browser, folder: Path) -> None:
    """Run two small nights, and picture the last one's summary and the history of both."""
    config = folder / "nights.yaml"
    config.write_text(NIGHTS % Path("experiments/gaussian-2d-rho-90.yaml").resolve())
    for _ in range(2):
        harness("nightly", "--night", "small", "--config", str(config), "--workspace", str(folder))
    summary = sorted(folder.glob("nights/small/*/summary.md"))[-1].read_text()
    picture_text(browser, MarkdownIt().enable("table").render(summary), "night-summary", folder)
    badge = (folder / "nights" / "small.svg").read_text()
    picture_text(browser, badge, "night-badge", folder)
    history = (folder / "nights" / "small.html").resolve()
    for width in WIDTHS:
        page = opened(browser, history.as_uri(), width=width)
        page.screenshot(path=folder / f"night-history-{width}.png")


def picture_terminal(browser: Browser, folder: Path) -> None:
    # The second paper's grid is committed in part, so the command ends as incomplete.
    terminal = harness("check", "experiments", "--committed", code=Exit.INCOMPLETE)
    picture_text(browser, f"<pre>{escape(terminal)}</pre>", "terminal-80", folder)


PARTS: dict[str, Callable[[Browser, Path], None]] = {
    "terminal": picture_terminal,
    "report": picture_report,
    "mlflow": picture_mlflow,
    "nights": picture_nights,
}


def main(folder: Path, *parts: str) -> None:
    """Render some parts, or all of them if none is named."""
    unknown = sorted({*parts} - {*PARTS})
    if unknown:
        raise SystemExit(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}")
    path = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
    if path is None:
        raise SystemExit("no chromium; on Debian: apt-get install chromium")
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        for part in parts or PARTS:
            PARTS[part](browser, folder)
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
