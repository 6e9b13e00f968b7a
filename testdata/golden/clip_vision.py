"""Tiny encoders of pictures with random weights, and what they are given of pictures.

    COMFYUI=/path/to/ComfyUI python testdata/golden/clip_vision.py
    made: clip_vision.safetensors siglip.safetensors clip_vision_pictures.safetensors redux.safetensors

The classes and the preprocessing of ComfyUI 0.33 give the results. transformers'
models have the same weights and must give the same.
"""

import os

import torch
from safetensors.torch import save_file
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection, SiglipVisionConfig, SiglipVisionModel

import comfyui
from comfy.clip_model import CLIPVisionModelProjection, clip_preprocess
from comfy.ldm.flux.redux import ReduxImageEncoder

here = os.path.dirname(os.path.abspath(__file__))
torch.set_num_threads(1)
SHAPE = dict(num_hidden_layers=3, hidden_size=64, num_attention_heads=16, intermediate_size=80, patch_size=14, image_size=42, num_channels=3)


def randomize(module, seed):
    comfyui.randomize(module, seed)
    g = torch.Generator().manual_seed(seed)
    for name, p in module.named_parameters():
        if "embedding" in name and p.ndim < 4:
            p.data = (torch.randn(p.shape, generator=g) * 0.5).half().float()


@torch.no_grad()
def model(name, kind, activation, cls, config, **fields):
    net = CLIPVisionModelProjection(dict(SHAPE, model_type=kind, hidden_act=activation, **fields), **comfyui.settings)
    randomize(net, len(name))
    pixels = torch.randn(2, 3, 42, 42, generator=torch.Generator().manual_seed(5))
    last, states, embeds, _ = net(pixel_values=pixels, intermediate_output=-2)
    other = cls(config(**SHAPE, hidden_act=activation, layer_norm_eps=1e-5, **fields)).eval()
    state = net.state_dict()
    missing, unexpected = other.load_state_dict(state, strict=False)
    if unexpected:  # transformers 5 has no vision_model within these
        missing, unexpected = other.load_state_dict({k.removeprefix("vision_model."): v for k, v in state.items()}, strict=False)
    assert not unexpected and all("head." in k or "position_ids" in k for k in missing), (missing, unexpected)
    out = other(pixel_values=pixels, output_hidden_states=True)
    for what, a, b in [("last", last, out.last_hidden_state), ("penultimate", states, out.hidden_states[-2])] + ([("embeds", embeds, out.image_embeds)] if hasattr(out, "image_embeds") else []):
        print(name, what, "differs from transformers by", (a - b).abs().max().item(), "of", b.abs().max().item())
        assert (a - b).abs().max() < 1e-5
    result = {"pixels": pixels, "last": last, "penultimate": states, "embeds": embeds}
    for k, v in state.items():
        result[k] = v.half()
    save_file({k: v.contiguous().clone() for k, v in result.items()}, os.path.join(here, name + ".safetensors"))


@torch.no_grad()
def pictures():
    g = torch.Generator().manual_seed(9)
    result = {}
    for h, w, size, crop in [(42, 42, 42, True), (50, 91, 42, True), (91, 50, 42, False), (20, 33, 42, True), (17, 30, 28, False), (301, 43, 28, True)]:
        picture = torch.rand(1, 4, 4, 3, generator=g).movedim(-1, 1)  # smooth, with noise
        picture = torch.nn.functional.interpolate(picture, size=(h, w), mode="bilinear").movedim(1, -1)
        picture = ((picture + torch.randn(picture.shape, generator=g) * 0.1).clamp(0, 1) * 255).round()
        name = f"{h}.{w}.{size}.{'crop' if crop else 'whole'}"
        result["picture." + name] = picture[0].to(torch.uint8)
        result["pixels." + name] = clip_preprocess(picture / 255, size=size, crop=crop)[0]
    save_file({k: v.contiguous() for k, v in result.items()}, os.path.join(here, "clip_vision_pictures.safetensors"))


@torch.no_grad()
def redux():
    net = comfyui.randomize(ReduxImageEncoder(64, 24, dtype=torch.float32), 8)
    x = torch.randn(2, 9, 64, generator=torch.Generator().manual_seed(6))
    save_file({"x": x, "y": net(x)} | {k: v.half() for k, v in net.state_dict().items()}, os.path.join(here, "redux.safetensors"))


model("clip_vision", "clip_vision_model", "quick_gelu", CLIPVisionModelWithProjection, CLIPVisionConfig, projection_dim=24)
model("siglip", "siglip_vision_model", "gelu_pytorch_tanh", SiglipVisionModel, SiglipVisionConfig)
pictures()
redux()
