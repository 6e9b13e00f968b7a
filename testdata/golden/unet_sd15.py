"""A tiny UNet of Stable Diffusion 1.5's structure with random weights, by diffusers.

    python testdata/golden/unet_sd15.py
    made: unet_sd15.safetensors
"""

import torch
from diffusers import UNet2DConditionModel

import ldm


def tiny():
    net = UNet2DConditionModel(
        sample_size=16, in_channels=4, out_channels=4, block_out_channels=(32,) * 4, layers_per_block=2, cross_attention_dim=32,
        attention_head_dim=8, norm_num_groups=32,  # 8 is the number of heads, whatever it is called
        down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",), up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3).eval()
    ldm.randomize(net, 21)
    return net


@torch.no_grad()
def main():
    net, g = tiny(), torch.Generator().manual_seed(22)
    out = {"t": torch.tensor([981.0, 37.5]), "context": torch.randn(2, 77, 32, generator=g)}
    # The second is odd at every resolution.
    for name, h, w in [("even", 16, 8), ("odd", 9, 7)]:
        x = torch.randn(2, 4, h, w, generator=g)
        out |= {f"x.{name}": x, f"y.{name}": net(x, out["t"], out["context"]).sample}
    ldm.save("unet_sd15", ldm.unet_weights(net), out)


if __name__ == "__main__":
    main()
