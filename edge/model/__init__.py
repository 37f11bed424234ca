"""Runs a model, and decides what the outputs of the model mean: runtime, classifier, manifest, decision."""
