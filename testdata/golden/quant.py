"""Makes quant.safetensors: what the gguf package makes of GGUF's block-quantized types.

TYPE/blocks are blocks and TYPE/values what they dequantize to. The blocks are random bytes with scales that are numbers
and, of the types that the package quantizes to, seeded random weights too.

    pip install gguf safetensors numpy
    python testdata/golden/quant.py
    made: quant.safetensors
"""

import os

import gguf
import numpy as np
from gguf.quants import dequantize, quantize
from safetensors.numpy import save_file

rng = np.random.default_rng(1)
# Where the halves that are scales lie in a block.
halves = {
    "Q4_0": [0],
    "Q4_1": [0, 2],
    "Q5_0": [0],
    "Q5_1": [0, 2],
    "Q8_0": [0],
    "Q2_K": [80, 82],
    "Q3_K": [108],
    "Q4_K": [0, 2],
    "Q5_K": [0, 2],
    "Q6_K": [208],
    "IQ1_S": [0],
    "IQ1_M": [],
    "IQ2_XXS": [0],
    "IQ2_XS": [0],
    "IQ2_S": [0],
    "IQ3_XXS": [0],
    "IQ3_S": [0],
    "IQ4_NL": [0],
    "IQ4_XS": [0],
    "TQ1_0": [52],
    "TQ2_0": [64],
    "MXFP4": [],
}
out = {}
for name, places in halves.items():
    kind = gguf.GGMLQuantizationType[name]
    elems, size = gguf.GGML_QUANT_SIZES[kind]
    blocks = rng.integers(0, 256, (8192 // elems, size), dtype=np.uint8)
    for at in places:
        scales = rng.standard_normal(len(blocks)) * np.exp(rng.standard_normal(len(blocks)) * 3)
        scales[:4] = [0, -0.0, 65504, 2**-24]
        blocks[:, at : at + 2] = scales.clip(-65504, 65504).astype(np.float16).reshape(-1, 1).view(np.uint8)
    if name == "IQ1_M":  # the upper bits of four words are a half
        scales = (rng.standard_normal(len(blocks)) * 0.1).astype(np.float16).view(np.uint16)
        for k in range(4):
            blocks[:, 49 + 2 * k] = blocks[:, 49 + 2 * k] & 15 | (scales >> np.uint16(4 * k) & 15).astype(np.uint8) << 4
    try:
        weights = rng.standard_normal((16, 256)).astype(np.float32) * np.float32(0.1)
        blocks = np.concatenate([blocks, quantize(weights, kind).reshape(-1, size)])
    except NotImplementedError:
        pass
    out[name + "/blocks"] = blocks
    out[name + "/values"] = dequantize(blocks, kind).astype(np.float32)

save_file(out, os.path.join(os.path.dirname(os.path.abspath(__file__)), "quant.safetensors"))
