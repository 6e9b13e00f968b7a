"""The names of Stable Diffusion's original checkpoints for those of diffusers, and what the scripts of its networks share."""

import os

import torch
from safetensors.torch import save_file

torch.set_num_threads(1)
here = os.path.dirname(os.path.abspath(__file__))


def randomize(module, seed):
    """Random weights that float16 holds exactly, so that a file of half the size has them all."""
    g = torch.Generator().manual_seed(seed)
    for name, p in module.named_parameters():
        if p.ndim < 2:
            # Weights of norms are around 1, biases around 0.
            p.data = (torch.randn(p.shape, generator=g) * 0.2 + (0 if name.endswith("bias") else 1)).half().float()
        else:
            p.data = (torch.randn(p.shape, generator=g) / p[0].numel() ** 0.5).half().float()


def save(name, weights, tensors, metadata=None):
    """Weights in float16, everything else as it is."""
    half = {k: v.detach().half().contiguous() for k, v in weights.items()}
    full = {k: v.detach().contiguous() for k, v in tensors.items()}
    path = os.path.join(here, name + ".safetensors")
    save_file(half | full, path, metadata)
    os.chmod(path, 0o644)
    size = os.path.getsize(path)
    assert size <= 3 << 20, f"{name}: {size} bytes"


def resnet(key):
    for a, b in [("norm1", "in_layers.0"), ("conv1", "in_layers.2"), ("time_emb_proj", "emb_layers.1"),
                 ("norm2", "out_layers.0"), ("conv2", "out_layers.3"), ("conv_shortcut", "skip_connection")]:
        key = key.replace(a, b)
    return key


def unet_prefixes(unet):
    """The places of diffusers' modules in the original network."""
    out = {"conv_in.": "input_blocks.0.0.", "time_embedding.linear_1.": "time_embed.0.", "time_embedding.linear_2.": "time_embed.2.",
           "add_embedding.linear_1.": "label_emb.0.0.", "add_embedding.linear_2.": "label_emb.0.2.",
           "conv_norm_out.": "out.0.", "conv_out.": "out.2.",
           "mid_block.resnets.0.": "middle_block.0.", "mid_block.attentions.0.": "middle_block.1.", "mid_block.resnets.1.": "middle_block.2."}
    n = 1
    for i, block in enumerate(unet.down_blocks):
        for j in range(len(block.resnets)):
            out[f"down_blocks.{i}.resnets.{j}."] = f"input_blocks.{n}.0."
            out[f"down_blocks.{i}.attentions.{j}."] = f"input_blocks.{n}.1."
            n += 1
        if block.downsamplers:
            out[f"down_blocks.{i}.downsamplers.0.conv."] = f"input_blocks.{n}.0.op."
            n += 1
    n = 0
    for i, block in enumerate(unet.up_blocks):
        for j in range(len(block.resnets)):
            out[f"up_blocks.{i}.resnets.{j}."] = f"output_blocks.{n}.0."
            out[f"up_blocks.{i}.attentions.{j}."] = f"output_blocks.{n}.1."
            n += 1
        if block.upsamplers:
            at = 2 if hasattr(block, "attentions") else 1
            out[f"up_blocks.{i}.upsamplers.0.conv."] = f"output_blocks.{n - 1}.{at}.conv."
    return out


def unet_names(unet):
    """A dict from diffusers' names of parameters to the original ones."""
    prefixes = unet_prefixes(unet)
    names = {}
    for key in unet.state_dict():
        prefix = next(p for p in prefixes if key.startswith(p))
        tail = key[len(prefix):]
        names[key] = "model.diffusion_model." + prefixes[prefix] + (resnet(tail) if ".resnets." in prefix else tail)
    return names


def unet_weights(unet):
    names = unet_names(unet)
    return {names[k]: v for k, v in unet.state_dict().items()}


def vae_weights(vae):
    levels = len(vae.config.block_out_channels)
    out = {}
    for key, v in vae.state_dict().items():
        part = key.split(".")
        if part[1] in ("down_blocks", "up_blocks"):
            level = int(part[2]) if part[1] == "down_blocks" else levels - 1 - int(part[2])
            side = part[1].removesuffix("_blocks")
            if part[3] == "resnets":
                key = f"{part[0]}.{side}.{level}.block.{'.'.join(part[4:])}"
            else:
                key = f"{part[0]}.{side}.{level}.{side}sample.conv.{part[-1]}"
        key = key.replace("conv_shortcut", "nin_shortcut").replace("conv_norm_out", "norm_out")
        key = key.replace("mid_block.resnets.0", "mid.block_1").replace("mid_block.resnets.1", "mid.block_2")
        if "mid_block.attentions.0" in key:
            key = key.replace("mid_block.attentions.0", "mid.attn_1").replace("group_norm", "norm")
            key = key.replace("to_q", "q").replace("to_k", "k").replace("to_v", "v").replace("to_out.0", "proj_out")
            if v.ndim == 2:
                v = v[:, :, None, None]  # 1×1 convolutions in the original
        out["first_stage_model." + key] = v
    return out
