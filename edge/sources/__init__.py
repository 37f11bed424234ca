"""Sources that deliver frames: cameras, streams, videos, photos, folders and the demo."""
