"""Experiments on dermedge, which run from a checkout. `python -m dermedge.benchmarks.lab` lists all experiments."""
