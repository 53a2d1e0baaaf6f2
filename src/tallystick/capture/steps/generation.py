"""Capturing the generation of text: a program whose step is one token of every row, and one that enters the prompts.

Both programs have the same state, so that the one can go on where the other ended:

    tokens          prompts and what follows them, padded. Shape (rows, longest + new tokens)
    position        of the newest token of every row that has not been fed to the model yet. Shape (rows,)
    ends            how many tokens every row has in the end: at an end token less than were asked for. Shape (rows,)
    cache.<l>.keys, cache.<l>.values
                    of the tokens before ``position``; what lies at and after it is overwritten before it is read

The decode program feeds the token at ``position`` and writes the chosen one behind it, unless the prompt goes on there:
it can start from nothing at all. The prefill program does in one step what the decode program does in as many steps as
the prompts have tokens but one: it fills the cache.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tallystick.capture.reach.world import World
from tallystick.capture.sampling_rules import Sampling
from tallystick.capture.steps.program import capture_program
from tallystick.capture.steps.sampling import choose
from tallystick.capture.steps.token_tables import require_known
from tallystick.capture.tracing.kv_cache import KeyValueCache, MaskWriter, Probe
from tallystick.capture.tracing.provenance import section
from tallystick.errors import CaptureError
from tallystick.ir.captured import Captured

Decode = Callable[[nn.Module, Tensor, KeyValueCache, Tensor], Tensor]
"""``decode(model, tokens, cache, positions)`` returns logits. Shapes: tokens, positions (rows, fed) ->
(rows, fed, vocabulary). It hands the keys and values of every layer to ``cache.attend`` or ``cache.update``."""

TOKENS, ENDS, LENGTHS = "tokens", "ends", "prompt.lengths"


@dataclass(frozen=True)
class CapturedGeneration:
    """The two programs. ``prefill`` is None where there is nothing to enter: all prompts have one token."""

    prefill: Captured | None
    decode: Captured


def capture_generation(
    *,
    model: nn.Module,
    prompts: Sequence[Sequence[int]],
    new_tokens: int,
    sampling: Sampling,
    seed: int = 0,
    end_tokens: Sequence[int] = (),
    padding: int = 0,
    decode: Decode | None = None,
    prefill: bool = True,
) -> CapturedGeneration:
    """The programs that continue prompts by ``new_tokens`` tokens; the decode program starts from an empty cache.

    ``decode`` None: the model is one of ``transformers``, or takes the same arguments. The model is captured in
    evaluation mode and left as it was.

    Raises: CaptureError naming what cannot be captured, and the user's line where there is one.
    """
    batch = Batch.of(prompts, new_tokens, padding)
    call = transformers_decode(model, batch.tokens.shape[1] - 1) if decode is None else decode
    with evaluation_mode(model):
        world = World([("model", model), ("decode", decode)])
        try:
            layers, vocabulary = cache_layers(model, call)
        finally:
            world.restore()
        state = batch.start(layers)
        require_known(model, call, prompts, padding, end_tokens, batch.tokens.shape[1] - 2)
        step = GenerationStep(call, batch, sampling, end_tokens)
        constants = {LENGTHS: batch.lengths}

        def program(function: Callable[..., dict[str, Tensor]]) -> Captured:
            # Every row is fed the token after the last one in every step, until the longest is full.
            ranges = {"position": (0, batch.tokens.shape[1] - 2)}
            # What is chosen is the number of a logit; a draw ends before the last sum, which is above every share of
            # it.
            largest = max(int(batch.tokens.max()), vocabulary - 1)
            within = {TOKENS: (int(batch.tokens.min()), largest)}
            return capture_program(
                function,
                state=state,
                constants=constants,
                model=model,
                seed=seed,
                ranges=ranges,
                within=within,
                roots={"decode": decode},
            )

        entered = program(step.prefill) if prefill and batch.longest > 1 else None
        decoding = program(step.decode)
        if entered is not None and entered.state_names != decoding.state_names:
            raise CaptureError(
                "the program that enters prompts and the one that chooses tokens would note different things "
                f"({', '.join(sorted({*entered.state_names} ^ {*decoding.state_names}))}), so that one could not go on "
                "where the other ended: generate with prefill=False"
            )
        return CapturedGeneration(entered, decoding)


@dataclass(frozen=True)
class Batch:
    """Prompts side by side. Shapes: tokens (rows, longest + new tokens), lengths (rows,)."""

    tokens: np.ndarray
    lengths: np.ndarray
    new_tokens: int
    padding: int

    @classmethod
    def of(cls, prompts: Sequence[Sequence[int]], new_tokens: int, padding: int) -> Batch:
        rows = [np.asarray(prompt) for prompt in prompts]
        lengths = np.array([len(row) for row in rows], np.int32)
        tokens = np.full((len(rows), lengths.max() + new_tokens), padding, np.int32)
        for row, prompt in enumerate(rows):
            tokens[row, : len(prompt)] = prompt
        return cls(tokens, lengths, new_tokens, padding)

    @property
    def rows(self) -> int:
        return len(self.lengths)

    @property
    def longest(self) -> int:
        return int(self.lengths.max())

    def start(self, layers: Sequence[tuple[Tensor, Tensor]]) -> dict[str, Any]:
        """The state before anything was fed. ``layers`` are keys and values of one token: (1, heads, 1, width)."""
        ends = self.lengths + np.int32(self.new_tokens)
        state: dict[str, Any] = {TOKENS: self.tokens, "position": np.zeros(self.rows, np.int32), ENDS: ends}
        for number, layer in enumerate(layers):
            for name, one in zip(("keys", "values"), layer, strict=True):
                shape = (self.rows, one.shape[1], self.tokens.shape[1] - 1, one.shape[3])
                state[f"cache.{number}.{name}"] = torch.zeros(shape, dtype=one.dtype)
        return state


class GenerationStep:
    """The two step functions."""

    def __init__(self, call: Decode, batch: Batch, sampling: Sampling, end_tokens: Sequence[int]) -> None:
        self.call, self.batch, self.sampling, self.end_tokens = call, batch, sampling, end_tokens

    def prefill(self, state: dict[str, Tensor], constants: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
        """Feed all of the prompts but their last tokens. Padding is fed, too: nothing that counts ever sees it."""
        fed = self.batch.longest - 1
        with section("prompt: positions"):
            positions = torch.arange(fed).expand(self.batch.rows, fed)
            position = constants[LENGTHS] - 1
        cache = cache_of(state, positions, prefill=True)
        self._feed(model, state[TOKENS][:, :fed].long(), cache)
        return {**state, "position": position, **cache_state(cache)}

    def decode(self, state: dict[str, Tensor], constants: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
        """Feed one token of every row and choose the next."""
        tokens, ends, lengths = state[TOKENS], state[ENDS], constants[LENGTHS]
        position = state["position"].long()
        with section("tokens: next to feed"):
            fed = tokens.gather(1, position[:, None]).long()
        cache = cache_of(state, position[:, None], prefill=False)
        logits = self._feed(model, fed, cache)
        last = self.last(logits)
        self._require_choosable(last.shape[-1])
        chosen = choose(last, self.sampling)
        with section("tokens: append"):
            following = position + 1
            given = tokens.gather(1, following[:, None])[:, 0]
            added = torch.where(following < ends, chosen, self.batch.padding)
            added = torch.where(following < lengths, given, added)
            if self.end_tokens:
                over = self._ends(chosen) & (following >= lengths) & (following < ends)
                ends = torch.where(over, following + 1, ends).to(ends.dtype)
            tokens = tokens.scatter(1, following[:, None], added[:, None].to(tokens.dtype))
        return {TOKENS: tokens, "position": following.to(torch.int32), ENDS: ends, **cache_state(cache)}

    def _feed(self, model: nn.Module, tokens: Tensor, cache: KeyValueCache) -> Tensor:
        """Call the model. Shapes: (rows, fed) -> (rows, fed, vocabulary)."""
        with MaskWriter(cache):
            return self.call(model, tokens, cache, cache.positions)

    def _ends(self, chosen: Tensor) -> Tensor:
        """Which rows end with the token chosen for them. Shapes: (rows,) -> (rows,), bool."""
        ends = chosen == self.end_tokens[0]
        for token in self.end_tokens[1:]:
            ends = ends | (chosen == token)
        return ends

    def _require_choosable(self, vocabulary: int) -> None:
        """Refuse end tokens that are never chosen."""
        for token in self.end_tokens:
            if token >= vocabulary:
                raise CaptureError(
                    f"the end token {token} can never be chosen: the model chooses among {vocabulary} tokens, numbered "
                    f"from 0 to {vocabulary - 1}. Give one of those, or leave end_token out"
                )

    def last(self, logits: Tensor) -> Tensor:
        """Logits of the one token that was fed. Shapes: (rows, 1, vocabulary) -> (rows, vocabulary)."""
        if not isinstance(logits, Tensor) or logits.dim() != 3 or tuple(logits.shape[:2]) != (self.batch.rows, 1):
            shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise CaptureError(
                f"decode returned {shape}; it must return logits of shape (rows, fed tokens, vocabulary)"
            )
        return logits[:, 0]


def cache_of(state: dict[str, Tensor], positions: Tensor, prefill: bool) -> KeyValueCache:
    """The cache that a state holds."""
    layers = sum(name.endswith(".keys") for name in state)
    keys, values = ([state[f"cache.{n}.{what}"] for n in range(layers)] for what in ("keys", "values"))
    return KeyValueCache(keys, values, positions, prefill)


def cache_state(cache: KeyValueCache) -> dict[str, Tensor]:
    """The slots of the state that hold a cache."""
    named = {"keys": cache.keys, "values": cache.values}
    return {f"cache.{n}.{what}": tensor for what, layers in named.items() for n, tensor in enumerate(layers)}


def transformers_decode(model: nn.Module, keys: int) -> Decode:
    """How models of ``transformers`` are called, with a cache of so many tokens.

    Raises: CaptureError for a model that takes other arguments, or whose layers do not all see all of the cache.
    """
    taken = inspect.signature(model.forward).parameters
    needed = ("input_ids", "attention_mask", "position_ids", "past_key_values")
    if missing := [name for name in needed if name not in taken]:
        raise CaptureError(
            f"{type(model).__name__}.forward takes no {missing[0]}, as causal language models of transformers do; "
            "say how the model is called with a cache: decode=function(model, tokens, cache, positions)"
        )

    window = getattr(getattr(model, "config", None), "sliding_window", None)
    if window is not None and window < keys and getattr(getattr(model, "config", None), "use_sliding_window", True):
        raise CaptureError(
            f"{type(model).__name__} has layers that see only the last {window} tokens, and there would be {keys}: "
            "generate less, or say with decode=... how its layers attend"
        )

    def decode(model: nn.Module, tokens: Tensor, cache: KeyValueCache, positions: Tensor) -> Tensor:
        result = model(
            input_ids=tokens, attention_mask=cache.mask, position_ids=positions, past_key_values=cache, use_cache=True
        )
        return result.logits

    return decode


def cache_layers(model: nn.Module, call: Decode) -> tuple[list[tuple[Tensor, Tensor]], int]:
    """Keys and values of one token in every layer, and how many tokens there are logits for, found by feeding one."""
    probe: Any = Probe()
    with torch.no_grad():
        logits = call(model, torch.zeros(1, 1, dtype=torch.int64), probe, probe.positions)
    if not probe.layers:
        raise CaptureError("the model did not use the cache it was given: it must call cache.update or cache.attend")
    if sorted(probe.layers) != list(range(len(probe.layers))):
        raise CaptureError(f"the model uses layers {sorted(probe.layers)} of the cache; number them from 0")
    vocabulary = logits.shape[-1] if isinstance(logits, Tensor) and logits.dim() else 1
    return [probe.layers[number] for number in range(len(probe.layers))], vocabulary


@contextlib.contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Nothing is dropped out while text is generated; afterwards all modules are as they were."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
