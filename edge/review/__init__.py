"""Labels the photos that `dermedge run --record` kept: a local page, and a table that `dermedge train` reads."""
