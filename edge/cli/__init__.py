"""The command lines of the device: predict, run, review, inspect, models, doctor."""
