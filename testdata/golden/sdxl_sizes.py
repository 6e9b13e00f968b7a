"""Samples a tiny SDXL that is not square with ComfyUI, which tells the network the sizes of the picture.

    python testdata/golden/sdxl_sizes.py COMFYUI
    made: sdxl_sizes.safetensors

COMFYUI is a checkout of ComfyUI, whose KSampler runs. The network is that of unet_sdxl_heads.safetensors, which
unet_sdxl.py makes: where a norm has a group for each channel, as in the narrower one, the sizes would make no difference.
"""

import os
import sys

import torch
from safetensors.torch import load_file

import ldm

sys.path.insert(0, sys.argv[1])
sys.argv = sys.argv[:1]
from comfy.cli_args import args

args.cpu = True
import comfy.model_base
import comfy.model_detection
import comfy.model_patcher
import comfy.samplers
import comfy.supported_models
from nodes import common_ksampler

weights = {k: v.float() for k, v in load_file(os.path.join(ldm.here, "unet_sdxl_heads.safetensors")).items() if k.startswith("model.")}
config = comfy.model_detection.detect_unet_config(weights, "model.diffusion_model.")
config = comfy.supported_models.SDXL(config)
config.set_inference_dtype(torch.float32, None)
model = config.get_model(weights, "model.diffusion_model.")
model.load_model_weights(dict(weights), "model.diffusion_model.")
patcher = comfy.model_patcher.ModelPatcher(model, load_device=torch.device("cpu"), offload_device=torch.device("cpu"))

g = torch.Generator().manual_seed(61)
out = {name: torch.randn(shape, generator=g) for name, shape in {
    "positive": (1, 77, 32), "negative": (1, 77, 32), "positive.pooled": (1, 24), "negative.pooled": (1, 24)}.items()}
positive, negative = [[[out[n], {"pooled_output": out[n + ".pooled"]}]] for n in ("positive", "negative")]
for width, height in [(64, 160), (160, 64)]:
    latent = {"samples": torch.zeros(1, 4, height // 8, width // 8)}
    samples = common_ksampler(patcher, 7, 3, 4.5, "euler", "normal", positive, negative, latent)[0]["samples"]
    out[f"samples.{width}x{height}"] = samples
ldm.save("sdxl_sizes", {}, out)
