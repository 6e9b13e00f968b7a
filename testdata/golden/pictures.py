"""Pictures of tiny pipelines of whole families, by ComfyUI: from the prompt to the pixels.

    COMFYUI=/path/to/ComfyUI python testdata/golden/pictures.py
    made: pictures.safetensors

Text encoders and denoisers have the weights that hashed makes of their names; autoencoders are those of vae_flux1 and
vae_flux2. The shapes of the denoisers' tensors are in the metadata.
"""

import json
import os

import torch
from safetensors.torch import load_file, save_file

import comfyui
from hashed import CLIP, LLM, T5, fill, hashed, tekken
import comfy.model_patcher
import comfy.sample
import comfy.samplers
import comfy.supported_models
import comfy.text_encoders.flux as flux
import comfy.text_encoders.pixart_t5 as pixart
import comfy.text_encoders.z_image as z_image
from comfy.ldm.models import autoencoder
from comfy.ldm.modules.diffusionmodules.mmdit import TimestepEmbedder
from comfy_extras.nodes_flux import Flux2Scheduler

here = os.path.dirname(os.path.abspath(__file__))
torch.set_num_threads(1)
options = {"qwen3_4b_model_config": LLM, "mistral3_24b_model_config": LLM | dict(vocab_size=320), "t5xxl_model_config": T5, "clip_l_model_config": CLIP}
POSITIVE, NEGATIVE = "A photo of a (red:1.3) cat, in the rain.", "blurry"
PREFIX = "model.diffusion_model."


def denoiser(config, **settings):
    """A model of ComfyUI for a configuration that it does not know by its sizes."""
    model = config(settings)
    model.set_inference_dtype(torch.float32, None)
    model.custom_operations = None
    return model.get_model({}, device="cpu")


def weigh(model):
    net = model.diffusion_model
    for name, p in net.named_parameters():
        p.data = hashed(PREFIX + name, list(p.shape))
    shapes = {PREFIX + name: list(p.shape) for name, p in net.named_parameters()}
    return comfy.model_patcher.ModelPatcher(model, load_device=torch.device("cpu"), offload_device=torch.device("cpu")), shapes


def conditioning(text, prompt):
    tokenizer, encoder = text
    out = encoder.encode_token_weights(tokenizer.tokenize_with_weights(prompt))
    extra = dict(out[2]) if len(out) > 2 else {}
    return [[out[0], extra | {"pooled_output": out[1]}]]


def vae(name, **settings):
    """The autoencoder of a golden."""
    weights = {k.removeprefix("first_stage_model."): v.float() for k, v in load_file(os.path.join(here, name + ".safetensors")).items() if k.startswith("first_stage_model.")}
    dd = dict(double_z=True, resolution=64, in_channels=3, out_ch=3, ch=32, num_res_blocks=1, attn_resolutions=[], dropout=0.0)
    if name == "vae_flux1":
        parts = {half: {"target": "comfy.ldm.modules.diffusionmodules.model." + half.capitalize(), "params": dd | dict(z_channels=16, ch_mult=[1, 1, 1])} for half in ("encoder", "decoder")}
        net = autoencoder.AutoencodingEngine(regularizer_config={"target": "comfy.ldm.models.autoencoder.DiagonalGaussianRegularizer"}, encoder_config=parts["encoder"], decoder_config=parts["decoder"])
    else:
        dd |= dict(z_channels=4, ch_mult=[1, 2], batch_norm_latent=True)
        net = autoencoder.AutoencoderKL(ddconfig=dd, embed_dim=4, decoder_ddconfig=dd | {"ch_mult": [1, 1]})
        weights = {k.replace("encoder.quant_conv", "quant_conv").replace("decoder.post_quant_conv", "post_quant_conv"): v for k, v in weights.items()}
    missing, unexpected = net.load_state_dict(weights, strict=False)
    assert not unexpected and all("num_batches" in k for k in missing), (missing, unexpected)
    return net.eval()


def picture(net, samples):
    return torch.clamp((net.decode(samples) + 1) / 2, 0, 1)


def z_image_model():
    model = denoiser(
        comfy.supported_models.ZImage, image_model="lumina2", patch_size=2, in_channels=16, dim=64, n_layers=2, n_refiner_layers=1, n_heads=2, n_kv_heads=2,
        multiple_of=16, ffn_dim_multiplier=1.25, qk_norm=True, cap_feat_dim=32, axes_dims=[8, 12, 12], axes_lens=[64] * 3, rope_theta=256.0,
        z_image_modulation=True, time_scale=1000.0, pad_tokens_multiple=32)
    # The class embeds timesteps in 256 features whatever its width, and reads min(width, 256).
    model.diffusion_model.t_embedder = TimestepEmbedder(48, output_size=64, **comfyui.settings)
    return model


