"""Plants faults on purpose: the verdict must detect each one, and must accept every null.

A check that accepts everything is useless, and a check with false alarms gets switched off. Some
faults are planted in stored records, which are drawn around the values that a manifest reports or
were committed. Others are planted in real training, by the workload's own planted faults. The
records then lie in a workspace and are judged like all others.
"""

from harness.selftest.cases import CaseResult, Detection, PlantedCase, Training, cases, evaluate
from harness.selftest.drawn_runs import Subject, prepared
from harness.selftest.kind_faults import kind_cases

__all__ = [
    "CaseResult",
    "Detection",
    "PlantedCase",
    "Subject",
    "Training",
    "cases",
    "evaluate",
    "kind_cases",
    "prepared",
]
