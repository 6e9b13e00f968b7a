"""Tiny autoencoders of FLUX with random weights: FLUX.1's by diffusers, FLUX.2's by ComfyUI's class, with a decoder of other widths.

    COMFYUI=/path/to/ComfyUI python testdata/golden/vae_flux.py
    made: vae_flux1.safetensors vae_flux2.safetensors
"""

import re

import torch
from diffusers import AutoencoderKL

import comfyui
import ldm
from comfy.ldm.models import autoencoder

PREFIX = "first_stage_model."


def flux1():
    net = AutoencoderKL(
        in_channels=3, out_channels=3, latent_channels=16, block_out_channels=(32, 32, 32), layers_per_block=1, norm_num_groups=32,
        use_quant_conv=False, use_post_quant_conv=False, down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3).eval()
    ldm.randomize(net, 321)
    g = torch.Generator().manual_seed(322)
    x, z = torch.rand(1, 3, 12, 20, generator=g) * 2 - 1, torch.randn(2, 16, 3, 5, generator=g)
    ldm.save("vae_flux1", ldm.vae_weights(net), {"x": x, "mean": net.encode(x).latent_dist.mean, "z": z, "y": net.decode(z).sample})


def flux2():
    dd = dict(double_z=True, z_channels=4, resolution=64, in_channels=3, out_ch=3, ch=32, ch_mult=[1, 2], num_res_blocks=1, attn_resolutions=[], dropout=0.0, batch_norm_latent=True)
    net = comfyui.randomize(autoencoder.AutoencoderKL(ddconfig=dd, embed_dim=4, decoder_ddconfig=dd | {"ch_mult": [1, 1]}), 323)
    g = torch.Generator().manual_seed(324)
    net.bn.running_mean.copy_((torch.randn(16, generator=g) * 0.3).half())
    net.bn.running_var.copy_((torch.rand(16, generator=g) + 0.2).half())
    x, z = torch.rand(2, 3, 8, 12, generator=g) * 2 - 1, torch.randn(1, 16, 3, 2, generator=g)
    # Files have the convolutions at the latent within the halves.
    weights = {PREFIX + re.sub(r"^(post_)?quant_conv", lambda m: ("decoder." if m[1] else "encoder.") + m[0], k): v for k, v in net.state_dict().items() if "num_batches" not in k}
    ldm.save("vae_flux2", weights, {"x": x, "mean": net.encode(x), "z": z, "y": net.decode(z)})


with torch.no_grad():
    flux1()
    flux2()
