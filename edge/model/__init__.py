"""The network and what its outputs mean: runtime, classifier, manifest, decision."""
