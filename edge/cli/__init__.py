"""The commands that run on the device: `dermedge predict`, run, review, inspect, models and doctor."""
