"""Tiny UNets of SDXL's structure with random weights, by diffusers.

    python testdata/golden/unet_sdxl.py
    made: unet_sdxl.safetensors unet_sdxl_heads.safetensors
"""

import torch
from diffusers import UNet2DConditionModel

import ldm

POOLED = 24


def build(channels, depths, heads, layers):
    n = len(channels) - 1
    return UNet2DConditionModel(
        sample_size=16, in_channels=4, out_channels=4, block_out_channels=channels, layers_per_block=layers, cross_attention_dim=32,
        attention_head_dim=heads, norm_num_groups=32, transformer_layers_per_block=depths, use_linear_projection=True,
        addition_embed_type="text_time", addition_time_embed_dim=256, projection_class_embeddings_input_dim=POOLED + 6 * 256,
        down_block_types=("DownBlock2D",) + ("CrossAttnDownBlock2D",) * n, up_block_types=("CrossAttnUpBlock2D",) * n + ("UpBlock2D",)).eval()


@torch.no_grad()
def run(name, net, seed, metadata=None):
    ldm.randomize(net, seed)
    g = torch.Generator().manual_seed(seed + 1)
    out = {"t": torch.tensor([981.0, 37.5]), "context": torch.randn(2, 77, 32, generator=g), "pooled": torch.randn(2, POOLED, generator=g),
           "sizes": torch.tensor([[1024.0, 768, 0, 8, 1024, 768], [512, 512, 64, 0, 640, 512]])}
    added = {"text_embeds": out["pooled"], "time_ids": out["sizes"]}
    for size, h, w in [("even", 16, 8), ("odd", 9, 7)]:
        x = torch.randn(2, 4, h, w, generator=g)
        out |= {f"x.{size}": x, f"y.{size}": net(x, out["t"], out["context"], added_cond_kwargs=added).sample}
    ldm.save(name, ldm.unet_weights(net), out, metadata)


# All three resolutions; too narrow for heads of 64 features.
run("unet_sdxl", build((32, 32, 32), (1, 2, 3), 2, 2), 31, {"weir.unet.num_heads": "2"})
# Heads of 64 features, as in the original: one at this width, two if it were 128.
run("unet_sdxl_heads", build((32, 64), (1, 1), (1, 1), 1), 41)
