"""Claims and records to verdicts: pure, so that anyone can take one again, offline."""

from harness.verdict.evidence import Case, Evidence, TrialOf
from harness.verdict.judgement import exit_code, judge
from harness.verdict.model import ClaimResult, ExperimentVerdict, Outcome
from harness.verdict.wording import as_words, of_seeds, spell

__all__ = [
    "Case",
    "ClaimResult",
    "Evidence",
    "ExperimentVerdict",
    "Outcome",
    "TrialOf",
    "as_words",
    "exit_code",
    "judge",
    "of_seeds",
    "spell",
]
