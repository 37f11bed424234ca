"""Scores of models on labelled photos, with their intervals, and the reports of them."""
