"""All code that runs on the device. It uses NumPy, OpenCV and LiteRT, and never imports TensorFlow."""
