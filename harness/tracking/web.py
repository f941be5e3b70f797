"""Serve MLflow's web page so that it opens on our curves, and a landing page beside it.

`harness ui` and `ci/cluster/mlflow-server.sh` start MLflow's server with this app (entry point
`mlflow.app`; for a server of your own: `mlflow server --app-name harness`). MLflow 3.17 takes
every experiment for language models unless the address or the browser's storage says otherwise;
tags of the experiment do not count. So a script in its page says "model training", and sends the
plain address of one of our experiments, typed or clicked, to the view that we saved.
"""

import json
import os
from html import escape
from pathlib import Path
from typing import Any

from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, HTMLResponse, Response
from mlflow import MlflowClient
from mlflow.server import app as flask_app
from mlflow.server.fastapi_app import app as mlflow_app

from harness.tracking.experiments import VIEW_NAME, VIEW_TAG, chart_url, ours
from harness.tracking.images import Kind, Tag

LANDING = "/harness"
REPORT = "/harness/report"
WORKSPACE_VARIABLE = "HARNESS_UI_WORKSPACE"
"""Tells the server's process which workspace it serves. A shared server has none, and no report."""

_SCRIPT = """<script>
(() => {
  localStorage.getItem("mlflow.workflowType_v1") ??
    localStorage.setItem("mlflow.workflowType_v1", '"machine_learning"');
  const ours = new Set(%s);
  const plain = /^#\\/experiments\\/(\\d+)(\\/runs)?(\\?(workflowType=machine_learning)?)?$/;
  const view = (hash) => {
    const found = plain.exec(hash);
    return found && ours.has(found[1])
      ? `#/experiments/${found[1]}/runs?workflowType=machine_learning&compareRunsMode=CHART` +
          "&viewStateShareKey=%s"
      : null;
  };
  const first = view(location.hash);
  if (first) history.replaceState(null, "", first);
  addEventListener("click", (event) => {
    const link = event.target.closest?.("a[href]");
    const wanted = link && !event.ctrlKey && !event.metaKey && view(link.hash);
    if (!wanted) return;
    event.preventDefault();
    event.stopPropagation();
    location.hash = wanted;
  }, true);
})();
</script>"""

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>Does it reproduce?</title>
<style>
html {{ background: Canvas; color: CanvasText; }}
body {{ font: 1rem/1.5 system-ui, sans-serif; max-width: 50rem; margin: 2rem auto; }}
body {{ padding: 0 1rem; }}
table {{ border-collapse: collapse; width: 100%; }}
th, td {{ text-align: left; padding: .4rem .6rem; border-top: 1px solid #8886; font-weight: 400; }}
thead th, td.verdict {{ font-weight: 600; }}
</style></head><body>
<main>
<h1>Does it reproduce?</h1>
<p>{links}</p>
<table><thead><tr><th scope="col">Experiment</th><th scope="col">Verdict</th>
<th scope="col">As expected?</th></tr></thead><tbody>
{rows}
</tbody></table>
</main>
</body></html>
"""


def index() -> str:
    """Return MLflow's page with our script in front of its own."""
    page = (Path(str(flask_app.static_folder)) / "index.html").read_text(encoding="utf-8")
    ids = [one.experiment_id for one in ours(MlflowClient()) if VIEW_TAG in one.tags]
    return page.replace("<head>", "<head>" + _SCRIPT % (json.dumps(ids), VIEW_NAME), 1)


def landing() -> str:
    """Return a page with the verdict on each experiment, links to its curves and to the report."""
    client = MlflowClient()
    rows = []
    for one in sorted(ours(client), key=lambda one: one.tags[Tag.EXPERIMENT]):
        found = client.search_runs(
            [one.experiment_id], f"tags.`{Tag.KIND}` = '{Kind.PAPER}'", max_results=1
        )
        tags: dict[str, str] = found[0].data.tags if found else {}
        verdict = tags.get(Tag.VERDICT, "not judged yet")
        expected = {"true": "yes", "false": "no, or undecided"}.get(
            tags.get(Tag.AS_EXPECTED, ""), ""
        )
        rows.append(
            f'<tr><th scope="row"><a href="{escape(chart_url("", one))}">'
            f"{escape(one.tags[Tag.EXPERIMENT])}</a></th>"
            f'<td class="verdict">{escape(verdict)}</td><td>{expected}</td></tr>'
        )
    links = ['<a href="/">MLflow</a>']
    if _report():
        links.insert(0, f'<a href="{REPORT}">The report with figures</a>')
    return _PAGE.format(links=" · ".join(links), rows="\n".join(rows))


def _report() -> Path | None:
    """Return the workspace's report, if it has one."""
    workspace = os.environ.get(WORKSPACE_VARIABLE)
    report = Path(workspace) / "report" / "report.html" if workspace else None
    return report if report and report.exists() else None


def _answer(path: str) -> Response | None:
    """Answer a request for one of our pages; None for MLflow's own."""
    if path == "/":
        return HTMLResponse(index())
    if path == LANDING:
        return HTMLResponse(landing())
    if path == REPORT and (report := _report()):
        return FileResponse(report)
    return None


async def _ours_first(request: Any, call_next: Any) -> Response:
    """Answer our own pages, and leave every other request to MLflow."""
    answer = await run_in_threadpool(_answer, request.url.path) if request.method == "GET" else None
    return answer or await call_next(request)


app = mlflow_app
app.middleware("http")(_ours_first)
