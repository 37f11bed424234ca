"""How frame results are shown: terminal, window, JSON lines, web page, recording, systemd."""
