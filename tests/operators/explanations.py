"""Why operators that are claimed do not pass all their samples. A test keeps this list as long as it must be."""

MASK = "a boolean mask as an index makes a shape that depends on data"
DOUBLE = "samples that ask for float64"
BY_DATA = "samples whose shape depends on data"
SINGULAR = "norms by singular values"

EXPLANATIONS: dict[str, str] = {
    "__getitem__": MASK,
    "full_like": DOUBLE,
    "grid_sampler_2d": "its gradient has no lowering yet",
    "histc": "an interval taken from the data",
    "index_fill": "the gradient by a filled value asks which places are distinct, which depends on data",
    "index_put": MASK,
    "linalg.norm": SINGULAR,
    "linalg.norm.subgradients_at_zero": SINGULAR,
    "nn.functional.embedding_bag": "bags by their maximum",
    "nn.functional.grid_sample": "volumes, and the gradient, have no lowering yet",
    "nn.functional.linear_cross_entropy.chunked": "PyTorch's operator for chunks of rows has no lowering",
    "nn.functional.linear_cross_entropy.chunked_none": "PyTorch's operator for chunks of rows has no lowering",
    "nn.functional.one_hot": "the number of classes taken from the data",
    "renorm": "its gradient is computed in float64 by PyTorch",
    "repeat_interleave": BY_DATA,
    "signal.windows.kaiser": DOUBLE,
    "tensor_split": "places to split at given as a tensor",
    "zeros_like": DOUBLE,
}