FLUX = dict(hidden_size=64, num_heads=2, depth=2, depth_single_blocks=2, in_channels=16, out_channels=16)


def flux1_model():
    return denoiser(
        comfy.supported_models.Flux, image_model="flux", **FLUX, vec_in_dim=64, context_in_dim=48, mlp_ratio=2.0, axes_dim=[4, 14, 14], theta=10000,
        patch_size=2, qkv_bias=True, guidance_embed=True, txt_ids_dims=[])


def chroma_model():
    return denoiser(
        comfy.supported_models.Chroma, image_model="chroma", **FLUX | dict(in_channels=64, out_channels=64), context_in_dim=48, vec_in_dim=None, mlp_ratio=2.0, axes_dim=[4, 14, 14], theta=10000,
        patch_size=2, qkv_bias=True, txt_ids_dims=[], in_dim=64, out_dim=64, hidden_dim=48, n_layers=2)


def flux2_model(guidance):
    return denoiser(
        comfy.supported_models.Flux2, image_model="flux2", **FLUX, vec_in_dim=None, context_in_dim=96, mlp_ratio=1.5, axes_dim=[8] * 4, theta=2000,
        patch_size=1, qkv_bias=False, guidance_embed=guidance, txt_ids_dims=[3], global_modulation=True, mlp_silu_act=True, ops_bias=False,
        default_ref_method="index", ref_index_scale=10.0)


def qwen3(encoder):
    return fill(encoder(dtype=torch.float32, model_options=options))


FAMILIES = {
    "z_image": (lambda: (z_image.ZImageTokenizer(), qwen3(z_image.ZImageTEModel)), z_image_model, "vae_flux1"),
    "klein": (lambda: (flux.KleinTokenizer(), qwen3(flux.klein_te(torch.float32))), lambda: flux2_model(False), "vae_flux2"),
    "flux2": (lambda: (flux.Flux2Tokenizer(tokenizer_data={"tekken_model": tekken()}), fill(flux.flux2_te(torch.float32, pruned=True)(model_options=options))), lambda: flux2_model(True), "vae_flux2"),
    "flux1": (lambda: (flux.FluxTokenizer(), fill(flux.flux_clip(torch.float32)(dtype=torch.float32, model_options=options))), flux1_model, "vae_flux1"),
    "chroma": (lambda: (pixart.PixArtTokenizer(), fill(pixart.pixart_te(torch.float32)(model_options=options))), chroma_model, "vae_flux1"),
}


def sample(family, patcher, positive, negative, width, height):
    """The latents that the nodes of the family's templates make."""
    stride = 16 if family in ("klein", "flux2") else 8
    latent = torch.zeros(1, 16, height // stride, width // stride)
    noise = comfy.sample.prepare_noise(latent, 7, None)
    if stride == 8:
        cfg = 1.0 if family == "flux1" else 2.5
        return comfy.sample.sample(
            patcher, noise, steps=4, cfg=cfg, sampler_name="euler", scheduler="simple", positive=positive, negative=negative, latent_image=latent, denoise=1.0, seed=7, disable_pbar=True)
    sigmas = Flux2Scheduler.execute(4, width, height)[0]
    return comfy.sample.sample_custom(patcher, noise, 2.5 if family == "klein" else 1.0, comfy.samplers.sampler_object("euler"), sigmas, positive, negative, latent, disable_pbar=True, seed=7)


@torch.no_grad()
def main():
    out, shapes = {"tekken_model": tekken()}, {}
    for family, (text, make, autoencoder) in FAMILIES.items():
        text, net = text(), vae(autoencoder)
        patcher, shapes[family] = weigh(make())
        for name, p in text[1].named_parameters():
            encoder, inner, name = name.partition(".transformer.")
            if inner:
                shapes.setdefault(family + " " + encoder, {})[name] = list(p.shape)
        positive, negative = conditioning(text, POSITIVE), conditioning(text, NEGATIVE)
        if family == "flux1":
            positive[0][1]["guidance"] = 2.0
        for width, height in [(96, 64), (48, 80)]:
            samples = sample(family, patcher, positive, negative, width, height)
            name = f"{family}.{width}x{height}"
            out[name + ".samples"], out[name] = samples, (picture(net, samples) * 255).round().to(torch.uint8)
            print(name, samples.std().item(), out[name].float().std().item())
    save_file(out, os.path.join(here, "pictures.safetensors"), {"shapes": json.dumps(shapes), "positive": POSITIVE, "negative": NEGATIVE})


main()
