"""Stage 2: convert the network to a TFLite flatbuffer."""
