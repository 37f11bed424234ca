"""Everything that runs on the device: numpy, OpenCV and LiteRT, never TensorFlow."""
