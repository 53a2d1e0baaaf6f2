"""Text that language models of ``transformers`` generate, as they are, against their own ``generate``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import tallystick as ts
from tallystick.errors import CaptureError

transformers = pytest.importorskip("transformers")

PROMPTS = [[1, 2, 3, 4, 5], [7, 8], [9, 10, 11, 12, 13, 14, 15, 16, 17]]
NEW = 32
SMALL = {
    "vocab_size": 61,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.3,
    "bos_token_id": None,
    "eos_token_id": None,
}


def llama(**changes: Any) -> Any:
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**(SMALL | changes)))


def qwen3(**changes: Any) -> Any:
    return transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**(SMALL | {"head_dim": 8} | changes)))


def mistral(**changes: Any) -> Any:
    return transformers.MistralForCausalLM(transformers.MistralConfig(**(SMALL | changes)))


def gpt2(**changes: Any) -> Any:
    sizes = {"vocab_size": 61, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "initializer_range": 0.3}
    return transformers.GPT2LMHeadModel(
        transformers.GPT2Config(**(sizes | {"bos_token_id": None, "eos_token_id": None} | changes))
    )


@pytest.mark.parametrize("build", [llama, gpt2, qwen3, pytest.param(mistral, marks=pytest.mark.slow)])
def test_greedy_tokens_are_those_of_generate(build: Callable[..., Any], tmp_path: Path) -> None:
    """Prompts of different lengths side by side, each against its own run without padding."""
    torch.manual_seed(1)
    model = build().eval()
    job = ts.GenerationJob(model=model, prompts=PROMPTS, new_tokens=NEW, sampling=ts.Greedy())
    found = job.run(tmp_path / "run", threads=1)
    for prompt, row in zip(PROMPTS, found.tokens(), strict=True):
        whole = model.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.int64),
            max_new_tokens=NEW,
            do_sample=False,
            pad_token_id=0,
        )
        assert row == whole[0, len(prompt) :].tolist()
    assert ts.verify(found.folder).ok


@pytest.mark.slow
def test_attention_written_by_the_model_itself_gives_the_same_tokens(tmp_path: Path) -> None:
    torch.manual_seed(1)
    found = []
    for implementation in ("sdpa", "eager"):
        torch.manual_seed(1)
        model = llama(attn_implementation=implementation)
        job = ts.GenerationJob(model=model, prompts=PROMPTS, new_tokens=NEW, sampling=ts.Greedy())
        found.append(job.run(tmp_path / implementation, threads=1).tokens())
    assert found[0] == found[1]


def test_a_window_that_is_too_short_is_refused() -> None:
    job = ts.GenerationJob(model=mistral(sliding_window=8), prompts=PROMPTS, new_tokens=NEW, sampling=ts.Greedy())
    with pytest.raises(CaptureError, match="see only the last 8 tokens, and there would be 40"):
        job.capture()
