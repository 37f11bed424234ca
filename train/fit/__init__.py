"""Trains a network on a catalogue of photos: the float stage, then quantization-aware fine-tuning."""
