"""Which operators are written out in terms of others, and how, before lowering.

Two tables. ``UNDER_AUTOGRAD`` replaces operators while the user's code is recorded, below autograd: those whose
mutation PyTorch does not declare, those whose shapes or devices it does not always know, and factorisations, of which
the gradient counts on what PyTorch returns for an operand with just these strides; and it refuses operands that eager
PyTorch refuses. ``CORE`` applies afterwards, to the functional record: PyTorch's own core ATen decompositions, without
those that would lose a form that lowers well, and with ours (``normal_forms.py``, ``routing.py``).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch._decomp import core_aten_decompositions, get_decompositions
from torch._ops import OpOverload

from tallystick.capture.decompositions.activations import ACTIVATIONS
from tallystick.capture.decompositions.distances import DISTANCES
from tallystick.capture.decompositions.elimination import ELIMINATION
from tallystick.capture.decompositions.embeddings import EMBEDDINGS, renorm_
from tallystick.capture.decompositions.error_functions import ERROR_FUNCTIONS
from tallystick.capture.decompositions.fake_quantisation import FAKE_QUANTISATION, observe_and_quantise
from tallystick.capture.decompositions.gamma_functions import GAMMA_FUNCTIONS
from tallystick.capture.decompositions.grid_sampling import GRID_SAMPLING
from tallystick.capture.decompositions.matrix_exponential import MATRIX_EXPONENTIAL
from tallystick.capture.decompositions.normal_forms import NORMAL_FORMS, batch_norm, zeros
from tallystick.capture.decompositions.operands import OPERANDS
from tallystick.capture.decompositions.order_statistics import ORDER_STATISTICS
from tallystick.capture.decompositions.pools import POOLS
from tallystick.capture.decompositions.reflections import REFLECTIONS
from tallystick.capture.decompositions.resampling_by_matrices import RESAMPLING
from tallystick.capture.decompositions.routing import ROUTING, grouped_mm
from tallystick.capture.decompositions.selections import SELECTIONS
from tallystick.capture.decompositions.triangular import TRIANGULAR
from tallystick.capture.tracing.strides import STRIDES

aten = torch.ops.aten

# Core operators that PyTorch knows how to write out, and that have no better form of their own.
_WRITTEN_OUT = [
    aten._log_softmax,
    aten._safe_softmax,
    aten._softmax,
    aten.addmv,
    aten.celu,
    aten.dist,
    aten.dot,
    aten.elu,
    aten.gelu,
    aten.glu,
    aten.grid_sampler_2d,
    aten.hardsigmoid,
    aten.hardswish,
    aten.hardtanh,
    aten.leaky_relu,
    aten.linalg_vector_norm,
    aten.log_sigmoid_forward,
    aten.logaddexp,
    aten.logsumexp,
    aten.mish,
    aten.mv,
    aten.native_group_norm,
    aten.native_group_norm_backward,
    aten.native_layer_norm,
    aten.native_layer_norm_backward,
    aten.nll_loss2d_forward,
    aten.nll_loss_forward,
    aten.prelu,
    aten.repeat,
    aten.selu,
    aten.slice_scatter,
    aten.softplus,
    aten.stack,
    aten.upsample_bilinear2d,
    aten.vdot,
]
# Kept whole: their lowerings are better than what they would be written out as.
_KEPT_WHOLE = [aten.index_add.default]

UNDER_AUTOGRAD: dict[OpOverload, Callable] = {
    aten._efficientzerotensor.default: zeros,  # of derivatives forwards, which fake tensors put on another device
    aten.native_batch_norm.default: batch_norm,
    aten._fused_moving_avg_obs_fq_helper.default: observe_and_quantise,
    aten._grouped_mm.default: grouped_mm,
    aten.embedding_renorm_.default: renorm_,
    **ELIMINATION,
    **OPERANDS,
    **REFLECTIONS,
    **TRIANGULAR,
}

_OURS = (
    ACTIVATIONS, DISTANCES, EMBEDDINGS, ERROR_FUNCTIONS, FAKE_QUANTISATION, GAMMA_FUNCTIONS, GRID_SAMPLING,
    MATRIX_EXPONENTIAL, NORMAL_FORMS, ORDER_STATISTICS, POOLS, RESAMPLING, ROUTING, SELECTIONS, STRIDES,
)  # fmt: skip

CORE: dict[OpOverload, Callable] = {
    operator: function
    for table in (core_aten_decompositions(), get_decompositions(_WRITTEN_OUT), *_OURS)
    for operator, function in table.items()
    if isinstance(operator, OpOverload)
}
for _operator in _KEPT_WHOLE:
    CORE.pop(_operator, None)
