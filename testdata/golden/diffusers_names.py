"""The names that diffusers gives the tensors of Stable Diffusion's UNets and autoencoders, with their original names by
ComfyUI. Only the names of layers are kept.

    COMFYUI=/path/to/ComfyUI python testdata/golden/diffusers_names.py
    made: diffusers_names.txt
"""

import os
import sys

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel

sys.path.insert(0, os.environ["COMFYUI"])
sys.argv = sys.argv[:1]
from comfy.cli_args import args  # noqa: E402

args.cpu = True
import comfy.diffusers_convert  # noqa: E402
import comfy.utils  # noqa: E402

import ldm  # noqa: E402

here = os.path.dirname(os.path.abspath(__file__))


def layers(names):
    """Names without the last part, once each, in order."""
    return list(dict.fromkeys(n.rpartition(".")[0] for n in names))


def unet(channels, depth, blocks=2, **more):
    mult = [c // channels[0] for c in channels]
    cross = ["CrossAttn" if d else "" for d in depth]
    with torch.device("meta"):
        net = UNet2DConditionModel(
            block_out_channels=channels, layers_per_block=blocks, transformer_layers_per_block=[d or 1 for d in depth],
            down_block_types=[f"{c}DownBlock2D" for c in cross], up_block_types=[f"{c}UpBlock2D" for c in cross[::-1]], **more)
    config = {"num_res_blocks": [blocks] * len(mult), "channel_mult": mult, "transformer_depth": [d for d in depth for _ in range(blocks)],
              "transformer_depth_output": [d for d in depth for _ in range(blocks + 1)], "transformer_depth_middle": depth[-1] or 1}
    original = comfy.utils.unet_to_diffusers(config)
    return dict(zip(layers(net.state_dict()), layers(original[n] for n in net.state_dict())))


def vae(channels, blocks):
    n = len(channels)
    with torch.device("meta"):
        net = AutoencoderKL(block_out_channels=channels, layers_per_block=blocks, down_block_types=["DownEncoderBlock2D"] * n,
                            up_block_types=["UpDecoderBlock2D"] * n, norm_num_groups=32, latent_channels=4)
    if n != 4:  # ComfyUI converts those of four resolutions
        return dict(zip(layers(net.state_dict()), layers(k.removeprefix("first_stage_model.") for k in ldm.vae_weights(net))))
    # Each tensor is told by its number, which the conversion, a renaming, carries along.
    names = list(net.state_dict())
    converted = comfy.diffusers_convert.convert_vae_state_dict({k: torch.full((1, 1), float(i)) for i, k in enumerate(names)})
    original = {int(v.flatten()[0]): k for k, v in converted.items()}
    return dict(zip(layers(names), layers(original[i] for i in range(len(names)))))


models = {
    "unet sd15": unet((320, 640, 1280, 1280), (1, 1, 1, 0), cross_attention_dim=768),
    "unet sdxl": unet((320, 640, 1280), (0, 2, 10), cross_attention_dim=2048, use_linear_projection=True, addition_embed_type="text_time",
                      addition_time_embed_dim=256, projection_class_embeddings_input_dim=2816),
    "unet emoji": unet((64, 128, 128), (0, 1, 1), 1, cross_attention_dim=96),
    "vae": vae((128, 256, 512, 512), 2),
    "vae emoji": vae((32, 64, 64), 1),
}
with open(os.path.join(here, "diffusers_names.txt"), "w") as f:
    for model, names in models.items():
        for diffusers, original in names.items():
            print(model, diffusers, original, sep="\t", file=f)
