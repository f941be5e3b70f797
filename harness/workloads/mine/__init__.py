"""Shared code of the workloads that estimate mutual information by training a critic network.

The package of a paper adds three things: how pairs are drawn, which network scores them, and the
true value of the mutual information.
"""
