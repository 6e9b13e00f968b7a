"""Names and shapes of all tensors of published models, by ComfyUI's classes at published sizes.

A line is a name and a shape; {n} in a name stands for 0 to n-1. A model begins with its name, its tensors and its parameters.

    COMFYUI=/path/to/ComfyUI python testdata/golden/published.py
    made: ../../internal/synth/published.txt
"""

import os
import re

import torch

import comfyui
import ldm
from comfy.ldm.chroma.model import Chroma
from comfy.ldm.flux.model import Flux
from comfy.ldm.lumina.model import NextDiT
from comfy.ldm.models.autoencoder import AutoencoderKL
from comfy.ldm.modules.diffusionmodules.mmdit import OpenAISignatureMMDITWrapper
from comfy.ldm.modules.diffusionmodules.model import Decoder, Encoder
from comfy.text_encoders import llama
from comfy.text_encoders.t5 import T5

meta = comfyui.settings | {"device": "meta"}
flux1 = dict(
    in_channels=16, out_channels=16, vec_in_dim=768, context_in_dim=4096, hidden_size=3072, mlp_ratio=4.0, num_heads=24, depth=19,
    depth_single_blocks=38, axes_dim=[16, 56, 56], theta=10000, patch_size=2, qkv_bias=True, guidance_embed=True, txt_ids_dims=[])
flux2 = dict(
    in_channels=128, out_channels=128, vec_in_dim=None, mlp_ratio=3.0, axes_dim=[32] * 4, theta=2000, patch_size=1, qkv_bias=False,
    txt_ids_dims=[3], global_modulation=True, mlp_silu_act=True, ops_bias=False)
chroma = {k: v for k, v in flux1.items() if k != "guidance_embed"} | dict(in_channels=64, out_channels=64, in_dim=64, out_dim=3072, hidden_dim=5120, n_layers=5)
vae = dict(double_z=True, resolution=256, in_channels=3, out_ch=3, ch=128, ch_mult=[1, 2, 4, 4], num_res_blocks=2, attn_resolutions=[], dropout=0.0)


def halves(z):
    with torch.device("meta"):
        return torch.nn.ModuleDict({"encoder": Encoder(z_channels=z, **vae), "decoder": Decoder(z_channels=z, **vae)})


def klVAE(decoder=None):
    kl = vae | dict(z_channels=32, batch_norm_latent=True)
    with torch.device("meta"):
        return AutoencoderKL(ddconfig=kl, embed_dim=32, **({} if decoder is None else {"decoder_ddconfig": kl | {"ch": decoder}}))


def sd3(depth, side, **options):
    context = {"target": "torch.nn.Linear", "params": {"in_features": 4096, "out_features": 64 * depth}}
    return OpenAISignatureMMDITWrapper(
        depth=depth, in_channels=16, input_size=None, adm_in_channels=2048, num_patches=side * side, pos_embed_max_size=side,
        context_embedder_config=context, **options, **meta)


def t5(vocabulary, kind):
    return T5(dict(num_layers=24, d_model=4096, d_kv=64, num_heads=64, d_ff=10240, vocab_size=vocabulary, model_type=kind, dense_act_fn="gelu_pytorch_tanh",
                   is_gated_act=True), **meta)


def llm(config):
    net = torch.nn.Module()  # the text half, without what sees pictures
    net.model = llama.Llama2_(config, device="meta", dtype=torch.float32, ops=comfyui.settings["operations"])
    return net


