"""Scores models on labelled photos, with confidence intervals, and writes reports."""
