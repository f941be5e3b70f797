"""Render the pictures of what people see first: `python ci/screenshots.py FOLDER`.

From the committed records it draws the report at two widths, light, dark and on paper, the terminal
at 80 columns, and MLflow: the page of verdicts, the charts on the plain path, and the list of runs.
Two small nights give their summary and their history. It needs Chromium and the package's `test`
extra, and takes some minutes.
"""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from pathlib import Path

from markdown_it import MarkdownIt
from playwright.sync_api import Browser, Page, sync_playwright

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
WIDTHS = (1280, 390)
SCHEMES = ("light", "dark")
PATIENCE_MS = 120_000
SHOWN = "experiments/image-pair-8.yaml"
PORT = "5017"
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


def harness(*words: str) -> str:
    """Run a command of the harness at 80 columns; a verdict that is open or missing is no error."""
    done = subprocess.run(
        [*COMMAND, *words],
        env=os.environ | {"COLUMNS": "80"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in (0, 1, 3, 4):
        raise SystemExit(done.stderr)
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


def picture_report(browser: Browser, report: Path, folder: Path) -> None:
    for width in WIDTHS:
        for scheme in SCHEMES:
            page = opened(browser, report.as_uri(), width=width, scheme=scheme)
            page.screenshot(path=folder / f"report-{width}-{scheme}.png")
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


@contextmanager
def served(workspace: Path) -> Iterator[str]:
    """Run `harness ui`, and yield its address."""
    words = [*COMMAND, "ui", "--workspace", str(workspace), "--port", PORT]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()  # it is printed once the server answers
            yield f"http://127.0.0.1:{PORT}/"
        finally:
            process.send_signal(signal.SIGTERM)


def picture_mlflow(browser: Browser, workspace: Path, folder: Path) -> None:
    """Go from MLflow's front page to the curves in two clicks, and from there to the list."""
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
    history = (folder / "nights" / "small.html").resolve()
    for width in WIDTHS:
        page = opened(browser, history.as_uri(), width=width)
        page.screenshot(path=folder / f"night-history-{width}.png")


def main(folder: Path) -> None:
    path = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
    if path is None:
        raise SystemExit("no chromium; on Debian: apt-get install chromium")
    folder.mkdir(parents=True, exist_ok=True)
    terminal = harness("check", "experiments", "--committed")
    harness("report", "experiments", "--committed", "--out", str(folder / "report"))
    workspace = folder / "workspace"
    harness("run", SHOWN, "--from-records", "--workspace", str(workspace))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        picture_text(browser, f"<pre>{escape(terminal)}</pre>", "terminal-80", folder)
        picture_report(browser, (folder / "report" / "report.html").resolve(), folder)
        picture_mlflow(browser, workspace, folder)
        picture_nights(browser, folder)
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
