"""LoRA files of every kind with random tensors, merged by ComfyUI into layers of the tiny UNet of unet_sd15.py's golden, and the names that ComfyUI knows layers by.

Tensors are CASE/NAME, as the file names them, or CASE#1/NAME and CASE#2/NAME for files on top of each other, and
CASE@STRENGTH:WEIGHT, which is the merged weight under its original name. The metadata has the names of layers with the
weights that they stand for, of the tiny models.

    COMFYUI=/path/to/ComfyUI python testdata/golden/comfy_lora.py
    made: comfy_lora.safetensors
"""

import json
import os
import sys
import types

import torch
from safetensors.torch import load_file

sys.path.insert(0, os.environ["COMFYUI"])
from comfy.cli_args import args  # noqa: E402

args.cpu = True
import logging  # noqa: E402
import comfy.lora  # noqa: E402
import comfy.utils  # noqa: E402

import ldm  # noqa: E402



def fail(message, *_):
    raise AssertionError(message)


logging.error = fail  # what ComfyUI says when it leaves a weight as it is
g = torch.Generator().manual_seed(91)

# Layers by kohya's names: matrices, a 1×1 kernel, kernels of more inputs than outputs and the other way round, a norm.
SQUARE = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"  # [32,32]
WIDE = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_ff_net_2"      # [32,128]
POINT = "lora_unet_down_blocks_0_attentions_0_proj_in"                           # [32,32,1,1]
FIRST = "lora_unet_conv_in"                                                      # [32,4,3,3]
LAST = "lora_unet_conv_out"                                                      # [4,32,3,3]
NORM = "lora_unet_down_blocks_0_resnets_0_norm1"                                 # [32]
SHAPES = {SQUARE: (32, 32), WIDE: (32, 128), POINT: (32, 32, 1, 1), FIRST: (32, 4, 3, 3), LAST: (4, 32, 3, 3), NORM: (32,)}

UNET_SD15 = {"num_res_blocks": [2] * 4, "channel_mult": [1] * 4, "transformer_depth": [1] * 6 + [0] * 2,
             "transformer_depth_output": [1] * 9 + [0] * 3, "transformer_depth_middle": 1}


def rand(*shape, scale=0.4):
    return (torch.randn(shape, generator=g) * scale).half().float()


def lengths(weight, columns=False):
    """Lengths near those of the weight, as a DoRA has them after training."""
    dims = [d for d in range(weight.ndim) if d != (1 if columns else 0)]
    squares = (weight * weight).sum(dim=dims, keepdim=True) if dims else weight * weight
    return (squares.sqrt() * (0.5 + torch.rand(squares.shape, generator=g))).half().float()


class Net:
    """What ComfyUI asks a model for to know its layers."""

    def __init__(self, names, config):
        self.names, self.model_config = names, types.SimpleNamespace(unet_config=config)

    def state_dict(self):
        return dict.fromkeys(self.names)


def merged(files, key_map, weights):
    """The weights that files with their strengths change."""
    patches = {}
    for tensors, strength in files:
        for key, patch in comfy.lora.load_lora(dict(tensors), key_map).items():
            patches.setdefault(key, []).append((strength, patch, 1.0, None, None))
    return {k: comfy.lora.calculate_weight(p, weights[k].clone().float(), k) for k, p in patches.items()}


def low(layer, rank, mid=False, alpha=None):
    n, k, *kernel = SHAPES[layer]
    ones = [1] * len(kernel)
    out = {f"{layer}.lora_up.weight": rand(n, rank, *ones), f"{layer}.lora_down.weight": rand(rank, k, *(ones if mid else kernel))}
    if mid:
        out[f"{layer}.lora_mid.weight"] = rand(rank, rank, *kernel)
    if alpha is not None:
        out[f"{layer}.alpha"] = torch.tensor(alpha)
    return out


def loha(layer, rank, core=False):
    n, k, *kernel = SHAPES[layer]
    out = {}
    for i in "12":
        if core:
            out |= {f"{layer}.hada_w{i}_a": rand(rank, n), f"{layer}.hada_w{i}_b": rand(rank, k), f"{layer}.hada_t{i}": rand(rank, rank, *kernel)}
        else:
            size = k * int(torch.tensor(kernel).prod()) if kernel else k
            out |= {f"{layer}.hada_w{i}_a": rand(n, rank), f"{layer}.hada_w{i}_b": rand(rank, size)}
    return out | {f"{layer}.alpha": torch.tensor(rank / 2)}


def glora(layer, rank, old=False):
    n, k, *kernel = SHAPES[layer]
    ones = [1] * len(kernel)
    if old:
        return {f"{layer}.a1.weight": rand(rank, k), f"{layer}.a2.weight": rand(k, rank), f"{layer}.b1.weight": rand(rank, k),
                f"{layer}.b2.weight": rand(n, rank)}
    return {f"{layer}.a1.weight": rand(k, rank, *ones), f"{layer}.a2.weight": rand(rank, k, *ones), f"{layer}.b1.weight": rand(n, rank, *ones),
            f"{layer}.b2.weight": rand(rank, k, *kernel)}


