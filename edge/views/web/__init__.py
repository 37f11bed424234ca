"""The web page for a board without a screen: live video, state, history, and figures for Prometheus."""

# On the loopback, so that nobody else sees it.
DEFAULT_ADDRESS = "127.0.0.1:8000"
