"""YAML to frozen, typed experiments; every fault at once."""

from harness.manifest.change import change
from harness.manifest.faults import Finding, describe, suggest
from harness.manifest.loader import discover, load
from harness.manifest.model import (
    BandClaim,
    Calibration,
    Claim,
    ComparedClaim,
    CurveClaim,
    ExactClaim,
    Expected,
    Experiment,
    Manifest,
    OnsetClaim,
    Paper,
    Registered,
    Resources,
    SecondStage,
    Takeoff,
    Tolerance,
    Twin,
    ValueClaim,
    WorkloadChoice,
)
from harness.manifest.seeds import parse_seeds
from harness.manifest.sources import Basis, Sourced
from harness.manifest.tolerances import tolerances

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
    "Takeoff",
    "Tolerance",
    "Twin",
    "ValueClaim",
    "WorkloadChoice",
    "change",
    "describe",
    "discover",
    "load",
    "parse_seeds",
    "suggest",
    "tolerances",
]
