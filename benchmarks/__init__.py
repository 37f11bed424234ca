"""Measures the accuracy, latency and memory of .tflite files on this machine, side by side."""
