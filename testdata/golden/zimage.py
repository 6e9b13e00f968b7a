"""A tiny denoiser of Z-Image with random weights, by ComfyUI's class.

    COMFYUI=/path/to/ComfyUI python testdata/golden/zimage.py
    made: zimage.safetensors
"""

import torch

import comfyui
import ldm
from comfy.ldm.lumina.model import NextDiT
from comfy.ldm.modules.diffusionmodules.mmdit import TimestepEmbedder


@torch.no_grad()
def main():
    s = comfyui.settings
    net = NextDiT(
        patch_size=2, in_channels=4, dim=64, n_layers=2, n_refiner_layers=2, n_heads=2, n_kv_heads=2, multiple_of=16, ffn_dim_multiplier=1.25,
        qk_norm=True, cap_feat_dim=24, axes_dims=[8, 12, 12], axes_lens=[64] * 3, rope_theta=256.0, z_image_modulation=True,
        time_scale=1000.0, pad_tokens_multiple=32, **s)
    # The class embeds timesteps in 256 features whatever its width, and reads min(width, 256).
    net.t_embedder = TimestepEmbedder(48, output_size=64, **s)
    comfyui.randomize(net, 301)
    g = torch.Generator().manual_seed(302)
    out = {}
    # Heights and widths that are not even and not the same; text that needs padding, none, and more than one multiple.
    for name, batch, height, width, tokens in [("plain", 2, 6, 10, 7), ("odd", 1, 7, 5, 32), ("long", 1, 4, 12, 45), ("full", 1, 8, 16, 20)]:
        x, t = torch.randn(batch, 4, height, width, generator=g), torch.rand(batch, generator=g)
        context = torch.randn(batch, tokens, 24, generator=g)
        out |= {f"x.{name}": x, f"t.{name}": t, f"context.{name}": context, f"y.{name}": net(x, t, context, tokens)}
    ldm.save("zimage", {"model.diffusion_model." + k: v for k, v in net.state_dict().items()}, out)


main()
