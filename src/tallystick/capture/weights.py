"""Trained weights back into a torch module."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from tallystick.capture.reach.modules import unwrapped
from tallystick.capture.reach.walk import walk
from tallystick.capture.steps.narrowing import SCALE
from tallystick.errors import JobError


def copied(module: nn.Module) -> nn.Module:
    """A deep copy, also of a module that keeps a tensor it computed, such as the weight of the old ``weight_norm``."""
    module = unwrapped(module)
    tensors = [tensor for _, tensor in walk([("module", module)]).tensors.values()]
    computed = {id(tensor): tensor.detach().clone() for tensor in tensors if not tensor.is_leaf}
    return copy.deepcopy(module, dict(computed))


def load_weights(module: nn.Module, weights: Mapping[str, np.ndarray]) -> None:
    """Copy weights into a module's parameters and buffers, by name; tied parameters have one name.

    bfloat16 weights come as their bits (uint16). Integers with a scale beside them (``<name>_scale``) are weights that
    were quantised; other integers are widened to the module's dtype.

    Raises: JobError if names or shapes do not fit the module; the module is unchanged then.
    """
    module = unwrapped(module)
    own = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    scales = {name: weights[name + SCALE] for name in own if name + SCALE in weights and name + SCALE not in own}
    weights = {name: array for name, array in weights.items() if name.removesuffix(SCALE) not in scales or name in own}
    # Tables that a module makes when it first runs, and does not save, are no weights.
    made = {name for name in own.keys() - weights.keys() if _is_not_saved(module, name)}
    own = {name: tensor for name, tensor in own.items() if name not in made}
    missing, unknown = sorted(own.keys() - weights.keys()), sorted(weights.keys() - own.keys())
    if missing or unknown:
        odd = f"the run has no {missing[0]}" if missing else f"the module has no {unknown[0]}"
        raise JobError(f"these weights belong to another model: {odd}. Give the module that was trained.")
    for name, tensor in own.items():
        if tuple(tensor.shape) != weights[name].shape:
            raise JobError(
                f"these weights belong to another model: {name} has shape {tuple(tensor.shape)} in the module and "
                f"{weights[name].shape} in the run. Give the module that was trained."
            )
    with torch.no_grad():
        for name, tensor in own.items():
            array = np.array(weights[name])
            if name in scales:
                array = array.astype(np.float32) * scales[name]
            if array.dtype == np.uint16:
                tensor.copy_(torch.from_numpy(array.view(np.int16)).view(torch.bfloat16))
            else:
                tensor.copy_(torch.from_numpy(array))


def _is_not_saved(module: nn.Module, name: str) -> bool:
    path, _, last = name.rpartition(".")
    return last in module.get_submodule(path)._non_persistent_buffers_set
