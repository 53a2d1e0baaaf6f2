"""Why operators that are claimed do not pass all their samples. A test keeps this list as long as it must be."""

MASK = "a boolean mask as an index makes a shape that depends on data"
DOUBLE = "samples that ask for float64"
BY_DATA = "samples whose shape depends on data"
SINGULAR = "norms by singular values"

EXPLANATIONS: dict[str, str] = {
    "__getitem__": MASK,
    "full_like": DOUBLE,
    "index_put": MASK,
    "linalg.norm": SINGULAR,
    "linalg.norm.subgradients_at_zero": SINGULAR,
    "nn.functional.one_hot": "the number of classes taken from the data",
    "repeat_interleave": BY_DATA,
    "signal.windows.kaiser": DOUBLE,
    "tensor_split": "places to split at given as a tensor",
    "zeros_like": DOUBLE,
}
