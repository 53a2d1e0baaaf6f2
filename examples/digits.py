"""Handwritten digits: a small convolutional network with batch normalisation and dropout.

    tally run examples/digits.py:job --out runs/digits
    tally verify runs/digits/receipt.json --sample 10%
    tally predict runs/digits examples/digits.py:predict

The data are the 1,797 images of 8 x 8 pixels that scikit-learn ships. A fifth of them is held out for the test.
"""

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn

import tallystick as ts

STEPS = 600
TEST_IMAGES = 360


class DigitsNet(nn.Module):
    """Three convolutions and a linear layer: (N, 1, 8, 8) images -> (N, 10) logits."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(32)
        self.conv2 = nn.Conv2d(32, 64, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(64)
        self.conv3 = nn.Conv2d(64, 64, 3, padding=1)
        self.norm3 = nn.BatchNorm2d(64)
        self.dropout = nn.Dropout(0.3)
        self.head = nn.Linear(64 * 2 * 2, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm1(self.conv1(x)))
        x = F.max_pool2d(F.relu(self.norm2(self.conv2(x))), 2)
        x = F.max_pool2d(F.relu(self.norm3(self.conv3(x))), 2)
        return self.head(self.dropout(x.flatten(1)))


def loss(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Cross entropy of a batch of images (N, 1, 8, 8) in 0..16 with labels (N,)."""
    return F.cross_entropy(model(x / 16), y, label_smoothing=0.05)


def split() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Training and held-out images and labels, always the same split."""
    digits = load_digits()
    images = digits.images.astype(np.float32)[:, None]
    labels = digits.target.astype(np.int64)
    order = np.random.default_rng(0).permutation(len(images))
    test, train = order[:TEST_IMAGES], order[TEST_IMAGES:]
    return {"x": images[train], "y": labels[train]}, {"x": images[test], "y": labels[test]}


def job() -> ts.TrainingJob:
    """The training job that ``tally run`` runs."""
    torch.manual_seed(0)
    return ts.TrainingJob(
        name="digits",
        model=DigitsNet(),
        loss=loss,
        optimizer=ts.optim.AdamW(
            lr=3e-3, weight_decay=0.01, schedule=ts.optim.warmup_cosine(STEPS, warmup=50), clip_norm=1.0
        ),
        data=split()[0],
        batch_size=64,
        steps=STEPS,
        segment_steps=50,
        seed=0,
    )


def predict(model: nn.Module) -> dict[str, float | int]:
    """Accuracy of a trained model on the held-out images."""
    held_out = split()[1]
    model.eval()
    with torch.no_grad():
        answers = model(torch.from_numpy(held_out["x"]) / 16).argmax(1).numpy()
    right = int((answers == held_out["y"]).sum())
    return {"test images": len(answers), "right": right, "accuracy": right / len(answers)}
