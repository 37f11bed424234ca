"""The verbs that run on the device: predict, run, review, inspect, models, doctor."""
