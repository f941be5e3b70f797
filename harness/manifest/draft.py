"""Draft a manifest from a small table of reported numbers, with blanks for everything else.

`harness validate` names every blank, so a draft cannot be run by mistake.
"""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import isfinite
from pathlib import Path

import yaml

from harness.errors import Fault, ManifestError
from harness.manifest.claims import KINDS
from harness.manifest.experiment import FORMAT
from harness.manifest.tree import content
from harness.workload import Template, Workload

COLUMNS = ("metric", "epoch", "reported")


@dataclass(frozen=True, slots=True)
class Reported:
    """One number as the paper prints it."""

    metric: str
    epoch: int | None
    """None for a final estimate."""
    text: str
    """As printed, with every digit."""


def read_table(path: Path) -> list[Reported]:
    """Read a table with the columns metric, epoch (blank for a final estimate) and reported.

    Raises:
        ManifestError: with every fault of the file.
    """
    file = str(path)
    reader = csv.DictReader(io.StringIO(content(path)[1]), skipinitialspace=True)
    if tuple(reader.fieldnames or ()) != COLUMNS:
        message = f"the first line must be {','.join(COLUMNS)}"
        raise ManifestError([Fault(file, 1, "", message)])
    rows: list[Reported] = []
    faults: list[Fault] = []
    seen: dict[tuple[str, int | None], int] = {}
    for row in reader:
        line = reader.line_num
        wrong = [Fault(file, line, column, message) for column, message in _faults(row)]
        faults += wrong
        if wrong:
            continue
        epoch = row["epoch"].strip()
        found = Reported(
            row["metric"].strip(), int(epoch) if epoch else None, row["reported"].strip()
        )
        first = seen.setdefault((found.metric, found.epoch), line)
        if first != line:
            faults.append(Fault(file, line, "epoch", f"already given on line {first}"))
        rows.append(found)
    if not rows and not faults:
        faults.append(Fault(file, 1, "", "no reported number below the first line"))
    if faults:
        raise ManifestError(faults)
    return rows


def _faults(row: Mapping[str | None, str | None]) -> Iterator[tuple[str, str]]:
    """Find the faults of one row, by column."""
    if None in row or any(row[column] is None for column in COLUMNS):
        yield "", f"{len(COLUMNS)} columns wanted: {', '.join(COLUMNS)}"
        return
    metric, epoch, reported = ((row[column] or "").strip() for column in COLUMNS)
    if not metric:
        yield "metric", "must not be empty"
    if epoch and not (epoch.isdecimal() and int(epoch) > 0):
        yield "epoch", f"must be a whole number from 1 on, or blank for a final one, got {epoch!a}"
    try:
        if not isfinite(float(reported)):
            raise ValueError
    except ValueError:
        yield "reported", f"must be a finite number, got {reported!a}"


def draft(rows: Sequence[Reported], workload: Workload | None) -> str:
    """Write the draft.

    Args:
        rows: what the paper reports.
        workload: names the parameters to fill in and the unit; None if there is no workload yet.
    """
    return "\n".join([*_head(rows, workload), "", "claims:", *_claims(rows, workload)]) + "\n"


def _head(rows: Sequence[Reported], workload: Workload | None) -> Iterator[str]:
    yield "# Drafted by `harness init`. Fill in what is blank; `harness validate` names each blank."
    yield f"format: {FORMAT}"
    yield "title:  # the run in a line"
    yield "paper:"
    yield "  title:"
    yield "  author:"
    yield "  listing:  # which table or listing, in words"
    yield "  command:  # what the paper ran"
    yield f"unit: {_unit(rows, workload)}  # of every claim whose metric has no other"
    yield ""
    yield "workload:"
    yield f"  name: {_text(workload.name) if workload else ''}"
    if isinstance(workload, Template):
        yield from _section(workload)
    else:
        yield "  parameters:  # each with one of stated, inferred or assumed, and why"
    names = workload.parameters.model_fields if workload else {}
    for name in names:
        yield f"    {name}: {{value: , stated: }}"
    yield ""
    last = max((row.epoch for row in rows if row.epoch), default=None)
    if last is None:
        yield "epochs: {value: , stated: }  # how many the paper ran"
    else:
        yield f"epochs: {{value: {last}, inferred: the last row that is reported}}"
    yield "seeds: 0-9"


def _section(template: Template) -> Iterator[str]:
    """Write the fields of a workload that the manifest completes, optional ones as comments."""
    for name, info in template.section.model_fields.items():
        first = " ".join((info.description or "").split()).partition(". ")[0].rstrip(".")
        if info.is_required():
            yield f"  {name}:  # {first}"
        else:
            yield f"  # {name}: {first}"
    yield "  # parameters: each with one of stated, inferred or assumed, and why"


def _unit(rows: Sequence[Reported], workload: Workload | None) -> str:
    known = workload.metrics if workload else {}
    units = {known[row.metric].unit for row in rows if row.metric in known}
    return _text(units.pop()) if len(units) == 1 else ""


def _claims(rows: Sequence[Reported], workload: Workload | None) -> Iterator[str]:
    """Write one claim per metric for its rows, and one for its final estimate."""
    by_claim: dict[tuple[str, bool], list[Reported]] = {}
    for row in rows:
        by_claim.setdefault((row.metric, row.epoch is None), []).append(row)
    for (metric, final), claimed in by_claim.items():
        both = (metric, not final) in by_claim
        yield f"  - name: {_text(metric + (' at the end' if final and both else ''))}"
        kinds = [kind.kind_name() for kind in KINDS if not kind.between_cells()]
        others = ", ".join(kind for kind in kinds if kind != "value")
        yield f"    kind: value  # or {others}"
        yield f"    metric: {_text(metric)}"
        yield "    source:  # where the paper says so"
        yield f"    reported: {_reported(claimed)}"
        yield f"    decimals: {_decimals(claimed)}  # as printed"
        yield "    tolerance: {value: , reason: }  # what matters, set before any run"


def _reported(rows: Sequence[Reported]) -> str:
    if rows[0].epoch is None:
        return rows[0].text
    ordered = sorted(rows, key=lambda row: row.epoch or 0)
    return "{" + ", ".join(f"{row.epoch}: {row.text}" for row in ordered) + "}"


def _decimals(rows: Sequence[Reported]) -> int:
    """The largest number of decimals in the rows."""
    return max(max(0, -int(Decimal(row.text).as_tuple().exponent)) for row in rows)


def _text(value: str) -> str:
    """Write a word in YAML, with quotes if it needs them."""
    return (
        yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("\n...\n").strip()
    )
