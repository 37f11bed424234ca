"""Experiments on this project itself. They run from a checkout and are not in the wheel."""
