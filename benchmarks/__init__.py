"""Accuracy, latency and memory of .tflite files, measured side by side on the machine at hand."""
