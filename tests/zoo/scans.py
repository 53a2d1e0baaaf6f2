"""Models that carry a state from token to token."""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from transformers import Mamba2Config, Mamba2ForCausalLM, MambaConfig, MambaForCausalLM, PreTrainedModel

from zoo.data import TOKENS, text
from zoo.family import LAYERS, WIDTH, Family, next_token


def mamba(dropout: float = 0.0, width: int = WIDTH, layers: int = LAYERS) -> PreTrainedModel:
    sizes = {"vocab_size": TOKENS, "hidden_size": width, "state_size": 4, "num_hidden_layers": layers}
    return MambaForCausalLM(MambaConfig(**sizes))


def mamba2(dropout: float = 0.0, width: int = WIDTH, layers: int = LAYERS) -> PreTrainedModel:
    sizes = {"vocab_size": TOKENS, "hidden_size": width, "state_size": 4, "num_hidden_layers": layers}
    heads = {"num_heads": 4, "head_dim": width // 2, "n_groups": 2, "chunk_size": 4}
    return Mamba2ForCausalLM(Mamba2Config(**sizes, **heads))


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
    "LSTM": Family(lstm, predict, text, drops=True),
    "GRU": Family(gru, predict, text, drops=True),
}
