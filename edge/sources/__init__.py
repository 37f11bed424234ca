"""Sources of frames: cameras, streams, videos, photos, folders and the demo."""
