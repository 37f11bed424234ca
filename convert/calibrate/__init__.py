"""Stage 3: fit temperature and thresholds to the answers of the converted file, and logit adjustment."""
