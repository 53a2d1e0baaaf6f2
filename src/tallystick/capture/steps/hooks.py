"""Hooks on the gradients of parameters, run on the tensors that stand in for the parameters in a traced step."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from tallystick.errors import CaptureError


def lend_hooks(own: Tensor, leaf: Tensor) -> None:
    """Register the hooks of a parameter's gradient on the leaf that stands in for it."""
    for hook in (own._backward_hooks or {}).values():
        leaf.register_hook(hook)


def hooks_of(tensor: Tensor) -> int:
    """How many hooks a tensor's gradient has."""
    after = getattr(tensor, "_post_accumulate_grad_hooks", None)
    return len(tensor._backward_hooks or ()) + len(after or ())


def refuse_new_hooks(owns: Mapping[str, Tensor], leaves: Mapping[str, Tensor]) -> None:
    """Raises: CaptureError for a hook that the step itself registers: in PyTorch there is one more after every step."""
    for name, leaf in leaves.items():
        lent = len(owns[name]._backward_hooks or ())
        if hooks_of(leaf) > lent:
            raise CaptureError(
                f"the step registers a hook on the gradient of {name}: in PyTorch every step would add one more. "
                "Register it once, on the model, before the job is made"
            )


def refuse_own_backward(leaves: Mapping[str, Tensor]) -> None:
    """Raises: CaptureError if the loss has filled in gradients itself, or switched them off."""
    for name, leaf in leaves.items():
        if not leaf.requires_grad:
            raise CaptureError(
                f"the loss switches the gradient of {name} off (requires_grad): freeze it before the job is made, or "
                "use it .detach()ed where nothing is to flow through it"
            )
        with torch._C.DisableTorchFunction():  # the user's code may not read a gradient that is not there yet
            gradient = leaf.grad
        if gradient is not None:
            raise CaptureError(
                f"the loss calls backward() itself, or writes the gradient of {name}: return the sum of all losses "
                "instead; gradients inside a loss come from torch.autograd.grad"
            )


def after_accumulation(
    owns: Mapping[str, Tensor], leaves: Mapping[str, Tensor], gradients: dict[str, Tensor | None], accumulate: int
) -> dict[str, Tensor | None]:
    """The gradients after the hooks that PyTorch runs when a parameter has got its gradient.

    Raises: CaptureError if gradients are accumulated over steps: such a hook would be given the sum so far.
    """
    found = dict(gradients)
    for name, own in owns.items():
        hooks = list((getattr(own, "_post_accumulate_grad_hooks", None) or {}).values())
        if not hooks or found[name] is None:
            continue
        if accumulate > 1:
            raise CaptureError(
                f"{name} has a post-accumulate hook, and accumulate={accumulate}: such a hook sees the sum of the "
                "batches so far. Use register_hook, which sees the gradient of each batch, or accumulate=1"
            )
        leaf = leaves[name]
        leaf.grad = found[name]
        for hook in hooks:
            hook(leaf)
        found[name], leaf.grad = leaf.grad, None
    return found
