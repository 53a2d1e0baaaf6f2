"""The keys and values of all tokens so far, as a model sees them while a step is traced."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from torch.overrides import TorchFunctionMode

from tallystick.capture.tracing.provenance import section
from tallystick.errors import CaptureError


class KeyValueCache:
    """What a model is given to remember keys and values in.

    ``positions``  of the tokens that are fed. Shape (rows, fed)
    ``mask``       to be added to the scores of attention: 0 where a fed token sees a key, else the most negative
                   number. Shape (rows, 1, fed, keys)

    ``update`` has the signature of the caches of ``transformers``, whose models take this object as
    ``past_key_values``.
    """

    is_compileable = False
    is_initialized = True

    def __init__(self, keys: list[Tensor], values: list[Tensor], positions: Tensor, prefill: bool) -> None:
        self.keys, self.values, self.positions = keys, values, positions
        self._prefill = prefill
        self._updated: set[int] = set()
        with section("cache: mask"):
            seen = torch.arange(positions.shape[1] if prefill else keys[0].shape[2])
            sees = seen <= positions[:, None, :, None]
            self.mask = torch.where(sees, 0.0, torch.finfo(torch.float32).min)

    def update(self, keys: Tensor, values: Tensor, layer_idx: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Remember the keys and values of the fed tokens; returns those to attend to, of all tokens so far.

        Shapes: (rows, heads, fed, width) -> (rows, heads, keys, width).
        """
        if layer_idx in self._updated:
            raise CaptureError(f"the model updates layer {layer_idx} of the cache twice in one step")
        self._updated.add(layer_idx)
        with section(f"cache: layer {layer_idx}"):
            if self._prefill:
                for remembered, fed in ((self.keys, keys), (self.values, values)):
                    rest = remembered[layer_idx][:, :, fed.shape[2] :]
                    remembered[layer_idx] = torch.cat([fed.to(rest.dtype), rest], 2)
                return keys, values
            rows, place = torch.arange(keys.shape[0]), self.positions[:, 0]
            for remembered, fed in ((self.keys, keys), (self.values, values)):
                remembered[layer_idx][rows, :, place] = fed[:, :, 0].to(remembered[layer_idx].dtype)
            return self.keys[layer_idx], self.values[layer_idx]

    def attend(self, query: Tensor, keys: Tensor, values: Tensor, layer_idx: int, scale: float | None = None) -> Tensor:
        """``update``, then attention of the fed tokens to all so far.

        Shapes: query (rows, heads, fed, width), keys and values with as many heads or a divisor of it -> as query.
        """
        keys, values = self.update(keys, values, layer_idx)
        return masked_attention(query, keys, values, self.mask, scale)

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Tokens before the fed ones, as far as shapes know: models that use it instead of positions get it wrong."""
        raise CaptureError(
            "the model asks the cache how long it is, which a program does not know; it must use the positions it is "
            "given (position_ids)"
        )

    def get_max_cache_shape(self, layer_idx: int = 0) -> int:
        return self.keys[layer_idx].shape[2]


class MaskWriter(TorchFunctionMode):
    """Writes out attention under the mask of a cache while a model is traced.

    Every token sees itself, so that there is no row to be careful about, and the scale is free after the product;
    PyTorch would scale all of the cache in every step.
    """

    def __init__(self, cache: KeyValueCache) -> None:
        super().__init__()
        self._cache = cache

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        plain = len(args) == 3 and not kwargs.get("dropout_p") and not kwargs.get("is_causal")
        if func is F.scaled_dot_product_attention and plain and kwargs.get("attn_mask") is self._cache.mask:
            query, keys, values = args
            return masked_attention(query, keys, values, self._cache.mask, kwargs.get("scale"))
        return func(*args, **kwargs)


def masked_attention(query: Tensor, keys: Tensor, values: Tensor, mask: Tensor, scale: float | None) -> Tensor:
    """softmax(query @ keys.T * scale + mask) @ values; keys and values may have fewer heads than the query has.

    Shapes: (rows, heads, fed, width), (rows, key heads, keys, width) -> as query.
    """
    rows, heads, fed, width = query.shape
    groups = heads // keys.shape[1]
    if groups > 1:  # the queries of one group side by side, instead of keys that are repeated
        query, mask = query.reshape(rows, heads // groups, groups * fed, width), mask.repeat(1, 1, groups, 1)
    factor = 1.0 / math.sqrt(width) if scale is None else scale
    scores = (query @ keys.transpose(-2, -1)) * factor + mask
    return (scores.softmax(-1) @ values).reshape(rows, heads, fed, values.shape[-1])


class Probe:
    """Stands in for a cache to find out which layers a model has, and the shapes of their keys and values."""

    is_compileable = False
    is_initialized = True

    def __init__(self) -> None:
        self.layers: dict[int, tuple[Tensor, Tensor]] = {}
        self.mask = torch.zeros(1, 1, 1, 1)
        self.positions = torch.zeros(1, 1, dtype=torch.int64)

    def update(self, keys: Tensor, values: Tensor, layer_idx: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        self.layers[layer_idx] = keys, values
        return keys, values

    def attend(self, query: Tensor, keys: Tensor, values: Tensor, layer_idx: int, scale: float | None = None) -> Tensor:
        _, values = self.update(keys, values, layer_idx)
        return values.repeat_interleave(query.shape[1] // values.shape[1], 1)

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return 0

    def get_max_cache_shape(self, layer_idx: int = 0) -> int:
        return 1
