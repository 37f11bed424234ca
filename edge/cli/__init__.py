"""The command lines of the device: predict, run, inspect, doctor."""