texts = {
    "t5xxl": lambda: t5(32128, "t5"),
    "umt5xxl": lambda: t5(256384, "umt5"),
    "qwen3-0.6b": lambda: llm(llama.Qwen3_06BConfig()),
    "qwen3-4b": lambda: llm(llama.Qwen3_4BConfig()),
    "qwen3-8b": lambda: llm(llama.Qwen3_8BConfig()),
    "qwen2.5-7b": lambda: llm(llama.Qwen25_7BVLI_Config()),
    "mistral3-24b": lambda: llm(llama.Mistral3Small24BConfig()),
    "mistral3-24b-pruned": lambda: llm(llama.Mistral3Small24BConfig(num_hidden_layers=30, final_norm=False)),
    "llama3-8b": lambda: llm(llama.Llama2Config()),
    "gemma2-2b": lambda: llm(llama.Gemma2_2B_Config()),
    "gemma3-12b": lambda: llm(llama.Gemma3_12B_Config()),
}
models = {
    "z-image": lambda: NextDiT(
        patch_size=2, in_channels=16, dim=3840, n_layers=30, n_refiner_layers=2, n_heads=30, n_kv_heads=30, ffn_dim_multiplier=8 / 3,
        qk_norm=True, cap_feat_dim=2560, axes_dims=[32, 48, 48], axes_lens=[1536, 512, 512], rope_theta=256.0, z_image_modulation=True,
        time_scale=1000.0, pad_tokens_multiple=32, **meta),
    "flux1-dev": lambda: Flux(**flux1, **meta),
    "flux1-schnell": lambda: Flux(**flux1 | dict(guidance_embed=False), **meta),
    "flux1-fill-dev": lambda: Flux(**flux1 | dict(in_channels=96), **meta),
    "flux1-depth-dev": lambda: Flux(**flux1 | dict(in_channels=32), **meta),
    "flux2-dev": lambda: Flux(**flux2, hidden_size=6144, num_heads=48, context_in_dim=15360, depth=8, depth_single_blocks=48, guidance_embed=True, **meta),
    "flux2-klein-4b": lambda: Flux(**flux2, hidden_size=3072, num_heads=24, context_in_dim=7680, depth=5, depth_single_blocks=20, guidance_embed=False, **meta),
    "flux2-klein-9b": lambda: Flux(**flux2, hidden_size=4096, num_heads=32, context_in_dim=12288, depth=8, depth_single_blocks=24, guidance_embed=False, **meta),
    "chroma1": lambda: Chroma(**chroma, **meta),
    "sd3-medium": lambda: sd3(24, 192),
    "sd3.5-medium": lambda: sd3(24, 384, qk_norm="rms", x_block_self_attn_layers=list(range(13))),
    "sd3.5-large": lambda: sd3(38, 192, qk_norm="rms"),
    "ae": lambda: halves(16),
    "flux2-vae": klVAE,
    "flux2-vae-small-decoder": lambda: klVAE(96),
}


def published(name):
    """The names of the files, where they are not those of the classes."""
    name = re.sub(r"((query|key)_norm|distilled_guidance_layer\.norms\.\d+)\.weight$", r"\1.scale", name)
    return re.sub(r"^(post_)?quant_conv", lambda m: ("decoder." if m[1] else "encoder.") + m[0], name)


def main():
    lines = []
    for model, make in (models | texts).items():
        tensors = {published(k): list(v.shape) for k, v in make().state_dict().items() if not k.endswith("num_batches_tracked")}
        count = sum(torch.Size(s).numel() for s in tensors.values())
        lines.append(f"\n{model} {len(tensors)} {count}\n")
        found = {}  # the first part of a name of blocks, the last, and the shape, by name
        for name, shape in tensors.items():
            if m := re.match(r"([\w.]*?(?:blocks?|layers|refiner)\.)(\d+)(\..*)$", name):
                found[name] = (m[1], m[3], str(shape), int(m[2]))
        for name, shape in tensors.items():
            *block, number = found.get(name, (None,))
            numbers = sorted(n for *b, n in found.values() if b == block)
            if number is None or numbers != list(range(len(numbers))):
                lines.append(f"{name} {shape}\n")
            elif number == 0:
                lines.append(f"{block[0]}{{{len(numbers)}}}{block[1]} {shape}\n")
    with open(os.path.join(ldm.here, "..", "..", "internal", "synth", "published.txt"), "w") as f:
        f.write("".join(lines).lstrip())


main()
