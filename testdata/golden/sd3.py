"""Tiny denoisers of Stable Diffusion 3.5 and 3 with random weights, by ComfyUI's class.

    COMFYUI=/path/to/ComfyUI python testdata/golden/sd3.py
    made: sd3.safetensors sd35.safetensors
"""

import torch

import comfyui
import ldm
from comfy.ldm.modules.diffusionmodules import mmdit

g = torch.Generator().manual_seed(330)


def network(seed, heads, **options):
    """A network of 64 features. The class gives heads 64 features whatever the width, so that there would be one."""
    net = mmdit.OpenAISignatureMMDITWrapper(
        depth=1, mlp_ratio=2.0, in_channels=4, input_size=None, adm_in_channels=12, num_patches=64, pos_embed_max_size=8,
        context_embedder_config={"target": "torch.nn.Linear", "params": {"in_features": 24, "out_features": 64}}, **options, **comfyui.settings)
    for m in net.modules():
        if isinstance(m, mmdit.SelfAttention):
            m.num_heads, m.head_dim = heads, 64 // heads
            if hasattr(m.ln_q, "weight"):
                m.ln_q = mmdit.RMSNorm(m.head_dim, elementwise_affine=True)
                m.ln_k = mmdit.RMSNorm(m.head_dim, elementwise_affine=True)
    net = comfyui.randomize(net, seed)
    net.pos_embed.copy_((torch.randn(net.pos_embed.shape, generator=g)).half())
    return net


def case(net, name, batch, height, width, tokens):
    x, t = torch.randn(batch, 4, height, width, generator=g), torch.rand(batch, generator=g) * 1000
    context, pooled = torch.randn(batch, tokens, 24, generator=g), torch.randn(batch, 12, generator=g)
    y = net(x, t, context, pooled)
    return {f"{k}.{name}": v for k, v in dict(x=x, t=t, context=context, pooled=pooled, y=y).items()}


def weights(net):
    return {"model.diffusion_model." + k: v for k, v in net.state_dict().items()}


@torch.no_grad()
def main():
    net = network(331, 2, num_blocks=3, qk_norm="rms", x_block_self_attn_layers=[0])
    ldm.save("sd35", weights(net), case(net, "plain", 2, 6, 10, 7) | case(net, "odd", 1, 7, 5, 3) | case(net, "full", 1, 16, 16, 5))
    net = network(332, 1, num_blocks=2)
    ldm.save("sd3", weights(net), case(net, "plain", 2, 4, 8, 6))


main()
