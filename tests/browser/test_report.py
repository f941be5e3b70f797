"""The HTML report as people meet it: by mouse or keyboard, on a screen, a phone or paper."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from harness.errors import Exit
from harness.manifest import load
from harness.nightly.history import NightEntry, NightRecord, NightState
from harness.nightly.summary import history_page
from harness.plan import Selection
from harness.report.pages import html
from harness.session import CommittedUse, Session
from harness.store import Store
from harness.workloads import registry
from tests.browser.conftest import Open
from tests.colours import RGB, contrast, luminance, of_a_browser
from tests.conftest import FIRST_PAPER, REPOSITORY
from tests.report import studies
from tests.verdict.builders import curve, experiment, onset, trial, value, verdict_on

Numbers = Callable[[], list[str]]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    asked = experiment(
        curve({1: 0.0, 3: 0.2, 5: 1.5}, threshold=0.5),
        onset(3.5, 0.5),
        value(1.6, name="<script>alert(1)</script>"),
        id="late",
        epochs=8,
    )
    rise = [0.0, 0.0, 0.2, 1.0, 1.5, 1.6, 1.6, 1.6]
    late = verdict_on(asked, {0: trial(rise, test=1.5), 1: trial([0.0, *rise[:7]], test=1.7)})
    path: Path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(html([late, *(make() for make in studies.ALL)]), encoding="utf-8")
    return path.as_uri()


def style(page: Page, selector: str, what: str) -> str:
    script = "([selector, what]) => getComputedStyle(document.querySelector(selector))[what]"
    return str(page.evaluate(script, [selector, what]))


def colour(page: Page, selector: str, what: str = "color") -> RGB:
    return of_a_browser(style(page, selector, what))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_reads_well_at_any_width_and_in_any_light(
    open_page: Open, address: str, width: int, scheme: str
) -> None:
    page = open_page(address, width=width, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    ground = colour(page, "body", "backgroundColor")
    assert (luminance(ground) < 0.2) is (scheme == "dark")
    inks = [colour(page, place) for place in ("body", "a[href]", ".hint", ".badge.fails")]
    inks += [colour(page, f".badge.{tone}") for tone in ("holds", "open", "none")]
    inks.append(colour(page, "figure svg text", "fill"))
    assert min(contrast(ink, ground) for ink in inks) >= 4.5


def test_on_paper_all_is_dark_on_white_and_landscape(open_page: Open, address: str) -> None:
    page = open_page(address, color_scheme="dark")
    drawn(page)
    page.emulate_media(media="print", color_scheme="dark")
    assert luminance(colour(page, "body")) < 0.01
    assert luminance(colour(page, "figure svg text", "fill")) < 0.01
    assert style(page, "thead", "display") == "table-header-group"
    # Chromium repeats no header on the next page that holds a button's box.
    assert style(page, "thead button", "display") == "contents"
    assert not page.locator(".live").first.is_visible()
    assert page.locator("figure svg").first.is_visible()
    paper = page.pdf(prefer_css_page_size=True)
    sizes = re.findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", paper)
    assert sizes
    assert all(float(wide) > float(high) for wide, high in sizes)


def test_nothing_bars_people_from_the_report(
    open_page: Open, tmp_path: Path, barriers: Callable[[Page], list[str]]
) -> None:
    path = tmp_path / "report.html"  # a small one, since axe looks at every element
    path.write_text(html([studies.known(), studies.broken()]), encoding="utf-8")
    page = open_page(path.as_uri())
    drawn(page)
    assert barriers(page) == []


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a history of two nights."""
    entry = NightEntry(
        *("NOT REPRODUCED (10 seeds)", Exit.NOT_AS_EXPECTED, NightState.FAILING, 1, "digest"),
        *({0: "trial"}, "late rows @ 20", 1.0, 1.1, 0.5, {"torch": "2.1"}),
    )
    later = replace(entry, verdict="REPRODUCED", conditions={"torch": "2.2", "a" * 60: "b" * 60})
    nights = [
        NightRecord(1, f"2026-01-0{day}T021700Z", Exit.NOT_AS_EXPECTED, "", {"walk": each})
        for day, each in ((1, entry), (2, later))
    ]
    path: Path = tmp_path_factory.mktemp("nights") / "light.html"
    path.write_text(history_page("light", nights), encoding="utf-8")
    return path.as_uri()


