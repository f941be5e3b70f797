"""YAML to frozen, typed experiments; every fault at once."""

from harness.manifest.faults import describe
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
    "describe",
    "discover",
    "load",
    "parse_seeds",
]