def cases(weights):
    """The files of each case, one or several on top of each other."""
    dora = {layer: lengths(w) for layer, w in weights.items()}
    columns = {layer: lengths(w, True) for layer, w in weights.items() if w.ndim > 1}
    scale = lambda layer, of=dora: {f"{layer}.dora_scale": of[layer]}  # noqa: E731
    alpha = lambda layer, v: {f"{layer}.alpha": torch.tensor(v)}  # noqa: E731
    one = {
        "lora": low(SQUARE, 3, alpha=1.5) | low(POINT, 2) | low(FIRST, 2, alpha=1.0) | low(LAST, 3, mid=True),
        "lora of matrices for a kernel": {f"{FIRST}.lora_up.weight": rand(32, 2), f"{FIRST}.lora_down.weight": rand(2, 36),
                                          f"{POINT}.lora_up.weight": rand(32, 2), f"{POINT}.lora_down.weight": rand(2, 32)},
        "kernels for a matrix": {f"{SQUARE}.lora_up.weight": rand(32, 2, 1, 1), f"{SQUARE}.lora_down.weight": rand(2, 32, 1, 1)},
        "alpha of 0": low(SQUARE, 2, alpha=0.0) | low(POINT, 2),
        "dora of rows": low(SQUARE, 3, alpha=1.5) | scale(SQUARE) | low(FIRST, 2) | scale(FIRST) | low(LAST, 2, mid=True) | scale(LAST),
        "dora of columns": low(SQUARE, 3, alpha=1.5) | scale(SQUARE, columns) | low(FIRST, 2) | scale(FIRST, columns) | low(POINT, 2) | scale(POINT, columns),
        "loha": loha(SQUARE, 3) | loha(FIRST, 2) | loha(LAST, 2, core=True),
        "loha and dora of rows": loha(SQUARE, 3) | scale(SQUARE),
        "lokr": {f"{SQUARE}.lokr_w1": rand(4, 8), f"{SQUARE}.lokr_w2_a": rand(8, 2), f"{SQUARE}.lokr_w2_b": rand(2, 4), f"{SQUARE}.alpha": torch.tensor(1.0),
                 f"{FIRST}.lokr_w1_a": rand(4, 1), f"{FIRST}.lokr_w1_b": rand(1, 2), f"{FIRST}.lokr_w2": rand(8, 2, 3, 3), f"{FIRST}.alpha": torch.tensor(0.5)},
        "lokr and dora of rows": {f"{SQUARE}.lokr_w1": rand(4, 8), f"{SQUARE}.lokr_w2": rand(8, 4)} | scale(SQUARE),
        "glora": glora(SQUARE, 3) | alpha(SQUARE, 1.5) | glora(POINT, 2) | glora(FIRST, 2) | glora(LAST, 2),
        "older glora": glora(WIDE, 2, old=True) | alpha(WIDE, 1.0) | glora(SQUARE, 2, old=True),
        "glora of full rank": glora(SQUARE, 32) | alpha(SQUARE, 16.0),
        "glora and dora of rows": glora(SQUARE, 3) | alpha(SQUARE, 1.5) | scale(SQUARE),
        "oft": {f"{SQUARE}.oft_blocks": rand(4, 8, 8, scale=0.2), f"{FIRST}.oft_blocks": rand(2, 16, 16, scale=0.2), f"{LAST}.oft_blocks": rand(1, 4, 4),
                f"{NORM}.oft_blocks": rand(4, 8, 8, scale=0.2)},
        "oft within a constraint": {f"{SQUARE}.oft_blocks": rand(4, 8, 8)} | alpha(SQUARE, 0.7) | {f"{POINT}.oft_blocks": rand(4, 8, 8)} | alpha(POINT, 100.0),
        "oft with lengths that are not used": {f"{SQUARE}.oft_blocks": rand(4, 8, 8), f"{SQUARE}.rescale": 1 + rand(32, 1)},
        "oft and dora of rows": {f"{SQUARE}.oft_blocks": rand(4, 8, 8), f"{POINT}.oft_blocks": rand(4, 8, 8)} | alpha(SQUARE, 0.7) | scale(SQUARE) | scale(POINT),
        "boft": {f"{SQUARE}.oft_blocks": rand(3, 4, 8, 8, scale=0.2), f"{FIRST}.oft_blocks": rand(2, 8, 4, 4), f"{LAST}.oft_blocks": rand(2, 2, 2, 2)}
        | alpha(SQUARE, 0.0) | alpha(FIRST, 0.9) | alpha(LAST, 50.0),
        "boft with lengths": {f"{SQUARE}.oft_blocks": rand(2, 4, 8, 8), f"{SQUARE}.rescale": 1 + rand(32, 1), f"{FIRST}.oft_blocks": rand(1, 8, 4, 4),
                              f"{FIRST}.rescale": 1 + rand(32, 1, 1, 1)} | alpha(SQUARE, 0.0) | alpha(FIRST, 0.0),
        "boft and dora of rows": {f"{SQUARE}.oft_blocks": rand(2, 4, 8, 8)} | alpha(SQUARE, 0.7) | scale(SQUARE),
        "norms": {f"{NORM}.w_norm": rand(32), f"{NORM}.b_norm": rand(32)},
        "differences": {f"{NORM}.diff": rand(32), f"{NORM}.diff_b": rand(32), f"{SQUARE}.diff": rand(32, 32), f"{FIRST}.diff": rand(32, 4, 3, 3),
                        f"{FIRST}.diff_b": rand(32)},
        "weights set": {f"{NORM}.set_weight": rand(32), f"{FIRST}.set_weight": rand(32, 4, 3, 3)},
        "generic names": {"diffusion_model.out.0.bias.diff": rand(32), "diffusion_model.out.0.diff": rand(32),
                          "diffusion_model.input_blocks.0.0.bias.set_weight": rand(32), "conv_norm_out.w_norm": rand(32)},
        "several kinds for a layer": low(SQUARE, 2) | loha(SQUARE, 2) | low(FIRST, 2) | {f"{FIRST}.diff": rand(32, 4, 3, 3)} | low(POINT, 2) | glora(POINT, 2),
        "several names for a layer": low(FIRST, 2) | {"lora_unet_input_blocks_0_0.lora_up.weight": rand(32, 2, 1, 1), "lora_unet_input_blocks_0_0.lora_down.weight": rand(2, 4, 3, 3),
                                                      "unet.conv_in.lora_A.weight": rand(2, 4, 3, 3), "unet.conv_in.lora_B.weight": rand(32, 2, 1, 1)},
    }
    two = {
        "a dora above a lora": (low(SQUARE, 2), low(SQUARE, 3) | scale(SQUARE)),
        "a glora above a lora": (low(SQUARE, 2), glora(SQUARE, 2)),
        "an oft above a lora": (low(SQUARE, 2), {f"{SQUARE}.oft_blocks": rand(4, 8, 8)}),
        "a weight set above a lora": (low(FIRST, 2), {f"{FIRST}.set_weight": rand(32, 4, 3, 3)}),
        "a lora above a weight set": ({f"{FIRST}.set_weight": rand(32, 4, 3, 3)}, low(FIRST, 2)),
        "a lora above a boft": ({f"{SQUARE}.oft_blocks": rand(2, 4, 8, 8)} | alpha(SQUARE, 0.0), low(SQUARE, 2)),
    }
    return {k: (v,) for k, v in one.items()} | two


