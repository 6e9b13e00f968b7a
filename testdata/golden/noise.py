"""Noise of torch.randn with CPU generators.

    ATEN_CPU_CAPABILITY=avx2 python testdata/golden/noise.py
    made: noise.safetensors
"""

import os

import torch
from safetensors.torch import save_file

here = os.path.dirname(os.path.abspath(__file__))
SEEDS = [0, 1, 42, 123456789, 2**32 + 7, 2**64 - 1]
SIZES = [1, 2, 15, 16, 17, 31, 100, 4096, 16384]


def generator(seed):
    return torch.Generator("cpu").manual_seed(seed if seed < 2**63 else seed - 2**64)


out = {}
for seed in SEEDS:
    for n in SIZES if seed == 42 else [15, 17, 1024]:
        out[f"{seed}.{n}"] = torch.randn(n, generator=generator(seed))
# Several draws of one generator, as samplers make them, with a rest of 16 and a pair half used between them.
g = generator(7)
for i, n in enumerate([3, 40, 1, 16, 5, 64]):
    out[f"sequence.{i}"] = torch.randn(n, generator=g)
save_file(out, os.path.join(here, "noise.safetensors"))