def test_nothing_bars_people_from_the_history_of_nights(
    open_page: Open, history: str, barriers: Callable[[Page], list[str]]
) -> None:
    assert barriers(open_page(history, width=390)) == []


@pytest.mark.parametrize("width", [1280, 390])
def test_the_history_of_nights_is_on_the_screen_and_breaks_no_name(
    open_page: Open, history: str, width: int
) -> None:
    page = open_page(history, width=width)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.locator(".box").evaluate("box => box.scrollWidth <= box.clientWidth")
    lines = "cell => { const all = document.createRange(); all.selectNodeContents(cell);"
    lines += " return all.getClientRects().length; }"
    for place in page.locator("tbody th, tbody .verdict").all():
        assert place.evaluate(lines) == 1
        box = place.bounding_box()
        assert box is not None
        assert 0 < box["x"] < box["x"] + box["width"] <= width


def drawn(page: Page) -> Locator:
    """The first interactive curves, once BokehJS has drawn them."""
    place = page.locator(".live").first
    page.locator("figure").first.scroll_into_view_if_needed()
    expect(place.locator("canvas").first).to_be_visible()
    return place


@pytest.mark.parametrize("width", [1280, 390])
def test_every_verdict_is_on_the_screen(open_page: Open, address: str, width: int) -> None:
    """Also the one that is cut by a box which scrolls sideways."""
    page = open_page(address, width=width)
    for row in page.locator("table.cards tbody tr").all():
        badge = row.locator(".badge").first
        badge.scroll_into_view_if_needed()
        box, around = badge.bounding_box(), row.locator("xpath=ancestor::div[1]").bounding_box()
        assert box is not None
        assert around is not None
        assert box["x"] >= max(0, around["x"])
        assert box["x"] + box["width"] <= min(width, around["x"] + around["width"])
    for boxed in page.locator(".box:has(table.cards)").all():
        assert boxed.evaluate("box => box.scrollLeft") == 0
        assert boxed.evaluate("box => box.scrollWidth <= box.clientWidth + 1")


@pytest.mark.parametrize("width", [1280, 390])
def test_the_overview_is_whole_and_can_be_read(open_page: Open, address: str, width: int) -> None:
    page = open_page(address, width=width)
    svg = page.locator(".forest svg:visible")
    expect(svg).to_have_count(1)
    frame = svg.bounding_box()
    assert frame is not None
    assert frame["x"] >= 0
    assert frame["x"] + frame["width"] <= width
    letters = svg.locator("text")
    heights = [box["height"] for each in letters.all() if (box := each.bounding_box())]
    assert len(heights) > 20
    assert min(heights) >= 10
    for box in filter(None, (part.bounding_box() for part in svg.locator("text, use").all())):
        assert box["x"] >= frame["x"]
        assert box["x"] + box["width"] <= frame["x"] + frame["width"]


def test_a_curve_answers_to_hover_and_a_seed_can_be_switched_off(
    open_page: Open, address: str
) -> None:
    page = open_page(address)
    place = drawn(page)
    canvas = place.locator("canvas").first
    box = canvas.bounding_box()
    assert box is not None
    across, down = place.evaluate(_WHERE, [7, 1.6])  # where a seed and the reported row are
    page.mouse.move(box["x"] + across, box["y"] + down)
    told = page.locator(".bk-tooltip-content").first
    expect(told).to_contain_text("epoch")
    page.mouse.move(0, 0)
    switch = drawn(page).get_by_role("checkbox", name="seed 0")
    with_it = canvas.evaluate(_PIXELS)
    switch.press("Space")
    assert not switch.is_checked()
    page.wait_for_function(
        "([canvas, before]) => canvas.toDataURL() != before", arg=[canvas.element_handle(), with_it]
    )


def test_a_curve_answers_to_touch(open_page: Open, address: str) -> None:
    page = open_page(address, width=390, has_touch=True, is_mobile=True)
    place = drawn(page)
    canvas = place.locator("canvas").first
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box is not None
    across, down = place.evaluate(_WHERE, [7, 1.6])
    page.touchscreen.tap(box["x"] + across, box["y"] + down)
    expect(page.locator(".bk-tooltip-content").first).to_contain_text("epoch")


