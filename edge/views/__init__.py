"""Views that show frame results: terminal, window, JSON lines, web page, recording, systemd."""
