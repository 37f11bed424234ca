"""Scores models on labelled photos, with intervals, and writes reports."""
