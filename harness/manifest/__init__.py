"""YAML to frozen, typed experiments; every fault at once."""

from harness.manifest.change import change
from harness.manifest.claims import (
    BandClaim,
    Claim,
    ComparedClaim,
    CurveClaim,
    ExactClaim,
    OnsetClaim,
    Registered,
    SpreadLimit,
    Takeoff,
    Tolerance,
    ValueClaim,
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
from harness.manifest.tolerances import half_unit, tolerance, tolerances

__all__ = [
    "BandClaim",
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
    "Resources",
    "SecondStage",
    "Sourced",
    "SpreadLimit",
    "Takeoff",
    "Tolerance",
    "Twin",
    "ValueClaim",
    "WorkloadChoice",
    "change",
    "describe",
    "discover",
    "half_unit",
    "load",
    "parse_seeds",
    "suggest",
    "tolerance",
    "tolerances",
]
