"""Convert a trained network to one .tflite file that carries its own description.

The file is only written if it passes a comparison with the float network.
"""
