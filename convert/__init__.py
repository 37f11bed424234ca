"""A trained network to one .tflite that describes itself, run and compared before it is delivered."""
