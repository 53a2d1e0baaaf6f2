"""Limits of the intermediate representation, low enough that one step always fits a referee's budget."""

INSTRUCTIONS = 256  # per code: body, merge and epilogue each
LOADS = 16  # per kernel
AXES = 8  # output and reduce axes together
ACCUMULATORS = 4
OUTPUTS = 4
LANES = 16
GUARDS = 16  # per kernel, all addresses together
COMPUTED = 2  # computed terms per address
ENCODED_KERNEL = 4096  # bytes
VALUES = 1 << 20  # per program
ELEMENTS = 1 << 40  # per tensor
STRIDE = 1 << 40  # magnitude of a base or stride
STEPS = 1 << 31  # step numbers are non-negative int32
