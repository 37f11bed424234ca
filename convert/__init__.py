"""Converts a trained network to one .tflite that describes itself, and compares both before the file is delivered."""
