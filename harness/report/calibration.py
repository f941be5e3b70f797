"""Render proposed bands as the YAML block that a person copies into a manifest."""

from collections.abc import Iterator

import yaml

from harness.manifest import spell
from harness.verdict import ExperimentVerdict, Proposal


def block(verdict: ExperimentVerdict, proposal: Proposal | None) -> str:
    """Render the block, with its evidence as comments; only comments if there is no proposal."""
    return "\n".join(_lines(verdict, proposal)) + "\n"


def _lines(verdict: ExperimentVerdict, proposal: Proposal | None) -> Iterator[str]:
    yield f"# {verdict.experiment.path}: {verdict.verdict} with seeds {spell(verdict.seeds)}"
    if proposal is None:
        yield "# no bands: ten seeds or more are needed, and a band within its tolerance"
        return
    yield f"# each of {len(proposal.bands)} bands is mean +/- {proposal.factor:.2f} SD of the seeds"
    for name in proposal.ranges:
        yield f"# but {name}: from the smallest to the largest seed, as seeds are not normal"
    yield f"# leave-one-out check: {proposal.inside} of {len(proposal.seeds)} seeds lie in all"
    yield "# bands that the other seeds give"
    for name, why in proposal.without.items():
        yield f"# no band for {name}: {why}"
    yield yaml.safe_dump(
        {
            "calibration": {
                "seeds": spell(proposal.seeds),
                "records": proposal.records,
                "coverage": proposal.coverage,
                "confidence": proposal.confidence,
                "bands": {name: list(band) for name, band in proposal.bands.items()},
            }
        },
        default_flow_style=None,
        sort_keys=False,
        allow_unicode=True,
        width=100,
    ).rstrip()
