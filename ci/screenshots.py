"""Render the pictures of what people see first: `python ci/screenshots.py FOLDER`.

It draws the report from the committed records at two widths, light, dark and on paper, and the
terminal at 80 columns. It needs Chromium and the package's `test` extra, and trains nothing.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
WIDTHS = (1280, 390)
SCHEMES = ("light", "dark")


def harness(*words: str) -> str:
    """Run a command of the harness at 80 columns; an undecided verdict is no error."""
    done = subprocess.run(
        [sys.executable, "-c", "from harness.cli import main; main()", *words],
        env=os.environ | {"COLUMNS": "80"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode not in (0, 1, 3):
        raise SystemExit(done.stderr)
    return done.stdout


def picture_report(browser: Browser, report: Path, folder: Path) -> None:
    for width in WIDTHS:
        for scheme in SCHEMES:
            context = browser.new_context(
                viewport={"width": width, "height": 900}, color_scheme=scheme
            )
            page = context.new_page()
            page.goto(report.as_uri())
            page.screenshot(path=folder / f"report-{width}-{scheme}.png")
            page.locator(".experiment figure").first.scroll_into_view_if_needed()
            page.locator(".live.drawn canvas").first.wait_for()
            page.screenshot(path=folder / f"curves-{width}-{scheme}.png")
            context.close()
    page = browser.new_page()
    page.goto(report.as_uri())
    page.pdf(path=folder / "report.pdf", prefer_css_page_size=True)


def main(folder: Path) -> None:
    path = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
    if path is None:
        raise SystemExit("no chromium; on Debian: apt-get install chromium")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "terminal-80.txt").write_text(harness("check", "experiments", "--committed"))
    harness("report", "experiments", "--committed", "--out", str(folder / "report"))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        picture_report(browser, (folder / "report" / "report.html").resolve(), folder)
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
