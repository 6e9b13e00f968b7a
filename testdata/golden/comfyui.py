"""ComfyUI's network classes on the processor, for the scripts that run them as a reference.

    COMFYUI=/path/to/ComfyUI python testdata/golden/SCRIPT.py
"""

import os
import sys

import torch

sys.path.insert(0, os.environ["COMFYUI"])
sys.argv = [sys.argv[0], "--cpu"]
import comfy.options  # noqa: E402

comfy.options.enable_args_parsing()
import comfy.ops  # noqa: E402

# What every class takes to be made with float32 weights that are not filled.
settings = {"dtype": torch.float32, "device": "cpu", "operations": comfy.ops.disable_weight_init}


def randomize(module, seed):
    """Random weights that float16 holds exactly. Weights of norms are around 1, biases around 0, rows of matrices of length about 1."""
    g = torch.Generator().manual_seed(seed)
    for name, p in module.named_parameters():
        v = torch.randn(p.shape, generator=g)
        if p.ndim < 2:
            v = v * 0.2 + (0 if name.endswith("bias") else 1)
        elif p.shape[0] > 1:
            v = v / p[0].numel() ** 0.5
        p.data = v.half().float()
    return module.eval()
