"""Makes quantized.safetensors: layers as ComfyUI stores them quantized, and what comfy-kitchen's code for processors makes
of them.

Each layer NAME has the tensors that ComfyUI reads, NAME.values, the weight in float32, and NAME.x and NAME.y, a product
with that weight. Sizes are such that scales are padded. The layers below "emoji." belong to the UNet of the demo's
checkpoint; emoji/y is what diffusers' UNet makes of emoji/x, emoji/t and emoji/context with their values in the place of
the checkpoint's.

    pip install --no-deps comfy_kitchen
    python testdata/golden/quantized.py
    made: quantized.safetensors

With COMFYUI=/path/to/ComfyUI it prints how far that program's own layers are from NAME.y, with inputs as they are and rounded
as on a card that multiplies the format. Its inputs of integer formats are always rounded.
"""

import json
import os
import sys

import torch
from comfy_kitchen.tensor import (
    AsymW4A8Int8Layout,
    TensorCoreConvRotW4A4Layout,
    TensorCoreFP8Layout,
    TensorCoreMXFP8Layout,
    TensorCoreNVFP4Layout,
    TensorWiseINT8Layout,
)
from diffusers import UNet2DConditionModel
from safetensors import safe_open
from safetensors.torch import save_file

import ldm

torch.set_num_threads(1)
gen = torch.Generator().manual_seed(1)
out = {}


def weight(n, k):
    w = torch.randn(n, k, generator=gen) * 0.1
    return w * torch.exp(torch.randn(n, 1, generator=gen) * 0.5)  # rows of different sizes


def store(name, layout, w, config, **options):
    """Quantizes a weight and stores it as ComfyUI's state_dict does, with what it stands for."""
    q, params = layout.quantize(w, **options)
    for suffix, tensor in layout.state_dict_tensors(q, params).items():
        if tensor.dtype == torch.float8_e8m0fnu:
            tensor = tensor.view(torch.uint8)
        out[f"{name}.weight{suffix}"] = tensor.contiguous()
    out[name + ".comfy_quant"] = torch.tensor(list(json.dumps(config).encode()), dtype=torch.uint8)
    return layout.dequantize(q, params).float()[: w.shape[0], : w.shape[1]]


def layer(name, layout, n, k, config, smooth=False, **options):
    w = weight(n, k)
    values = store(name, layout, w, config, **options)
    if smooth:
        out[name + ".pre_quant_scale"] = torch.rand(k, generator=gen) + 0.5
        values = values * out[name + ".pre_quant_scale"]
    x = torch.randn(3, k, generator=gen)
    out[name + ".values"], out[name + ".x"], out[name + ".y"] = values.contiguous(), x, x @ values.T


fp8, int8, nvfp4, mxfp8, w4a8, w4a4 = [
    {"format": f} for f in ("float8_e4m3fn", "int8_tensorwise", "nvfp4", "mxfp8", "asym_w4a8_int8", "convrot_w4a4")
]
scale = torch.tensor(0.0123)
layer("fp8_e4m3", TensorCoreFP8Layout, 48, 80, fp8, scale=scale, dtype=torch.float8_e4m3fn)
layer("fp8_e5m2", TensorCoreFP8Layout, 48, 80, {"format": "float8_e5m2"}, scale=scale, dtype=torch.float8_e5m2)
layer("fp8_input", TensorCoreFP8Layout, 48, 80, fp8 | {"full_precision_matrix_mult": True}, scale=scale, dtype=torch.float8_e4m3fn)
out["fp8_input.input_scale"] = torch.tensor(0.5)
layer("int8", TensorWiseINT8Layout, 48, 72, int8)
layer("int8_rows", TensorWiseINT8Layout, 130, 72, int8, per_channel=True)
for group in (256, 64, 16):
    layer(f"int8_rotated_{group}", TensorWiseINT8Layout, 12, 512, int8 | {"convrot": True, "convrot_groupsize": group},
          per_channel=True, convrot=True, convrot_groupsize=group)
layer("int8_params", TensorWiseINT8Layout, 12, 512, int8 | {"params": {"convrot": True}}, per_channel=True, convrot=True)
for n, k in ((132, 128), (130, 80), (40, 40), (20, 208)):
    layer(f"nvfp4_{n}_{k}", TensorCoreNVFP4Layout, n, k, nvfp4)
for n, k in ((132, 128), (130, 96), (40, 80)):
    layer(f"mxfp8_{n}_{k}", TensorCoreMXFP8Layout, n, k, mxfp8)
