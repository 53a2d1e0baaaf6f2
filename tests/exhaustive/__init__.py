"""Elementary functions against a better reference, on every input there is."""
