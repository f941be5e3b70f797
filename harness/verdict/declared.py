"""Judge by what was declared with the records, if the manifest was changed since.

The rows are judged twice: as the manifest has them today, and as it declared them. The graver of
the two outcomes counts, so that no change of a manifest makes an old record look better.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from harness.manifest import changes, of_seeds
from harness.verdict.evidence import Case
from harness.verdict.results import ClaimResult

AS_DECLARED = "judged as declared with the records"


def stricter(
    today: Sequence[ClaimResult], declared: Sequence[ClaimResult], unchanged: Collection[str]
) -> list[ClaimResult]:
    """Of each row the graver result, and the rows that were declared and are gone.

    Args:
        today: the rows of today's manifest.
        declared: the rows of the manifest as declared, judged by the same records.
        unchanged: names of declared claims that only have another name today.
    """
    then = {row.key: row for row in declared if row.claim not in unchanged}
    rows = [_graver(row, then.pop(row.key, row)) for row in today]
    rows += [_marked(row) for row in then.values()]
    order = list(dict.fromkeys(row.claim for row in rows))
    return sorted(rows, key=lambda row: order.index(row.claim))


def _graver(today: ClaimResult, declared: ClaimResult) -> ClaimResult:
    return _marked(declared) if declared.verdict.severity > today.verdict.severity else today


def _marked(row: ClaimResult) -> ClaimResult:
    return replace(row, note="; ".join(filter(None, (AS_DECLARED, row.note))))


def since_declared(case: Case) -> Iterator[str]:
    """Name what changed since the records were made, and the seeds that are left out."""
    if case.as_declared:
        yield from changes(case.as_declared, case.experiment.manifest)
    elif case.declared is not None and not case.declared.tolerances:
        yield "nothing was declared with these records: changes of the manifest since do not show"
    if left := case.stored - set(case.seeds):
        yield f"{of_seeds(left)} stored and not judged"
