"""What ComfyUI gives FLUX.1 Fill, Canny and Depth beside the latents that are sampled: a picture, and a mask of as many channels
as a value has pixels.

    COMFYUI=/path/to/ComfyUI python testdata/golden/concat.py
    made: concat.safetensors

COMFYUI is a checkout of ComfyUI 0.33.
"""

import os
import sys
from types import SimpleNamespace
from unittest.mock import MagicMock

import torch
import transformers  # noqa: F401, before the modules that are stood in for
from safetensors.torch import save_file

sys.path.insert(0, os.environ["COMFYUI"])
sys.argv = ["x", "--cpu"]
import comfy.options  # noqa: E402

comfy.options.enable_args_parsing()
for absent in ("torchaudio", "torchaudio.functional", "torchaudio.transforms", "torchvision", "torchvision.ops", "torchvision.transforms", "torchvision.transforms.functional"):  # which nothing here needs
    sys.modules[absent] = MagicMock()
import comfy.latent_formats  # noqa: E402
import comfy.model_base  # noqa: E402

here = os.path.dirname(os.path.abspath(__file__))
g = torch.Generator().manual_seed(3)
out = {}
for name, channels, size, mask in (("fill", 96, (4, 6), (32, 48)), ("fill_resized", 96, (5, 9), (30, 44)), ("canny", 32, (4, 6), None)):
    image = torch.randn(1, 16, *size, generator=g)
    args = {"concat_latent_image": image, "noise": torch.zeros(1, 16, 4, 6), "device": "cpu"}
    out[name + ".image"] = image
    if mask:
        args["concat_mask"] = torch.rand(1, 1, *mask, generator=g)
        out[name + ".mask"] = args["concat_mask"]
    network = SimpleNamespace(img_in=SimpleNamespace(weight=torch.zeros(1, channels * 4)), patch_size=2)
    flux = SimpleNamespace(diffusion_model=network, model_config=SimpleNamespace(unet_config={"in_channels": channels, "out_channels": 16}), process_latent_in=comfy.latent_formats.Flux().process_in)
    out[name + ".concat"] = comfy.model_base.Flux.concat_cond(flux, **args).contiguous()
path = os.path.join(here, "concat.safetensors")
save_file(out, path)
os.chmod(path, 0o644)
