"""Verdicts from claims and records. Pure, so that anyone can repeat a verdict offline."""

from harness.verdict.calibration import Proposal, propose
from harness.verdict.consistency import ALPHA
from harness.verdict.evidence import Alignment, Case, Evidence, Takeoffs, TrialOf
from harness.verdict.judgement import exit_code, judge
from harness.verdict.power import Prospect, prospects
from harness.verdict.results import ClaimResult, ExperimentVerdict, LeftOut, Outcome, gravest

__all__ = [
    "ALPHA",
    "Alignment",
    "Case",
    "ClaimResult",
    "Evidence",
    "ExperimentVerdict",
    "LeftOut",
    "Outcome",
    "Proposal",
    "Prospect",
    "Takeoffs",
    "TrialOf",
    "exit_code",
    "gravest",
    "judge",
    "propose",
    "prospects",
]
