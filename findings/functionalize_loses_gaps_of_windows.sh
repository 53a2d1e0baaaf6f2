#!/usr/bin/env bash
# torch 2.13.0: a write into a part of tensor.unfold(...), run through torch.func.functionalize, sets elements to 0 that
# no window sees. Eager PyTorch leaves them as they are. Nothing is raised.
#
# Seen: eager [2.0, 2.0, 3.0, 8.0, 5.0, 6.0], functionalized [2.0, 2.0, 0.0, 8.0, 5.0, 0.0]
# Windows of 2 elements, 3 apart, over 6 elements: the third and the sixth lie in none.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
"$folder/venv/bin/python" - <<'PY'
import torch


def double_firsts(x):
    y = x * 1.0
    y.unfold(0, 2, 3)[..., 0].mul_(2.0)
    return y


x = torch.arange(6.0) + 1.0
eager = double_firsts(x).tolist()
functional = torch.func.functionalize(double_firsts)(x).tolist()
print("torch", torch.__version__)
print("eager         ", eager)
print("functionalized", functional)
assert eager == [2.0, 2.0, 3.0, 8.0, 5.0, 6.0], "eager PyTorch has changed"
assert functional == [2.0, 2.0, 0.0, 8.0, 5.0, 0.0], "the finding no longer holds"
PY
