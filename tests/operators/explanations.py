"""Why operators that are claimed do not pass all their samples. A test keeps this list as long as it must be."""

EXPLANATIONS: dict[str, str] = {}
