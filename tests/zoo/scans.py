"""Models that carry a state from token to token."""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from transformers import (
    JambaConfig,
    JambaForCausalLM,
    Mamba2Config,
    Mamba2ForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    PreTrainedModel,
    RwkvConfig,
    RwkvForCausalLM,
)

from zoo.data import TOKENS, text
from zoo.family import LAYERS, WIDTH, Family, next_token
from zoo.llama import sizes as llama_sizes


def mamba(dropout: float = 0.0, width: int = WIDTH, layers: int = LAYERS) -> PreTrainedModel:
    sizes = {"vocab_size": TOKENS, "hidden_size": width, "state_size": 4, "num_hidden_layers": layers}
    return MambaForCausalLM(MambaConfig(**sizes))


def mamba2(dropout: float = 0.0, width: int = WIDTH, layers: int = LAYERS) -> PreTrainedModel:
    sizes = {"vocab_size": TOKENS, "hidden_size": width, "state_size": 4, "num_hidden_layers": layers}
    heads = {"num_heads": 4, "head_dim": width // 2, "n_groups": 2, "chunk_size": 4}
    return Mamba2ForCausalLM(Mamba2Config(**sizes, **heads))


def jamba(dropout: float = 0.0, width: int = WIDTH, layers: int = LAYERS) -> PreTrainedModel:
    """Mamba and attention in turn, and mixtures of two experts in every second block."""
    turns = {"attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2, "expert_layer_offset": 1}
    scans = {"mamba_d_state": 4, "mamba_dt_rank": 4, "use_mamba_kernels": False, "num_experts": 2}
    return JambaForCausalLM(JambaConfig(**llama_sizes(width, layers), **turns, **scans, attention_dropout=dropout))


def rwkv(dropout: float = 0.0, width: int = WIDTH, layers: int = LAYERS) -> PreTrainedModel:
    sizes = {"hidden_size": width, "attention_hidden_size": width, "intermediate_size": 2 * width}
    return RwkvForCausalLM(RwkvConfig(vocab_size=TOKENS, context_length=32, num_hidden_layers=layers, **sizes))


class Recurrent(nn.Module):
    """A language model around ``nn.LSTM`` or ``nn.GRU``: (N, T) tokens -> (N, T, TOKENS) logits."""

    def __init__(self, cell: type[nn.LSTM] | type[nn.GRU], dropout: float, width: int, layers: int) -> None:
        super().__init__()
        self.token = nn.Embedding(TOKENS, width)
        self.cell = cell(width, width, layers, batch_first=True, dropout=dropout)
        self.head = nn.Linear(width, TOKENS)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.cell(self.token(tokens))[0])


def lstm(dropout: float = 0.0, width: int = WIDTH, layers: int = LAYERS) -> Recurrent:
    return Recurrent(nn.LSTM, dropout, width, layers)


def gru(dropout: float = 0.0, width: int = WIDTH, layers: int = LAYERS) -> Recurrent:
    return Recurrent(nn.GRU, dropout, width, layers)


def predict(model: nn.Module, input_ids: Tensor) -> Tensor:
    """Mean cross entropy of every next token."""
    return F.cross_entropy(model(input_ids[:, :-1]).flatten(0, 1), input_ids[:, 1:].flatten())


FAMILIES = {
    "Mamba": Family(mamba, next_token, text),
    "Mamba 2": Family(mamba2, next_token, text),
    "Jamba": Family(jamba, next_token, text),
    "RWKV": Family(rwkv, next_token, text),
    "LSTM": Family(lstm, predict, text, drops=True),
    "GRU": Family(gru, predict, text, drops=True),
}
