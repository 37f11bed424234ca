"""Programs that experiments run in processes of their own, some of them with another Python."""