_WHERE = """(place, [epoch, value]) => {
  const view = [...Bokeh.index.roots].find((root) => place.contains(root.el));
  return [view.frame.x_scale.compute(epoch), view.frame.y_scale.compute(value)];
}"""
"""The place of a point on the canvas, in CSS pixels."""

_PIXELS = "canvas => canvas.toDataURL()"


def test_it_asks_for_nothing_and_complains_of_nothing(open_page: Open, address: str) -> None:
    page = open_page("about:blank")
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append(dialog.message))
    page.goto(address)
    page.wait_for_load_state("networkidle")
    assert asked == [address]
    assert said == []
    assert page.get_by_text("<script>alert(1)</script>").count() > 0


def test_tables_sort_by_keyboard_and_say_how(open_page: Open, address: str) -> None:
    page = open_page(address)
    table = page.locator("#reproduced table.sortable").first
    header = table.get_by_role("columnheader", name="Reported")
    cells = table.locator("tbody td:nth-child(3)")
    listed = cells.all_inner_texts()
    values = sorted(float(text.split()[0]) for text in listed if text)
    header.get_by_role("button").focus()
    for order, expected in (("ascending", values), ("descending", values[::-1])):
        page.keyboard.press("Enter")
        assert header.get_attribute("aria-sort") == order
        shown = [float(text.split()[0]) for text in cells.all_inner_texts() if text]
        assert shown == expected
    first = table.get_by_role("columnheader", name="Claim")
    first.get_by_role("button").focus()
    page.keyboard.press("Space")
    assert header.get_attribute("aria-sort") is None
    assert cells.all_inner_texts() == listed


def test_the_keyboard_reaches_the_verdicts_first_and_shows_where_it_is(
    open_page: Open, address: str
) -> None:
    page = open_page(address)
    page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the verdicts")
    box = skip.bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("!!document.activeElement.closest('#experiments')")


def test_without_scripts_it_says_the_same(open_page: Open, address: str) -> None:
    page = open_page(address, java_script_enabled=False)
    assert page.get_by_role("row").count() > 40
    page.get_by_text("How to read this").click()
    assert page.get_by_text("What one seed can show.").is_visible()


def committed(folder: Path, *manifests: Path) -> str:
    """The address of a report on committed records."""
    found = load(manifests, registry())
    nothing = Store(folder / "nothing")
    verdicts = Session(found, Selection(), nothing, CommittedUse.ALWAYS).verdicts()
    path = folder / "report.html"
    path.write_text(html(verdicts), encoding="utf-8")
    return path.as_uri()


@pytest.mark.parametrize("width", [1280, 390])
def test_every_cell_of_a_grid_is_on_the_screen(open_page: Open, tmp_path: Path, width: int) -> None:
    page = open_page(committed(tmp_path, REPOSITORY / "experiments" / "psa.yaml"), width=width)
    cells = page.locator(".map td")
    assert cells.count() == 60
    for cell in cells.all()[:6]:
        box = cell.bounding_box()
        assert box is not None
        assert box["x"] + box["width"] <= width


def test_the_report_on_the_first_paper_takes_some_ten_sheets(
    open_page: Open, tmp_path: Path
) -> None:
    """Ten with Liberation's fonts; two more are left for a machine that has wider ones only."""
    paper = open_page(committed(tmp_path, *FIRST_PAPER)).pdf(prefer_css_page_size=True)
    assert 1 < len(re.findall(rb"/Type /Page\b", paper)) <= 12


def test_many_figures_stand_side_by_side_on_paper(open_page: Open, tmp_path: Path) -> None:
    """Below one another they took three sheets, and ran over the tables that followed."""
    page = open_page(committed(tmp_path, REPOSITORY / "experiments" / "psa.yaml"))
    paper = page.pdf(prefer_css_page_size=True)
    assert len(re.findall(rb"/Type /Page\b", paper)) <= 4
    page.emulate_media(media="print")
    figures = page.locator(".experiment .figures:has(> figure:nth-of-type(5)) > figure")
    tops = [box["y"] for figure in figures.all() if (box := figure.bounding_box())]
    assert len(tops) == 12
    assert len(set(tops)) == 3
