"""Stable Diffusion 1.x at small width, in PyTorch, with the key names of the
original checkpoints.

The structure is that of the paper (Rombach et al. 2022, High-Resolution Image
Synthesis with Latent Diffusion Models) and its published configuration; only
the widths differ: 64 channels at 3 resolutions in the UNet, 96 features in the
text encoder, 32 channels and a factor of 4 in the autoencoder.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F

LATENT = 4
CHANNELS, MULT, ATTENTION = 64, (1, 2, 2), (False, True, True)
UNET_HEADS = 4
VOCAB, LENGTH, WIDTH, LAYERS, TEXT_HEADS = 49408, 77, 96, 3, 3
VAE_CHANNELS, VAE_MULT = 32, (1, 2, 2)


def attend(q, k, v, heads, causal=False):
    split = lambda t: t.unflatten(-1, (heads, -1)).transpose(1, 2)
    out = F.scaled_dot_product_attention(split(q), split(k), split(v), is_causal=causal)
    return out.transpose(1, 2).flatten(2)


# The text encoder: CLIP.


class TextAttention(nn.Module):
    def __init__(self):
        super().__init__()
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            setattr(self, name, nn.Linear(WIDTH, WIDTH))

    def forward(self, x):
        return self.out_proj(attend(self.q_proj(x), self.k_proj(x), self.v_proj(x), TEXT_HEADS, causal=True))


class TextMLP(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x):
        h = self.fc1(x)
        return self.fc2(h * torch.sigmoid(1.702 * h))


class TextLayer(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer_norm1, self.layer_norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.self_attn, self.mlp = TextAttention(), TextMLP()

    def forward(self, x):
        x = x + self.self_attn(self.layer_norm1(x))
        return x + self.mlp(self.layer_norm2(x))


class TextModel(nn.Module):
    """Keys as under cond_stage_model.transformer.text_model."""

    def __init__(self):
        super().__init__()
        self.embeddings = nn.ModuleDict(
            {"token_embedding": nn.Embedding(VOCAB, WIDTH), "position_embedding": nn.Embedding(LENGTH, WIDTH)}
        )
        self.encoder = nn.ModuleDict({"layers": nn.ModuleList(TextLayer() for _ in range(LAYERS))})
        self.final_layer_norm = nn.LayerNorm(WIDTH)
        nn.init.normal_(self.embeddings["token_embedding"].weight, std=0.3)
        nn.init.normal_(self.embeddings["position_embedding"].weight, std=0.1)

    def forward(self, tokens):
        x = self.embeddings["token_embedding"](tokens) + self.embeddings["position_embedding"].weight
        for layer in self.encoder["layers"]:
            x = layer(x)
        return self.final_layer_norm(x)


# The denoiser.


def timestep_embedding(t, dim):
    f = torch.exp(-math.log(10000) * torch.arange(dim // 2, dtype=torch.float32) / (dim // 2))
    a = t[:, None].float() * f
    return torch.cat([a.cos(), a.sin()], dim=-1)


class Res(nn.Module):
    def __init__(self, i, o, emb):
        super().__init__()
        self.in_layers = nn.Sequential(nn.GroupNorm(32, i), nn.SiLU(), nn.Conv2d(i, o, 3, padding=1))
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(emb, o))
        self.out_layers = nn.Sequential(nn.GroupNorm(32, o), nn.SiLU(), nn.Dropout(0), nn.Conv2d(o, o, 3, padding=1))
        self.skip_connection = nn.Identity() if i == o else nn.Conv2d(i, o, 1)
        nn.init.zeros_(self.out_layers[3].weight)

    def forward(self, x, emb, _):
        h = self.in_layers(x) + self.emb_layers(emb)[:, :, None, None]
        return self.skip_connection(x) + self.out_layers(h)


class CrossAttention(nn.Module):
    def __init__(self, dim, context):
        super().__init__()
        self.to_q = nn.Linear(dim, dim, bias=False)
        self.to_k, self.to_v = nn.Linear(context, dim, bias=False), nn.Linear(context, dim, bias=False)
        self.to_out = nn.Sequential(nn.Linear(dim, dim), nn.Dropout(0))

    def forward(self, x, context):
        return self.to_out(attend(self.to_q(x), self.to_k(context), self.to_v(context), UNET_HEADS))


class GEGLU(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.proj = nn.Linear(dim, 8 * dim)

    def forward(self, x):
        x, gate = self.proj(x).chunk(2, dim=-1)
        return x * F.gelu(gate)


class FeedForward(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.net = nn.Sequential(GEGLU(dim), nn.Dropout(0), nn.Linear(4 * dim, dim))

    def forward(self, x):
        return self.net(x)


class TransformerBlock(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.attn1, self.attn2, self.ff = CrossAttention(dim, dim), CrossAttention(dim, WIDTH), FeedForward(dim)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(dim) for _ in range(3))

    def forward(self, x, context):
        h = self.norm1(x)
        x = x + self.attn1(h, h)
        x = x + self.attn2(self.norm2(x), context)
        return x + self.ff(self.norm3(x))


class Transformer(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.norm = nn.GroupNorm(32, dim, eps=1e-6)
        self.proj_in, self.proj_out = nn.Conv2d(dim, dim, 1), nn.Conv2d(dim, dim, 1)
        self.transformer_blocks = nn.ModuleList([TransformerBlock(dim)])
        nn.init.zeros_(self.proj_out.weight)

    def forward(self, x, _, context):
        h = self.proj_in(self.norm(x))
        h = self.transformer_blocks[0](h.flatten(2).transpose(1, 2), context)
        return x + self.proj_out(h.transpose(1, 2).unflatten(2, x.shape[2:]))


class Down(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.op = nn.Conv2d(c, c, 3, stride=2, padding=1)

    def forward(self, x, *_):
        return self.op(x)


class Up(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.conv = nn.Conv2d(c, c, 3, padding=1)

    def forward(self, x, *_):
        return self.conv(F.interpolate(x, scale_factor=2, mode="nearest"))


class First(nn.Conv2d):
    def forward(self, x, *_):
        return super().forward(x)


class UNet(nn.Module):
    """Keys as under model.diffusion_model."""

    def __init__(self):
        super().__init__()
        emb = 4 * CHANNELS
        self.time_embed = nn.Sequential(nn.Linear(CHANNELS, emb), nn.SiLU(), nn.Linear(emb, emb))
        block = lambda *layers: nn.ModuleList(layers)
        c = CHANNELS
        self.input_blocks = nn.ModuleList([block(First(LATENT, c, 3, padding=1))])
        skips = [c]
        for level, (mult, attention) in enumerate(zip(MULT, ATTENTION)):
            layers = [Res(c, mult * CHANNELS, emb)]
            c = mult * CHANNELS
            self.input_blocks.append(block(*layers, *([Transformer(c)] if attention else [])))
            skips.append(c)
            if level + 1 < len(MULT):
                self.input_blocks.append(block(Down(c)))
                skips.append(c)
        self.middle_block = block(Res(c, c, emb), Transformer(c), Res(c, c, emb))
        self.output_blocks = nn.ModuleList()
        for level, mult, attention in reversed(list(zip(range(len(MULT)), MULT, ATTENTION))):
            for i in range(2):
                layers = [Res(c + skips.pop(), mult * CHANNELS, emb)]
                c = mult * CHANNELS
                if attention:
                    layers.append(Transformer(c))
                if level > 0 and i == 1:
                    layers.append(Up(c))
                self.output_blocks.append(block(*layers))
        self.out = nn.Sequential(nn.GroupNorm(32, c), nn.SiLU(), nn.Conv2d(c, LATENT, 3, padding=1))

    def forward(self, x, t, context):
        emb = self.time_embed(timestep_embedding(t, CHANNELS))
        skips = []
        for layers in self.input_blocks:
            for layer in layers:
                x = layer(x, emb, context)
            skips.append(x)
        for layer in self.middle_block:
            x = layer(x, emb, context)
        for layers in self.output_blocks:
            x = torch.cat([x, skips.pop()], dim=1)
            for layer in layers:
                x = layer(x, emb, context)
        return self.out(x)


# The autoencoder.


def norm(c):
    return nn.GroupNorm(32, c, eps=1e-6)


class ResnetBlock(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.norm1, self.conv1 = norm(i), nn.Conv2d(i, o, 3, padding=1)
        self.norm2, self.conv2 = norm(o), nn.Conv2d(o, o, 3, padding=1)
        if i != o:
            self.nin_shortcut = nn.Conv2d(i, o, 1)

    def forward(self, x):
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(F.silu(self.norm2(h)))
        return (self.nin_shortcut(x) if hasattr(self, "nin_shortcut") else x) + h


class PixelAttention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.norm = norm(c)
        for name in ("q", "k", "v", "proj_out"):
            setattr(self, name, nn.Conv2d(c, c, 1))

    def forward(self, x):
        h = self.norm(x)
        flat = lambda t: t.flatten(2).transpose(1, 2)
        h = attend(flat(self.q(h)), flat(self.k(h)), flat(self.v(h)), 1)
        return x + self.proj_out(h.transpose(1, 2).unflatten(2, x.shape[2:]))


def middle(c):
    return nn.ModuleDict({"block_1": ResnetBlock(c, c), "attn_1": PixelAttention(c), "block_2": ResnetBlock(c, c)})


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        c = VAE_CHANNELS
        self.conv_in = nn.Conv2d(3, c, 3, padding=1)
        self.down = nn.ModuleList()
        for level, mult in enumerate(VAE_MULT):
            d = nn.ModuleDict({"block": nn.ModuleList([ResnetBlock(c, mult * VAE_CHANNELS)])})
            c = mult * VAE_CHANNELS
            if level + 1 < len(VAE_MULT):
                d["downsample"] = nn.ModuleDict({"conv": nn.Conv2d(c, c, 3, stride=2)})
            self.down.append(d)
        self.mid = middle(c)
        self.norm_out, self.conv_out = norm(c), nn.Conv2d(c, 2 * LATENT, 3, padding=1)

    def forward(self, x):
        h = self.conv_in(x)
        for d in self.down:
            h = d["block"][0](h)
            if "downsample" in d:
                h = d["downsample"]["conv"](F.pad(h, (0, 1, 0, 1)))
        for layer in self.mid.values():
            h = layer(h)
        return self.conv_out(F.silu(self.norm_out(h)))


class Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        c = VAE_MULT[-1] * VAE_CHANNELS
        self.conv_in = nn.Conv2d(LATENT, c, 3, padding=1)
        self.mid = middle(c)
        ups = []
        for level, mult in reversed(list(enumerate(VAE_MULT))):
            o = mult * VAE_CHANNELS
            u = nn.ModuleDict({"block": nn.ModuleList([ResnetBlock(c, o), ResnetBlock(o, o)])})
            c = o
            if level > 0:
                u["upsample"] = nn.ModuleDict({"conv": nn.Conv2d(c, c, 3, padding=1)})
            ups.insert(0, u)
        self.up = nn.ModuleList(ups)
        self.norm_out, self.conv_out = norm(c), nn.Conv2d(c, 3, 3, padding=1)

    def forward(self, z):
        h = self.conv_in(z)
        for layer in self.mid.values():
            h = layer(h)
        for u in reversed(self.up):
            for layer in u["block"]:
                h = layer(h)
            if "upsample" in u:
                h = u["upsample"]["conv"](F.interpolate(h, scale_factor=2, mode="nearest"))
        return self.conv_out(F.silu(self.norm_out(h)))


class VAE(nn.Module):
    """Keys as under first_stage_model."""

    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = Encoder(), Decoder()
        self.quant_conv = nn.Conv2d(2 * LATENT, 2 * LATENT, 1)
        self.post_quant_conv = nn.Conv2d(LATENT, LATENT, 1)

    def encode(self, x):
        """Returns mean and logarithm of the variance of pictures in -1..1."""
        return self.quant_conv(self.encoder(x)).chunk(2, dim=1)

    def decode(self, z):
        return self.decoder(self.post_quant_conv(z))
