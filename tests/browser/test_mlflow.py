"""MLflow as its users meet it: what is drawn in the view that `harness ui` names."""

import signal
import socket
import subprocess
import sys
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, expect

from harness.tracking import default_uri
from tests.browser.conftest import Open, served, train
from tests.cli.conftest import Harness
from tests.tracking.test_server import free_port
from tests.waiting import wait_until

RUNS = ["seed 0", "seed 1", "true value", "paper - tolerance", "paper + tolerance", "paper"]


CHART = """([metric, lines]) => [...document.querySelectorAll('.js-plotly-plot')].find(
    plot => new Set(plot.data.map(line => line.name)).size === lines
        && plot.data.every(line => line.metricKey === metric))"""


def drawn(page: Page, metric: str) -> dict[str, dict[str, Any]]:
    """The lines of one chart by name, in the order in which they are drawn: colour and points."""
    page.wait_for_function(CHART, arg=[metric, len(RUNS)])
    lines: dict[str, dict[str, Any]] = page.evaluate(
        f"""which => Object.fromEntries(({CHART})(which)._fullData.map(
            ({{name, line, x, y}}) =>
                [name, {{colour: line.color.slice(0, 7), x: [...x], y: [...y]}}]))""",
        [metric, len(RUNS)],
    )
    return lines


def test_the_charts_show_the_paper_over_the_seeds_without_a_click(
    open_page: Open, charts: str
) -> None:
    page = open_page(charts)
    for name in RUNS:
        expect(page.get_by_role("link", name=name, exact=True)).to_be_visible()
    lines = drawn(page, "mi_bits")
    assert list(lines) == RUNS
    *seeds, truth, lower, upper, paper = lines.values()
    assert all(seed["x"] == [1, 2, 3, 4, 5, 6] for seed in seeds)
    assert (paper["x"], paper["y"], paper["colour"]) == ([1, 3, 6], [0, 0, 0], "#000000")
    assert (truth["x"], truth["y"]) == ([1, 6], [2, 2])
    assert [line["y"] for line in (lower, upper)] == [[-0.5] * 3, [0.5] * 3]
    assert len({line["colour"] for line in lines.values()}) == 5  # both tolerances have one


def test_true_values_are_not_magnified_until_rounding_looks_like_a_difference(
    open_page: Open, charts: str
) -> None:
    page = open_page(charts)
    which = ["true_mi_bits", 5]  # a true value has none of its own
    page.wait_for_function(CHART, arg=which)
    shown = page.evaluate(f"which => ({CHART})(which)._fullLayout.yaxis.range", which)
    assert shown == [0, 2.5]


def test_the_plain_address_of_an_experiment_shows_the_curves(open_page: Open, charts: str) -> None:
    """No `workflowType`, no view: what somebody types or has bookmarked."""
    page = open_page(charts.partition("/runs?")[0])
    assert list(drawn(page, "mi_bits")) == RUNS


def test_from_mlflow_s_front_page_two_clicks_lead_to_the_curves(
    open_page: Open, charts: str
) -> None:
    page = open_page(charts.partition("#")[0])
    page.get_by_role("link", name="Experiments").first.click()
    page.get_by_role("link", name="tiny", exact=True).first.click()
    assert list(drawn(page, "mi_bits")) == RUNS


@contextmanager
def plain_server(workspace: Path, *more: str) -> Iterator[str]:
    """MLflow's own server on a workspace's database; without `more` not with our script either."""
    port = free_port()
    words = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"]
    words += ["--backend-store-uri", default_uri(workspace), *more]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: _answers(port), "MLflow's answer")
            yield f"http://127.0.0.1:{port}/"
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def _answers(port: int) -> bool:
    with suppress(OSError):
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    return False


def test_two_clicks_lead_to_the_curves_on_a_server_of_one_s_own(
    open_page: Open, workspace: Path
) -> None:
    """As `ci/cluster/mlflow-server.sh` starts one: the server knows of no workspace."""
    with plain_server(workspace, "--app-name", "harness") as address:
        page = open_page(address)
        page.get_by_role("link", name="Experiments").first.click()
        page.get_by_role("link", name="tiny", exact=True).first.click()
        assert list(drawn(page, "mi_bits")) == RUNS
        page.goto(f"{address}harness")
        expect(
            page.get_by_role("row").filter(has=page.get_by_role("link", name="tiny"))
        ).to_have_count(1)
        expect(page.get_by_role("link", name="The report with figures")).to_have_count(0)


