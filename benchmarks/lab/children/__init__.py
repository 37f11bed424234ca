"""Programs that experiments run in separate processes. Some of these processes use another Python."""
