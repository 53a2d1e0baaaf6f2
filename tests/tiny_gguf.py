"""A tiny chat model in a GGUF file, laid out as llama.cpp's converter lays out a Llama."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from gguf import GGMLQuantizationType, GGUFWriter, TokenType, quants
from transformers import LlamaConfig, LlamaForCausalLM

HEADS, KEY_HEADS, LAYERS, WIDTH, INNER = 4, 2, 2, 64, 128
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
MERGES = ["t h", "th e", "e r", "i n", "r e"]
TEMPLATE = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def letters() -> list[str]:
    """The printable letters that stand for the 256 bytes in vocabularies of GPT-2's kind."""
    shown = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return [chr(byte) for byte in shown] + [chr(256 + number) for number in range(len(hidden))]


def tokens() -> list[str]:
    return [*SPECIAL, *letters(), *(merge.replace(" ", "") for merge in MERGES)]


def model() -> LlamaForCausalLM:
    """What the file is written from; the weights are random."""
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokens()),
            hidden_size=WIDTH,
            intermediate_size=INNER,
            num_hidden_layers=LAYERS,
            num_attention_heads=HEADS,
            num_key_value_heads=KEY_HEADS,
            max_position_embeddings=512,
            rms_norm_eps=1e-5,
            rope_parameters={"rope_type": "default", "rope_theta": 100_000.0},
            tie_word_embeddings=True,
        )
    )


def interleaved(rows: np.ndarray, heads: int) -> np.ndarray:
    """Rows of queries or keys as llama.cpp has them: the two halves of a head in turn. Shape (heads * d, width)."""
    return rows.reshape(heads, 2, -1, rows.shape[1]).swapaxes(1, 2).reshape(rows.shape)


def tensors(source: LlamaForCausalLM) -> dict[str, np.ndarray]:
    """The weights by their names in GGUF."""
    weights = {name: weight.detach().numpy() for name, weight in source.named_parameters()}
    found = {
        "token_embd.weight": weights["model.embed_tokens.weight"],
        "output_norm.weight": weights["model.norm.weight"],
    }
    parts = {"mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}
    parts |= {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm"}
    parts |= {
        f"self_attn.{one}_proj": f"attn_{name}" for one, name in zip("qkvo", ("q", "k", "v", "output"), strict=True)
    }
    for layer in range(LAYERS):
        for theirs, name in parts.items():
            weight = weights[f"model.layers.{layer}.{theirs}.weight"]
            heads = {"attn_q": HEADS, "attn_k": KEY_HEADS}.get(name)
            found[f"blk.{layer}.{name}.weight"] = weight if heads is None else interleaved(weight, heads)
    return found


def write_gguf(path: Path, narrow: bool = True) -> LlamaForCausalLM:
    """Write the model's file, its matrices with four bits a weight if ``narrow``; returns what it was written from."""
    source = model()
    file = GGUFWriter(path, "llama")
    file.add_name("Tiny")
    file.add_context_length(512)
    file.add_embedding_length(WIDTH)
    file.add_block_count(LAYERS)
    file.add_feed_forward_length(INNER)
    file.add_head_count(HEADS)
    file.add_head_count_kv(KEY_HEADS)
    file.add_layer_norm_rms_eps(1e-5)
    file.add_rope_freq_base(100_000.0)
    file.add_rope_dimension_count(WIDTH // HEADS)
    file.add_vocab_size(len(tokens()))
    file.add_tokenizer_model("gpt2")
    file.add_token_list(tokens())
    file.add_token_types([*[TokenType.CONTROL] * len(SPECIAL), *[TokenType.NORMAL] * (len(tokens()) - len(SPECIAL))])
    file.add_token_merges(MERGES)
    file.add_unk_token_id(0)
    file.add_bos_token_id(1)
    file.add_eos_token_id(2)
    file.add_pad_token_id(2)
    file.add_add_bos_token(False)
    file.add_chat_template(TEMPLATE)
    for name, weight in tensors(source).items():
        if narrow and weight.ndim == 2:
            kind = GGMLQuantizationType.Q8_0 if name == "token_embd.weight" else GGMLQuantizationType.Q4_1
            file.add_tensor(name, quants.quantize(weight, kind), raw_dtype=kind)
        else:
            file.add_tensor(name, weight)
    file.write_header_to_file()
    file.write_kv_data_to_file()
    file.write_tensors_to_file()
    file.close()
    return source
