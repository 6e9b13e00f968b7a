"""LoRAs with random weights, merged into the tiny UNet of unet_sd15.py and the encoders of text_encoders.py, and what these compute then.

The metadata maps the names of modules in diffusers' full-size UNets to those in the original checkpoints.

    python testdata/golden/lora.py
    made: lora.safetensors
"""

import json
import os

import torch
from diffusers import UNet2DConditionModel
from open_clip.transformer import TextTransformer
from safetensors.torch import load_file
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

import ldm
import unet_sd15

g = torch.Generator().manual_seed(61)


def rand(*shape):
    fan = torch.Size(shape[1:]).numel()
    return (torch.randn(shape, generator=g) * (0.7 / fan) ** 0.5).half().float()


def linear_lora(n, k, rank, alpha):
    out = {"lora_A.weight": rand(rank, k), "lora_B.weight": rand(n, rank)}
    return out | ({"alpha": torch.tensor(alpha)} if alpha else {})


def conv_lora(n, k, size, rank, mid):
    if mid:
        return {"lora_A.weight": rand(rank, k, 1, 1), "lora_mid.weight": rand(rank, rank, size, size), "lora_B.weight": rand(n, rank, 1, 1), "alpha": torch.tensor(1.0)}
    return {"lora_A.weight": rand(rank, k, size, size), "lora_B.weight": rand(n, rank, 1, 1), "alpha": torch.tensor(2.5)}


def delta(lora):
    """The change of the base weight at strength 1."""
    down, up = lora["lora_A.weight"], lora["lora_B.weight"]
    rank = down.shape[0]
    scale = lora["alpha"].item() / rank if "alpha" in lora else 1.0
    if "lora_mid.weight" in lora:
        return scale * torch.einsum("nr,rqhw,qk->nkhw", up[:, :, 0, 0], lora["lora_mid.weight"], down[:, :, 0, 0])
    return scale * (up.flatten(1) @ down.flatten(1)).reshape(up.shape[0], *down.shape[1:])


def unet_loras(net):
    """One on every linear layer, with alpha but for the even ones; two on every convolution and some linear layers, every third with a kernel cut in three."""
    one, two = {}, {}
    for i, (name, m) in enumerate(net.named_modules()):
        if isinstance(m, torch.nn.Linear):
            one[name] = linear_lora(m.out_features, m.in_features, 2, 1.0 if i % 2 else None)
            if i % 7 == 0:
                two[name] = linear_lora(m.out_features, m.in_features, 3, None)
        elif isinstance(m, torch.nn.Conv2d):
            size = m.kernel_size[0]
            two[name] = conv_lora(m.out_channels, m.in_channels, size, 2, size > 1 and i % 3 == 0)
    return one, two


def clip_loras(layers, width):
    one, two = {}, {}
    for i in range(layers):
        p = f"text_model.encoder.layers.{i}."
        for name, n, k in [("self_attn.q_proj", width, width), ("self_attn.k_proj", width, width), ("self_attn.v_proj", width, width),
                           ("self_attn.out_proj", width, width), ("mlp.fc1", 4 * width, width), ("mlp.fc2", width, 4 * width)]:
            one[p + name] = linear_lora(n, k, 2, 3.0)
            if "q" in name or "v" in name:
                two[p + name] = linear_lora(n, k, 1, None)
    return one, two


def runs(weights, one, two, place, run):
    """Results with either LoRA and with both, by what the strengths are. place names a base weight and its rows."""
    out = {}
    for label, s, t in [("1,0", 1.0, 0.0), ("0.5,0", 0.5, 0.0), ("1,0.5", 1.0, 0.5)]:
        merged = {k: v.clone() for k, v in weights.items()}
        for strength, lora in [(s, one), (t, two)]:
            for name, parts in lora.items() if strength else []:
                key, rows = place(name)
                w = merged[key][rows]
                w += strength * delta(parts).reshape(w.shape)
        out[label] = run(merged)
    return out


