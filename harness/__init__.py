"""A distributed reproducibility benchmark harness: does a paper's result still reproduce?"""
