"""Where frames come from: cameras, streams, videos, photos, folders and the demo, opened by one grammar."""