def unet(out):
    net = unet_sd15.tiny()
    one, two = unet_loras(net)
    x, t, context = torch.randn(1, 4, 16, 16, generator=g), torch.tensor([500.0]), torch.randn(1, 77, 32, generator=g)
    out |= {"unet.x": x, "unet.t": t, "unet.context": context}

    # Rounding errors grow in a network of random weights: float32 is not good enough as a reference.
    net.double()

    def run(weights):
        net.load_state_dict(weights)
        return net(x.double(), t.double(), context.double()).sample.float()

    weights = {k: v.clone() for k, v in net.state_dict().items()}
    results = runs(weights, one, two, lambda name: (name + ".weight", slice(None)), run)
    return {"unet." + k: v for k, v in one.items()}, {"unet." + k: v for k, v in two.items()}, {"unet.y." + k: v for k, v in results.items()}


def clip_l():
    base = load_file(os.path.join(ldm.here, "clip_l.safetensors"))
    prefix = "cond_stage_model.transformer."
    model = CLIPTextModelWithProjection(CLIPTextConfig(
        vocab_size=600, hidden_size=64, intermediate_size=256, projection_dim=48, num_hidden_layers=3, num_attention_heads=4,
        max_position_embeddings=77, hidden_act="quick_gelu", eos_token_id=599, bos_token_id=598)).eval()
    one, two = clip_loras(3, 64)
    weights = {k.removeprefix(prefix): v for k, v in base.items() if k.startswith(prefix)}

    def run(weights):
        model.load_state_dict(weights, strict=False)
        return model(base["tokens"].long()).last_hidden_state

    results = runs(weights, one, two, lambda name: (name + ".weight", slice(None)), run)
    return {"text_encoder." + k: v for k, v in one.items()}, {"text_encoder." + k: v for k, v in two.items()}, {"clip_l.last." + k: v for k, v in results.items()}


def open_clip():
    base = load_file(os.path.join(ldm.here, "open_clip.safetensors"))
    prefix = "conditioner.embedders.1.model."
    model = TextTransformer(context_length=77, vocab_size=600, width=64, heads=4, layers=3, output_dim=64, pool_type="argmax").eval()
    one, two = clip_loras(3, 64)
    weights = {k.removeprefix(prefix): v for k, v in base.items() if k.startswith(prefix)}

    def place(name):
        layer, module = name.removeprefix("text_model.encoder.layers.").split(".", 1)
        p = f"transformer.resblocks.{layer}."
        if module[-6:] in ("q_proj", "k_proj", "v_proj"):
            i = "qkv".index(module[-6])
            return p + "attn.in_proj_weight", slice(i * 64, i * 64 + 64)
        return p + {"self_attn.out_proj": "attn.out_proj", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj"}[module] + ".weight", slice(None)

    states = []
    model.ln_final.register_forward_hook(lambda m, i, o: states.append(o))

    def run(weights):
        model.load_state_dict(weights, strict=False)
        model(base["tokens"].long())
        return states[-1]

    results = runs(weights, one, two, place, run)
    return {"text_encoder_2." + k: v for k, v in one.items()}, {"text_encoder_2." + k: v for k, v in two.items()}, {"open_clip.last." + k: v for k, v in results.items()}


def modules(net):
    """The original name of every module with a matrix."""
    names = ldm.unet_names(net)
    return {k.removesuffix(".weight"): names[k].removeprefix("model.diffusion_model.").removesuffix(".weight")
            for k, v in net.state_dict().items() if k.endswith(".weight") and v.ndim > 1}


def full_size():
    with torch.device("meta"):
        sd15 = UNet2DConditionModel(block_out_channels=(320, 640, 1280, 1280), cross_attention_dim=768)
        sdxl = UNet2DConditionModel(
            block_out_channels=(320, 640, 1280), cross_attention_dim=2048, attention_head_dim=(5, 10, 20), transformer_layers_per_block=(1, 2, 10),
            use_linear_projection=True, addition_embed_type="text_time", addition_time_embed_dim=256, projection_class_embeddings_input_dim=2816,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"))
    return {"modules": json.dumps({"sd15": modules(sd15), "sdxl": modules(sdxl)})}


@torch.no_grad()
def main():
    out = {}
    for one, two, results in [unet(out), clip_l(), open_clip()]:
        out |= results
        for label, lora in [("one", one), ("two", two)]:
            out |= {f"{label}/{module}.{part}": v for module, parts in lora.items() for part, v in parts.items()}
    ldm.save("lora", {}, out, full_size())


main()
