"""The classifier as a web app for phones: static, installable, and offline after its first visit."""
