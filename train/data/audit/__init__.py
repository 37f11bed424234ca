"""Audits labelled photos before training: the checks, the findings and the report."""
