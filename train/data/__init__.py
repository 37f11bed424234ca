"""Labelled photos: find them, read their tables, audit them, group and split them."""
