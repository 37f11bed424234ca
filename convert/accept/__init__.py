"""Stage 4: compare the converted file with its float network, and accept or refuse the file."""
