#!/bin/sh
# A Llama that transformers reads from a GGUF file has plain float32 weights (its architecture is not one of those whose
# weights stay packed), and still counts as quantized: save_pretrained, .half(), .float() and Trainer refuse it, and so
# does saving it with adapters merged in. The file here holds float32 and nothing else.
# Way round: from_pretrained(..., quantization_config=GgufConfig(dequantize=True)).
# Ends with 0 if it is still so, 1 if not. Everything is installed into a temporary folder.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check torch==2.13.0 transformers==5.23.0 \
    gguf==0.19.0 accelerate==1.15.0 numpy==2.4.6
HF_HUB_OFFLINE=1 "$folder/venv/bin/python" - "$folder" <<'PROGRAM'
import sys
from importlib.metadata import version
from pathlib import Path

import torch
from gguf import GGUFWriter
from transformers import GgufConfig, LlamaConfig, LlamaForCausalLM

print("transformers", version("transformers"), "gguf", version("gguf"), "torch", version("torch"))
folder = Path(sys.argv[1])
sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 1}
source = LlamaForCausalLM(LlamaConfig(vocab_size=16, tie_word_embeddings=True, **sizes))
names = {"model.embed_tokens": "token_embd", "model.norm": "output_norm"}
parts = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v"}
parts |= {"self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up"}
parts |= {"mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm"}
names |= {f"model.layers.0.{theirs}": f"blk.0.{name}" for theirs, name in parts.items()}
file = GGUFWriter(folder / "tiny.gguf", "llama")
file.add_name("Tiny")
file.add_vocab_size(16)
file.add_context_length(64)
file.add_embedding_length(32)
file.add_feed_forward_length(64)
file.add_block_count(1)
file.add_head_count(1)
file.add_head_count_kv(1)
file.add_layer_norm_rms_eps(1e-6)
for name, weight in source.named_parameters():
    file.add_tensor(names[name.removesuffix(".weight")] + ".weight", weight.detach().numpy())
file.write_header_to_file()
file.write_kv_data_to_file()
file.write_tensors_to_file()
file.close()


def trouble(**options):
    """What saving says, or None; and whether all weights are plain float32 parameters."""
    model = LlamaForCausalLM.from_pretrained(folder, gguf_file="tiny.gguf", **options)
    plain = all(type(p) is torch.nn.Parameter and p.dtype == torch.float32 for p in model.parameters())
    plain = plain and type(model.lm_head) is torch.nn.Linear
    try:
        model.save_pretrained(folder / "saved")
    except ValueError as error:
        return str(error), plain
    return None, plain


as_read, plain = trouble()
dequantized, _ = trouble(quantization_config=GgufConfig(dequantize=True))
print("weights are plain float32 tensors:", plain)
print("save_pretrained says:", as_read)
print("with GgufConfig(dequantize=True):", dequantized or "saved")
sys.exit(0 if plain and as_read and "quantized" in as_read and dequantized is None else 1)
PROGRAM
