"""Labels the photos that `dermedge run --record` stored. The labels go into a table that `dermedge train` reads."""
