"""The command lines of `dermedge data`, `dermedge train` and `dermedge evaluate`."""
