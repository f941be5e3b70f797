"""Plants faults on purpose: the verdict must detect each, and must not mistake a null for one.

A checker that passes everything is worth nothing, and one that raises false alarms is switched off.
Some faults are planted in stored records, drawn around the values that a manifest reports or
committed as they were recorded. Others are planted in real training, by the workload's own planted
faults. Either way the records lie in a workspace and are judged as any others.
"""

from harness.selftest.cases import Case, CaseResult, Detection, evaluate
from harness.selftest.drawn import Subject, prepared
from harness.selftest.stored import cases
from harness.selftest.training import Training

__all__ = [
    "Case",
    "CaseResult",
    "Detection",
    "Subject",
    "Training",
    "cases",
    "evaluate",
    "prepared",
]
