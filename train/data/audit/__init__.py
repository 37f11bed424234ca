"""Audits labelled photos before a network learns from them: the checks, the findings and the report."""
