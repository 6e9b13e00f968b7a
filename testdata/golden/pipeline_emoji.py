"""The workflow workflows/emoji.json from prompt to pixels: transformers' CLIP,
diffusers' UNet and autoencoder, k-diffusion's sampler and spandrel's upscaler
with the weights in models/.

    python testdata/golden/pipeline_emoji.py
    made: pipeline_emoji.safetensors
"""

import json
import os

import k_diffusion.sampling as K
import numpy as np
import open_clip
import spandrel
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel

import ldm

root = os.path.join(ldm.here, "..", "..")
nodes = json.load(open(os.path.join(root, "workflows", "emoji.json")))
get = lambda kind: next(n["inputs"] for n in nodes.values() if n["class_type"] == kind)
sampler = get("KSampler")
prompts = [nodes[sampler[side][0]]["inputs"]["text"] for side in ("positive", "negative")]
assert (sampler["sampler_name"], sampler["scheduler"], sampler["denoise"]) == ("euler", "normal", 1)

with safe_open(os.path.join(root, "models", "checkpoints", get("CheckpointLoaderSimple")["ckpt_name"]), "pt") as f:
    weights, metadata = {k: f.get_tensor(k).float() for k in f.keys()}, f.metadata()

text = CLIPTextModel(CLIPTextConfig(
    vocab_size=49408, hidden_size=96, intermediate_size=384, num_hidden_layers=3, num_attention_heads=int(metadata["weir.clip.num_heads"]),
    max_position_embeddings=77, hidden_act="quick_gelu", bos_token_id=49406, eos_token_id=49407)).eval()
prefix = "cond_stage_model.transformer."
own = {k: k if k.startswith("text_model.") else "text_model." + k for k in text.state_dict() if "position_ids" not in k}
missing = text.load_state_dict({k: weights[prefix + v] for k, v in own.items()}, strict=False)
assert not missing.unexpected_keys and all("position_ids" in k for k in missing.missing_keys), missing

unet = UNet2DConditionModel(
    sample_size=16, in_channels=4, out_channels=4, block_out_channels=(64, 128, 128), layers_per_block=1, cross_attention_dim=96,
    attention_head_dim=int(metadata["weir.unet.num_heads"]), norm_num_groups=32,
    down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D")).eval()
unet.load_state_dict({k: weights[v] for k, v in ldm.unet_names(unet).items()})

vae = AutoencoderKL(
    in_channels=3, out_channels=3, latent_channels=4, block_out_channels=(32, 64, 64), layers_per_block=1, norm_num_groups=32,
    down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3).eval()
# The names come in the order of the parameters.
vae.load_state_dict({k: weights[v].reshape(vae.state_dict()[k].shape) for k, v in zip(vae.state_dict(), ldm.vae_weights(vae))})

upscaler = spandrel.ModelLoader().load_from_file(os.path.join(root, "models", "upscale_models", get("UpscaleModelLoader")["model_name"])).model.float().eval()


def tokens(prompt):
    ids = [49406, *open_clip.tokenizer.SimpleTokenizer().encode(prompt), 49407]
    return torch.tensor([ids + [49407] * (77 - len(ids))])


betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
bars = (1 - betas).cumprod(0)
logs = ((1 - bars) / bars).sqrt().log()
levels = np.exp(np.interp(np.linspace(999, 0, sampler["steps"]), np.arange(1000), logs.numpy()))
sigmas = torch.tensor([*levels, 0.0], dtype=torch.float32)


@torch.no_grad()
def main():
    positive, negative = [text(tokens(p)).last_hidden_state for p in prompts]

    def denoise(x, sigma):
        """The velocity's denoised picture (Salimans and Ho 2022), guided."""
        s = sigma[0]
        t = (logs - s.double().log()).abs().argmin()
        out = []
        for context in (positive, negative):
            v = unet(x / (s**2 + 1).sqrt(), t, context).sample
            out.append(x / (s**2 + 1) - v * s / (s**2 + 1).sqrt())
        return out[1] + sampler["cfg"] * (out[0] - out[1])

    size = get("EmptyLatentImage")
    noise = torch.randn(1, 4, size["height"] // 4, size["width"] // 4, generator=torch.Generator().manual_seed(sampler["seed"]))
    z = K.sample_euler(denoise, noise * (1 + sigmas[0] ** 2).sqrt(), sigmas, disable=True)
    picture = ((vae.decode(z / float(metadata["weir.latent.scale_factor"])).sample + 1) / 2).clamp(0, 1)
    large = upscaler(picture).clamp(0, 1)
    pixels = (large[0].permute(1, 2, 0) * 255).to(torch.uint8).contiguous()
    save_file({"positive": positive, "latent": z, "pixels": pixels}, os.path.join(ldm.here, "pipeline_emoji.safetensors"))


main()
