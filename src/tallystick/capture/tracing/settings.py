"""Settings of libraries that take what cannot be captured out of a model: said where it is refused."""

from __future__ import annotations

# A part of the line that is refused, and what helps.
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
