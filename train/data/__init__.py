"""Finds labelled photos, reads their tables, audits, groups and splits them."""
