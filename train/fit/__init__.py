"""Trains a network on a catalogue of photos.

The first stage trains in float32. The second stage fine-tunes the network with quantization-aware training.
"""
