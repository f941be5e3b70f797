"""Verdicts from claims and records. Pure, so that anyone can repeat a verdict offline."""

from harness.verdict.calibration import Proposal, propose
from harness.verdict.consistency import ALPHA, alpha_of
from harness.verdict.evidence import Alignment, Case, Evidence, Takeoffs, TrialOf
from harness.verdict.judgement import exit_code, judge
from harness.verdict.power import Planned, prospects, severity
from harness.verdict.results import (
    NOT_SEVERE,
    SEVERE,
    ClaimResult,
    ExperimentVerdict,
    Outcome,
    RivalChance,
    Severity,
    gravest,
)

__all__ = [
    "ALPHA",
    "NOT_SEVERE",
    "SEVERE",
    "Alignment",
    "Case",
    "ClaimResult",
    "Evidence",
    "ExperimentVerdict",
    "Outcome",
    "Planned",
    "Proposal",
    "RivalChance",
    "Severity",
    "Takeoffs",
    "TrialOf",
    "alpha_of",
    "exit_code",
    "gravest",
    "judge",
    "propose",
    "prospects",
    "severity",
]
