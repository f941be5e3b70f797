"""YAML to frozen, typed experiments; every fault at once."""

from harness.manifest.change import change
from harness.manifest.claims import (
    KINDS,
    BandClaim,
    BaseClaim,
    Claim,
    ComparedClaim,
    CurveClaim,
    ExactClaim,
    OnsetClaim,
    Registered,
    ReportedNumber,
    RowKey,
    SpreadLimit,
    Takeoff,
    Tolerance,
    ValueClaim,
    by_interest,
)
from harness.manifest.faults import Finding, describe, suggest
from harness.manifest.loader import discover, load
from harness.manifest.model import (
    Calibration,
    Expected,
    Experiment,
    Manifest,
    Paper,
    Resources,
    SecondStage,
    Twin,
    WorkloadChoice,
)
from harness.manifest.seeds import parse_seeds
from harness.manifest.sources import Basis, Sourced

__all__ = [
    "KINDS",
    "BandClaim",
    "BaseClaim",
    "Basis",
    "Calibration",
    "Claim",
    "ComparedClaim",
    "CurveClaim",
    "ExactClaim",
    "Expected",
    "Experiment",
    "Finding",
    "Manifest",
    "OnsetClaim",
    "Paper",
    "Registered",
    "ReportedNumber",
    "Resources",
    "RowKey",
    "SecondStage",
    "Sourced",
    "SpreadLimit",
    "Takeoff",
    "Tolerance",
    "Twin",
    "ValueClaim",
    "WorkloadChoice",
    "by_interest",
    "change",
    "describe",
    "discover",
    "load",
    "parse_seeds",
    "suggest",
]
