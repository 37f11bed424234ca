"""Stage 3: fit logit adjustment, temperature and thresholds on validation photos."""