layer("nvfp4_awq", TensorCoreNVFP4Layout, 48, 64, nvfp4, smooth=True)
layer("w4a8", AsymW4A8Int8Layout, 12, 512, w4a8 | {"group_size": 16, "convrot_groupsize": 256})
layer("w4a8_uniform", AsymW4A8Int8Layout, 20, 256, w4a8, codebook=False)
layer("w4a8_codebook", AsymW4A8Int8Layout, 20, 256, w4a8, codebook_tensor=torch.randn(16, generator=gen).sort().values)
layer("w4a8_group_32", AsymW4A8Int8Layout, 20, 256, w4a8 | {"group_size": 32}, group_size=32)
layer("w4a8_group_8", AsymW4A8Int8Layout, 20, 256, w4a8 | {"group_size": 8}, group_size=8)
layer("w4a8_six_bits", AsymW4A8Int8Layout, 20, 256, w4a8, bits=6)
layer("w4a4", TensorCoreConvRotW4A4Layout, 12, 512, w4a4)

# The old way: no mark of its own, a scale by another name.
layer("old", TensorCoreFP8Layout, 48, 80, {}, scale=scale, dtype=torch.float8_e4m3fn)
del out["old.comfy_quant"]
out["old.scale_weight"] = out.pop("old.weight_scale")
out["old.scale_input"] = torch.tensor(1.0)
out["old.scaled_fp8"] = torch.zeros(2, dtype=torch.float8_e4m3fn)

# Layers of the demo's UNet.
with safe_open(os.path.join(ldm.here, "..", "..", "models", "checkpoints", "emoji.safetensors"), "pt") as f:
    weights, metadata = {k: f.get_tensor(k).float() for k in f.keys()}, f.metadata()
prefix = "model.diffusion_model."
block = "middle_block.1.transformer_blocks.0."
rotated = {"per_channel": True, "convrot": True, "convrot_groupsize": 64}
for name, layout, config, options in (
    *[(block + f"attn1.{p}", TensorWiseINT8Layout, int8 | {"convrot": True, "convrot_groupsize": 64}, rotated) for p in ("to_q", "to_k", "to_v", "to_out.0")],
    (block + "attn2.to_q", TensorCoreFP8Layout, fp8, {"scale": scale / 4, "dtype": torch.float8_e4m3fn}),
    (block + "attn2.to_k", TensorCoreNVFP4Layout, nvfp4, {}),
    (block + "attn2.to_v", TensorCoreMXFP8Layout, mxfp8, {}),
    (block + "ff.net.0.proj", TensorWiseINT8Layout, int8 | {"convrot": True, "convrot_groupsize": 64}, rotated),
    (block + "ff.net.2", AsymW4A8Int8Layout, w4a8, {}),
    ("time_embed.2", TensorCoreConvRotW4A4Layout, w4a4, {}),
):
    weights[prefix + name + ".weight"] = store("emoji." + name, layout, weights[prefix + name + ".weight"], config, **options)

unet = UNet2DConditionModel(
    sample_size=16, in_channels=4, out_channels=4, block_out_channels=(64, 128, 128), layers_per_block=1, cross_attention_dim=96,
    attention_head_dim=int(metadata["weir.unet.num_heads"]), norm_num_groups=32,
    down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D")).eval()
unet.load_state_dict({k: weights[v] for k, v in ldm.unet_names(unet).items()})
x, t, context = torch.randn(2, 4, 8, 12, generator=gen), torch.tensor([7.0, 801.0]), torch.randn(2, 77, 96, generator=gen)
with torch.no_grad():
    out |= {"emoji/x": x, "emoji/t": t, "emoji/context": context, "emoji/y": unet(x, t, context).sample}

save_file({k: v.contiguous().clone() for k, v in out.items()}, os.path.join(ldm.here, "quantized.safetensors"))


def compare(comfyui):
    sys.path.insert(0, comfyui)
    sys.argv = [sys.argv[0], "--cpu"]
    import comfy.options

    comfy.options.enable_args_parsing()
    import comfy.ops
    import comfy.utils

    old, _ = comfy.utils.convert_old_quants({k: v for k, v in out.items() if k.startswith("old.")}, "old.", {})
    layers = {k: v for k, v in out.items() if not k.startswith(("old.", "emoji"))} | old
    for name in sorted(k.removesuffix(".values") for k in layers if k.endswith(".values")):
        x, y = layers[name + ".x"], layers[name + ".y"]
        for full in (True, False):
            linear = comfy.ops.mixed_precision_ops({}, torch.float32, full_precision_mm=full).Linear(x.shape[1], y.shape[1], bias=False)
            linear.load_state_dict({k.removeprefix(name + "."): v.clone() for k, v in layers.items() if k.startswith(name + ".")}, strict=False)
            try:
                with torch.no_grad():
                    error = float((linear(x) - y).norm() / y.norm())
            except ValueError as e:  # products of blocks that processors have not
                error = e
            print(name, "as they are" if full else "rounded", error)


if "COMFYUI" in os.environ:
    compare(os.environ["COMFYUI"])
