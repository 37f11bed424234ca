"""Stage 1: read a trained classifier, its photos and its labels."""
