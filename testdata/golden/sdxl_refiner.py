"""Samples a tiny refiner of SDXL with ComfyUI, which tells the network the size and a score.

    python testdata/golden/sdxl_refiner.py COMFYUI
    made: sdxl_refiner.safetensors

COMFYUI is a checkout of ComfyUI, whose KSampler runs. The network is that of unet_sdxl_heads.safetensors but for the
layer that reads the pooled text, four sizes and a score, whose weights hashed makes of its name.
"""

import importlib.machinery
import os
import sys
from unittest import mock

import torch
from safetensors.torch import load_file

import ldm
from hashed import hashed

sys.path.insert(0, sys.argv[1])
sys.argv = sys.argv[:1]
for missing in ("torchaudio", "torchaudio.transforms", "torchaudio.functional"):
    try:
        __import__(missing)
    except Exception:
        sys.modules[missing] = mock.MagicMock(__spec__=importlib.machinery.ModuleSpec(missing, None), __path__=[], __version__="2.0")
from comfy.cli_args import args

args.cpu = True
import comfy.model_base
import comfy.model_detection
import comfy.model_patcher
import comfy.samplers
import comfy.supported_models
from nodes import common_ksampler

weights = {k: v.float() for k, v in load_file(os.path.join(ldm.here, "unet_sdxl_heads.safetensors")).items() if k.startswith("model.")}
name = "model.diffusion_model.label_emb.0.0.weight"
weights[name] = torch.as_tensor(hashed(name, [weights[name].shape[0], 32 + 5 * 256])).float()
config = comfy.model_detection.detect_unet_config(weights, "model.diffusion_model.")
config = comfy.supported_models.SDXLRefiner(config)
config.set_inference_dtype(torch.float32, None)
model = config.get_model(weights, "model.diffusion_model.")
assert isinstance(model, comfy.model_base.SDXLRefiner)
model.load_model_weights(dict(weights), "model.diffusion_model.")
patcher = comfy.model_patcher.ModelPatcher(model, load_device=torch.device("cpu"), offload_device=torch.device("cpu"))

g = torch.Generator().manual_seed(62)
out = {name: torch.randn(shape, generator=g) for name, shape in {
    "positive": (1, 77, 32), "negative": (1, 77, 32), "positive.pooled": (1, 32), "negative.pooled": (1, 32)}.items()}
for case, extras in {"plain": {}, "told": {"aesthetic_score": 8.5, "width": 384, "height": 640}}.items():
    positive, negative = [[[out[n], {"pooled_output": out[n + ".pooled"]} | extras]] for n in ("positive", "negative")]
    latent = {"samples": torch.zeros(1, 4, 20, 8)}
    out["samples." + case] = common_ksampler(patcher, 7, 3, 4.5, "euler", "normal", positive, negative, latent)[0]["samples"]
ldm.save("sdxl_refiner", {}, out)
