"""Shared code of the workloads that estimate mutual information by training a critic.

A paper's own package says which pairs are drawn, which network scores them, and the true value.
"""
