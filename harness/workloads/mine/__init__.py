"""What every workload shares that estimates mutual information by training a critic.

A paper's own package says which pairs are drawn, which network scores them, and what the truth is.
"""