def text_names():
    """The names of layers of SDXL's text encoders, as transformers names their weights, with three layers each."""
    layer = ["layer_norm1", "layer_norm2", "mlp.fc1", "mlp.fc2", *("self_attn." + p + "_proj" for p in ("q", "k", "v", "out"))]
    own = ["text_model.embeddings.token_embedding", "text_model.embeddings.position_embedding", "text_model.final_layer_norm", "text_projection"]
    own += [f"text_model.encoder.layers.{i}.{name}" for i in range(3) for name in layer]
    keys = [f"{clip}.transformer.{name}.weight" for clip in ("clip_l", "clip_g") for name in own]
    return comfy.lora.model_lora_keys_clip(Net(keys, {}), {})


@torch.no_grad()
def main():
    weights = {k: v.float() for k, v in load_file(os.path.join(ldm.here, "unet_sd15.safetensors")).items() if k.startswith("model.diffusion_model.")}
    key_map = {k: "model." + v for k, v in comfy.lora.model_lora_keys_unet(Net([k.removeprefix("model.") for k in weights], UNET_SD15), {}).items()}
    by_layer = {layer: weights[key_map[layer]] for layer in SHAPES}
    assert all(tuple(w.shape) == SHAPES[layer] for layer, w in by_layer.items())
    out = {}
    for case, files in cases(by_layer).items():
        for i, tensors in enumerate(files):
            name = case if len(files) == 1 else f"{case}#{i + 1}"
            out |= {f"{name}/{k}": v.clone() for k, v in tensors.items()}
        for strength in (1.0, -0.5) if len(files) == 1 else (0.6,):
            applied = [(f, strength if i == 0 else 0.8) for i, f in enumerate(files)]
            out |= {f"{case}@{strength}:{k}": v for k, v in merged(applied, key_map, weights).items()}
    ldm.save("comfy_lora", {}, out, {"unet": json.dumps(key_map), "text": json.dumps(text_names())})


main()
