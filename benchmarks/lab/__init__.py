"""Experiments on this project. They run from a checkout: `python -m dermedge.benchmarks.lab` lists them."""
