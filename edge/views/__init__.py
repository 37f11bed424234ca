"""The views, which show or store frame results: terminal, window, JSON lines, web page, recording, systemd."""
