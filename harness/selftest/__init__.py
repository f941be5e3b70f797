"""Faults planted on purpose, which the verdict must catch, and nulls, which it must let pass.

A checker that passes everything is worth nothing, and one that cries wolf is switched off. Part of
the faults are planted in stored curves, drawn around what a manifest reports or committed as they
were recorded; part in real training, by replacing one function of the method in a worker. Either
way the records lie in a workspace and are judged as any others.
"""

from harness.selftest.bench import Bench
from harness.selftest.check import Catch, Check, Plant, check
from harness.selftest.stored import PLANTS as STORED
from harness.selftest.training import Training

__all__ = ["STORED", "Bench", "Catch", "Check", "Plant", "Training", "check"]
