"""The web page for a board without a screen: live video, state, history, and metrics for Prometheus."""

# The loopback address, which other machines cannot reach.
DEFAULT_ADDRESS = "127.0.0.1:8000"
