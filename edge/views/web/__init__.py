"""The web page for a board without a screen: live video, state, history, and metrics for Prometheus."""

# The web page is served at this address by default. Other machines cannot reach it, because it is a loopback address.
DEFAULT_ADDRESS = "127.0.0.1:8000"
