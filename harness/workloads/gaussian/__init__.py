"""Correlated Gaussians, whose mutual information is known: what an estimator must find.

The setting is that of Belghazi et al. (2018), Mutual Information Neural Estimation,
arXiv:1801.04062, where MINE is held against a non-parametric estimator.

Importing this loads neither torch nor data; `start` does.
"""

from harness.workload import Workload
from harness.workloads.gaussian.workload import Gaussian

__all__ = ["gaussian"]

gaussian: Workload = Gaussian()
