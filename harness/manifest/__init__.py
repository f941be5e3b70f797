"""YAML to frozen, typed experiments; every fault at once."""

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
from harness.manifest.faults import describe
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
    "SpreadLimit",
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
