#!/usr/bin/env bash
# torch 2.13.0, CPU: F.embedding_bag(mode="sum", scale_grad_by_freq=True) is documented to divide the gradient of a row by
# how often it occurs in the batch. Row 3 occurs four times here, and its gradient is divided by three. F.embedding, given
# the same numbers, divides by four.
#
# Seen: rows 0 to 3 of the gradient's first column: bag [1.0, 1.0, 0.0, 1.333...], embedding [1.0, 1.0, 0.0, 1.0]
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PY'
import torch
import torch.nn.functional as F

rows = torch.tensor([[3, 1, 1, 0], [1, 3, 3, 3]])


def gradient(summed):
    table = torch.zeros(5, 2, requires_grad=True)
    summed(table).sum().backward()
    return table.grad[:4, 0].tolist()


bag = gradient(lambda table: F.embedding_bag(rows, table, mode="sum", scale_grad_by_freq=True))
plain = gradient(lambda table: F.embedding(rows, table, scale_grad_by_freq=True))
print("torch", torch.__version__, "counts", torch.bincount(rows.flatten(), minlength=5).tolist())
print("embedding_bag", bag)
print("embedding    ", plain)
assert plain == [1.0, 1.0, 0.0, 1.0], "F.embedding has changed"
assert abs(bag[3] - 4 / 3) < 1e-6, "the finding no longer holds"
PY
