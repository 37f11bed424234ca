"""Audits labelled photos before anything is learned from them: checks, findings and their report."""
