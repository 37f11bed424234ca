"""Stage 2 for other runtimes: convert the network to ONNX, and run it with ONNX Runtime."""
