"""Stage 5: write the report of a conversion."""
