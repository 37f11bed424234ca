"""From a catalogue of photos to a trained network: the float stage, then quantization-aware fine-tuning."""
