"""Convert a trained network to one .tflite file, which contains a manifest that describes it.

The file is only written if it passes a comparison with the float network.
"""
