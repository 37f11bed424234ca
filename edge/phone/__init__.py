"""The phone app: a web app with the classifier. The app can be installed, and works offline after the first visit."""
