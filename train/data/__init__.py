"""Finds labelled photos, reads the tables that describe the photos, and audits, groups and splits the photos."""
