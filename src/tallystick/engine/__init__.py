"""Programs as machine code: same bits on every machine, at native speed."""
