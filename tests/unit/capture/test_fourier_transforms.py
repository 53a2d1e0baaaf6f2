"""Fourier transforms as products with tables: every kind, length and scale, both ways, beside PyTorch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch import fft as F  # noqa: N812

from lowered_operators import gradients, run_function
from tallystick.capture.decompositions.fourier import table
from tallystick.errors import CaptureError

pairs, complexes = torch.view_as_real, torch.view_as_complex
NORMS = ("backward", "ortho", "forward")

TRANSFORMS: dict[str, Callable[[Tensor], Tensor]] = {
    "fft": lambda x: pairs(F.fft(complexes(x))),
    "fft of reals": lambda x: pairs(F.fft(x)),
    "fft cut": lambda x: pairs(F.fft(complexes(x), n=3, dim=1)),
    "fft padded": lambda x: pairs(F.fft(complexes(x), n=7, dim=0)),
    "ifft": lambda x: pairs(F.ifft(complexes(x), dim=1)),
    "ifft of reals": lambda x: pairs(F.ifft(x, dim=0).resolve_conj()),
    "rfft": lambda x: pairs(F.rfft(x, dim=1)),
    "rfft of an even length": lambda x: pairs(F.rfft(x, dim=0)),
    "irfft": lambda x: F.irfft(complexes(x), dim=1),
    "irfft of an odd length": lambda x: F.irfft(complexes(x), n=7, dim=1),
    "irfft cut": lambda x: F.irfft(complexes(x), n=4, dim=1),
    "hfft": lambda x: F.hfft(complexes(x), dim=0),
    "ihfft": lambda x: pairs(F.ihfft(x, dim=1).resolve_conj()),
    "fft2": lambda x: pairs(F.fft2(complexes(x))),
    "ifft2": lambda x: pairs(F.ifft2(complexes(x), s=(5, 3))),
    "rfft2": lambda x: pairs(F.rfft2(x, dim=(0, 1))),
    "irfft2": lambda x: F.irfft2(complexes(x), s=(4, 5)),
    "fftn": lambda x: pairs(F.fftn(x)),
    "ifftn": lambda x: pairs(F.ifftn(complexes(x), dim=(1, 0))),
    "rfftn": lambda x: pairs(F.rfftn(x)),
    "irfftn": lambda x: F.irfftn(complexes(x)),
    "real part of both": lambda x: F.fft(F.fft(x, dim=1), dim=0).real,
}
for norm in NORMS:
    TRANSFORMS[f"fft2 {norm}"] = lambda x, norm=norm: pairs(F.fft2(complexes(x), norm=norm))
    TRANSFORMS[f"rfft {norm}"] = lambda x, norm=norm: pairs(F.rfft(x, dim=1, norm=norm))
    TRANSFORMS[f"irfft {norm}"] = lambda x, norm=norm: F.irfft(complexes(x), dim=1, norm=norm)
    TRANSFORMS[f"hfft {norm}"] = lambda x, norm=norm: F.hfft(complexes(x), n=5, dim=1, norm=norm)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms_and_gradients_are_those_of_pytorch(name: str) -> None:
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((4, 5, 2), dtype=np.float32)).requires_grad_()
    function = gradients(TRANSFORMS[name])
    for ours, theirs in zip(run_function(function, x), function(x), strict=True):
        np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("n", [1, 2, 3, 64, 101])
def test_lengths(n: int) -> None:
    """Errors grow with the length as those of any sum do: 1e-6 of the largest result."""
    x = torch.from_numpy(np.random.default_rng(n).standard_normal((2, n), dtype=np.float32))
    (ours,) = run_function(lambda x: pairs(F.fft(x)), x)
    theirs = pairs(F.fft(x.double())).numpy()
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6 * np.abs(theirs).max())


def test_tables_are_exact_at_quarters_of_a_turn() -> None:
    assert table(4)[:, 4:].tolist() == [[0, 0, 0, 0], [0, -1, 0, 1], [0, 0, 0, 0], [0, 1, 0, -1]]
    assert np.abs(table(360)[1, :360] - np.cos(np.deg2rad(np.arange(360)))).max() < 6e-8


def test_spectrograms_and_shifts() -> None:
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 40), dtype=np.float32)).requires_grad_()
    window = torch.hann_window(16)

    def spectrogram(x: Tensor) -> Tensor:
        made = torch.stft(x, 16, 4, window=window, return_complex=True)
        return F.fftshift(made, dim=1).abs().square() + made.angle().cos()

    function = gradients(spectrogram)
    for ours, theirs in zip(run_function(function, x), function(x), strict=True):
        np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=2e-4, atol=2e-4)


def test_transforms_in_float64_are_refused() -> None:
    with pytest.raises(CaptureError, match=r"complex64|float32"):
        run_function(lambda x: pairs(F.fft(x.double())).float(), torch.ones(4))
