"""The classifier as a web app for phones. It can be installed, and works without a network after the first visit."""
