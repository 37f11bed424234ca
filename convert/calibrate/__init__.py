"""Stage 3: fit temperature, thresholds and logit adjustment on validation photos."""
