"""A tiny autoencoder of Stable Diffusion with random weights, by diffusers.

    python testdata/golden/vae.py
    made: vae.safetensors
"""

import torch
from diffusers import AutoencoderKL

import ldm


@torch.no_grad()
def main():
    net = AutoencoderKL(
        in_channels=3, out_channels=3, latent_channels=4, block_out_channels=(32, 64, 64), layers_per_block=1, norm_num_groups=32,
        down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3).eval()
    ldm.randomize(net, 51)
    g = torch.Generator().manual_seed(52)
    x, z = torch.rand(2, 3, 20, 28, generator=g) * 2 - 1, torch.randn(2, 4, 5, 7, generator=g)
    out = {}
    # Faint inputs have so little variance that the epsilon of the norms counts.
    for name, scale in [("plain", 1.0), ("faint", 0.01)]:
        out |= {f"x.{name}": x * scale, f"mean.{name}": net.encode(x * scale).latent_dist.mean,
                f"z.{name}": z * scale, f"y.{name}": net.decode(z * scale).sample}
    ldm.save("vae", ldm.vae_weights(net), out)


main()
