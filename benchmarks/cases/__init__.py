"""Models that are trained on both sides, a file per family.

``bar`` is the greatest ratio to eager PyTorch that this project allows itself, ``goal`` the one to ``torch.compile``.
"""

from __future__ import annotations

from cases import digit_models, gpt_models, lora_models, resnet, transformer_models
from cases.case import Case


def all_cases() -> list[Case]:
    """Every case, from small to large. Data and models are made when they are asked for."""
    small = [*digit_models.cases(), *gpt_models.cases(), *transformer_models.cases(), *resnet.cases()]
    return [*small, *lora_models.cases()]


__all__ = ["Case", "all_cases"]