def test_mlflow_s_own_page_lists_and_draws_the_paper_among_ten_seeds(
    open_page: Open, harness: Harness, tmp_path: Path
) -> None:
    """It lists the newest runs first, and draws ten. The paper's was created before nine seeds."""
    train(tmp_path, harness, (0,))
    train(tmp_path, harness, tuple(range(1, 10)))
    with plain_server(tmp_path) as address:
        page = open_page(address)
        page.get_by_text("Model training", exact=True).click()
        page.get_by_role("link", name="Experiments").first.click()
        page.get_by_role("link", name="tiny", exact=True).first.click()
        references = ["paper", "paper + tolerance", "paper - tolerance", "true value"]
        names = page.get_by_role("gridcell").get_by_role("link")
        expect(names).to_have_count(14)
        assert names.all_inner_texts()[:4] == references
        page.locator("label:has(input[value=CHART])").click()
        page.get_by_placeholder("Search metric charts").fill("^mi_bits$")
        page.wait_for_function(
            """names => [...document.querySelectorAll('.js-plotly-plot')].some(plot =>
                names.every(name => plot.data.some(
                    line => line.name === name && line.metricKey === 'mi_bits')))""",
            arg=[*references, "seed 9"],
        )


def test_the_landing_page_tells_verdicts_and_leads_to_the_curves(
    open_page: Open, charts: str, barriers: Callable[[Page], list[str]]
) -> None:
    page = open_page(charts.partition("#")[0] + "harness")
    assert barriers(page) == []
    page.set_viewport_size({"width": 1280, "height": 900})
    row = page.get_by_role("row").filter(has_text="tiny")
    expect(row).to_contain_text("REPRODUCED")
    row.get_by_role("link", name="tiny").click()
    assert list(drawn(page, "mi_bits")) == RUNS


def test_detail_is_folded_away_below_what_the_paper_reports(open_page: Open, charts: str) -> None:
    page = open_page(charts)
    drawn(page, "mi_bits")
    names = ("Model metrics", "detail", "time")
    places = [page.get_by_text(name, exact=True).bounding_box() for name in names]
    heights = [place["y"] for place in places if place is not None]
    assert len(heights) == 3
    assert heights == sorted(heights)
    assert page.get_by_text("mi_floor_bits", exact=True).count() == 0


def test_the_table_tells_seed_verdict_and_difference(open_page: Open, charts: str) -> None:
    page = open_page(charts.replace("&compareRunsMode=CHART", ""))
    for column in ("verdict", "compared", "reported", "measured", "difference"):
        expect(page.get_by_role("columnheader", name=column).first).to_be_attached()
    row = page.get_by_role("row").filter(has_text="REPRODUCED").first
    expect(row).to_contain_text("test estimate")
    # Whole, and on the screen: MLflow's own width shows "NOT REPRODU...".
    verdict = row.get_by_text("REPRODUCED")
    assert verdict.evaluate("cell => cell.scrollWidth <= cell.clientWidth")
    box = verdict.bounding_box()
    assert box is not None
    assert box["width"] > 0
    assert box["x"] + box["width"] <= 1280


def test_runs_group_by_what_they_stand_for(open_page: Open, charts: str) -> None:
    page = open_page(charts)
    drawn(page, "mi_bits")
    page.get_by_role("button", name="Group by").click()
    page.keyboard.type("kind")
    page.get_by_text("harness.kind").last.click()
    for group in ("Group: seed", "Group: paper", "Group: true"):
        expect(page.get_by_text(group, exact=True)).to_be_visible()


def test_a_runs_page_tells_its_story_and_the_report_opens(open_page: Open, charts: str) -> None:
    page = open_page(charts)
    page.get_by_role("link", name="seed 1", exact=True).click()
    expect(page.get_by_text("Verdict on the experiment:")).to_be_visible()
    expect(page.get_by_text("the paper reports 0.0000, this seed gave")).to_be_visible()
    expect(page.get_by_text("--seed 1", exact=False)).to_be_attached()
    page.goto(charts)
    page.get_by_role("link", name="paper", exact=True).click()
    page.get_by_text("Artifacts", exact=True).click()
    page.get_by_text("report.html", exact=True).click()
    report = page.frame_locator("iframe")
    expect(report.get_by_role("heading", name="Does it reproduce?")).to_be_visible()
    expect(report.locator("figure svg").first).to_be_visible()
    report.get_by_role("button", name="Reported").click()
    expect(report.locator("[aria-sort]")).to_have_count(1)


def test_ctrl_c_while_it_starts_ends_the_server_in_order(
    environment: dict[str, str], workspace: Path
) -> None:
    """That SIGTERM does so while it serves is asserted where the tests end theirs."""
    with served(environment, workspace, free_port()) as process:
        server = _child_of(process.pid)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
    assert not Path(f"/proc/{server}").exists()


def _child_of(pid: int) -> int:
    """The MLflow server that this process starts, once it has."""
    servers: list[int] = []

    def look() -> list[int]:
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            with suppress(FileNotFoundError):  # another child, which has ended since
                if b"mlflow" in Path(f"/proc/{child}/cmdline").read_bytes():
                    servers.append(int(child))
        return servers

    wait_until(look, "a server")
    return servers[0]


def test_a_port_in_use_is_named_at_once(harness: Harness, charts: str, workspace: Path) -> None:
    port = str(urllib.parse.urlsplit(charts).port)
    refused = harness("ui", "--workspace", workspace, "--port", port)
    assert refused.returncode == 2
    assert f"--port {port} on 127.0.0.1: Address already in use" in refused.stderr
    assert "Traceback" not in refused.stderr
