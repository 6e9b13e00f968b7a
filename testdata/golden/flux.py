"""Tiny denoisers of FLUX.1, FLUX.2 and Chroma with random weights, by ComfyUI's classes.

    COMFYUI=/path/to/ComfyUI python testdata/golden/flux.py
    made: flux1.safetensors flux1_fill.safetensors flux2.safetensors flux2_klein.safetensors chroma.safetensors
"""

import re

import torch

import comfyui
import ldm
from comfy.ldm.chroma.model import Chroma
from comfy.ldm.flux.model import Flux

g = torch.Generator().manual_seed(310)
flux1 = dict(
    in_channels=4, out_channels=4, vec_in_dim=12, context_in_dim=24, hidden_size=64, mlp_ratio=2.0, num_heads=2, depth=2,
    depth_single_blocks=2, axes_dim=[4, 14, 14], theta=10000, patch_size=2, qkv_bias=True, guidance_embed=True, txt_ids_dims=[])
# ComfyUI recognises FLUX.2 with these.
flux2 = dict(
    in_channels=16, out_channels=16, vec_in_dim=None, context_in_dim=24, hidden_size=64, mlp_ratio=1.5, num_heads=2, depth=2,
    depth_single_blocks=2, axes_dim=[8] * 4, theta=2000, patch_size=1, qkv_bias=False, guidance_embed=True, txt_ids_dims=[3],
    global_modulation=True, mlp_silu_act=True, ops_bias=False, default_ref_method="index", ref_index_scale=10.0)
chroma = {k: v for k, v in flux1.items() if k != "guidance_embed"} | dict(in_channels=16, out_channels=16, in_dim=64, out_dim=64, hidden_dim=48, n_layers=2)


def weights(net, scale):
    out = {}
    for k, v in net.state_dict().items():
        if scale:
            k = re.sub(r"((query|key)_norm|distilled_guidance_layer\.norms\.\d+)\.weight$", r"\1.scale", k)
        out["model.diffusion_model." + k] = v
    return out


def rand(*shape):
    return torch.randn(*shape, generator=g)


@torch.no_grad()
def case(net, name, batch, channels, height, width, tokens, vector=0, guidance=False, beside=0, references=(), method=None):
    """Inputs and the output under a name. Tensors that are left out are not there; the reference method is in the name."""
    x, t, context = rand(batch, channels, height, width), torch.rand(batch, generator=g), rand(batch, tokens, 24)
    out = {"x": x, "t": t, "context": context}
    args = {}
    if vector:
        args["y"] = out["pooled"] = rand(batch, vector)
    if guidance:
        args["guidance"] = out["guidance"] = torch.rand(batch, generator=g) * 5
    if beside:
        out["concat"] = rand(batch, beside, height, width)
    if references:
        args["ref_latents"] = [rand(batch, channels, *r) for r in references]
        out |= {f"reference{i}": r for i, r in enumerate(args["ref_latents"])}
        if method:
            args["ref_latents_method"] = method
    if len(net.params.axes_dim) == 4:  # as ComfyUI's model of FLUX.2 does before its network
        context = torch.nn.functional.pad(context, (0, 0, max(0, 512 - tokens), 0))
    out["y"] = net(torch.cat([x, out["concat"]], 1) if beside else x, t, context, transformer_options={}, **args)
    return {f"{k}.{name}": v for k, v in out.items()}


def main():
    s = comfyui.settings
    net = comfyui.randomize(Flux(**flux1, **s), 311)
    out = case(net, "plain", 2, 4, 6, 10, 7, 12, True)
    out |= case(net, "odd", 1, 4, 7, 5, 3, 12, True)
    out |= case(net, "unguided", 1, 4, 4, 6, 5, 12)
    out |= case(net, "no pooled", 1, 4, 4, 6, 5, 0, True)
    # The default, which lays references beside each other: below, then to the right.
    out |= case(net, "references", 2, 4, 4, 6, 5, 12, True, references=[(6, 4), (7, 5), (2, 8)])
    out |= case(net, "index", 1, 4, 4, 6, 5, 12, True, references=[(6, 4), (2, 8)], method="index")
    out |= case(net, "uxo", 1, 4, 5, 6, 5, 12, True, references=[(6, 4), (3, 8)], method="uxo")
    ldm.save("flux1", weights(net, True), out)

    net = comfyui.randomize(Flux(**flux1 | dict(in_channels=12, depth=1, depth_single_blocks=1, guidance_embed=False), **s), 312)
    ldm.save("flux1_fill", weights(net, False), case(net, "plain", 2, 4, 6, 10, 7, 12, beside=8) | case(net, "odd", 1, 4, 5, 7, 2, 12, beside=8))

    net = comfyui.randomize(Flux(**flux2, **s), 313)
    out = case(net, "plain", 2, 16, 3, 5, 7, guidance=True)
    out |= case(net, "references", 2, 16, 3, 4, 5, guidance=True, references=[(2, 3), (4, 1)])
    out |= case(net, "offset", 1, 16, 3, 4, 5, guidance=True, references=[(2, 3), (4, 1)], method="offset")
    out |= case(net, "index_timestep_zero", 1, 16, 3, 4, 5, guidance=True, references=[(2, 3), (4, 1)], method="index_timestep_zero")
    out |= case(net, "long", 1, 16, 3, 4, 514, guidance=True)
    ldm.save("flux2", weights(net, True), out)

    net = comfyui.randomize(Flux(**flux2 | dict(depth=1, depth_single_blocks=3, guidance_embed=False), **s), 314)
    ldm.save("flux2_klein", weights(net, True), case(net, "plain", 1, 16, 2, 7, 9))

    net = comfyui.randomize(Chroma(**chroma, **s), 315)
    ldm.save("chroma", weights(net, True), case(net, "plain", 2, 4, 6, 10, 7, guidance=True) | case(net, "odd", 1, 4, 5, 7, 3, guidance=True))


main()
