"""What to write instead of functions of libraries that read values of tensors, by where they do it.

An error about a value that is read says what reading means; where the line that reads is a library's, its user cannot
change it, and needs to know which setting or which other function does the same without reading.
"""

from __future__ import annotations

from types import FrameType

_REMEDIES = (
    (
        "torch/nn/init.py",
        "_no_grad_trunc_normal_",
        "nn.init.trunc_normal_ draws again until every number lies inside, which a program cannot do. Initialise "
        "before the job; inside a step take the inverse of the distribution function: low = math.erf((a - mean) / std "
        "/ 2**0.5), high = math.erf((b - mean) / std / 2**0.5), and then (mean + std * 2**0.5 * "
        "torch.erfinv(torch.empty(shape).uniform_(low, high))).clamp(a, b)",
    ),
    (
        "torch/ao/quantization/",
        None,
        "this observer chooses by the values that it has seen. torch.ao.quantization.FusedMovingAvgObsFakeQuantize "
        "with a MovingAverageMinMaxObserver, which the default settings for quantisation-aware training use, does the "
        "same without reading any: take it in the qconfig",
    ),
)


def remedy(frame: FrameType | None) -> str | None:
    """What to write instead if the code that runs is inside a function of a library that has a remedy."""
    while frame is not None:
        filename = frame.f_code.co_filename.replace("\\", "/")
        for part, function, text in _REMEDIES:
            if part in filename and function in (None, frame.f_code.co_name):
                return text
        frame = frame.f_back
    return None


# Parts of a line that is refused, and the setting of its library that helps.
_BY_LINE = (
    (("layerdrop", "layer_drop", "skip_the_layer", "dropout_probability"), "model.config.layerdrop = 0.0 "
     "(encoder_layerdrop and decoder_layerdrop where there are two): layers that are left out at random"),
    (("_compute_mask_indices", "mask_time", "mask_feature", "spec_augment"), "model.config.apply_spec_augment = False: "
     "masks drawn by NumPy"),
    (("labels_mask", "ctc_loss", "masked_select(labels"), "F.ctc_loss called in your loss on model(x).logits, with the "
     "lengths as data: the model's own loss selects labels by their values"),
    (("router", "expert_hit", "experts_implementation"), "experts_implementation='grouped_mm' when the model is made: "
     "experts that are looped over by their hits"),
    (("validate_args", "constraint", "_validate_sample"), "validate_args=False, for the distribution"),
    (("pack_padded_sequence", "pad_packed_sequence", "_VF._pack"), "masks of the lengths instead of packed sequences"),
)  # fmt: skip


def setting_for(line: str) -> str:
    """A sentence about the setting that helps, with a line break before it; empty if none is known."""
    for parts, advice in _BY_LINE:
        if any(part in line for part in parts):
            return f"\n  What helps here: {advice}"
    return ""
