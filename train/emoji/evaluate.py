"""Measures the emoji model: for 100 prompts spread over the training set, is
the picture that 20 steps give nearer to its own emoji than to 95 % of all
others? Distances are mean squared errors of 16×16 thumbnails.

    python evaluate.py --checkpoint emoji.safetensors --sheet sheet.png

The bar is 80 of 100. The sheet shows 64 of the pictures.
"""

import argparse

import torch
from PIL import Image
from safetensors import safe_open
from torch.nn import functional as F

import data
import model

STEPS, CFG, SEED = 20, 2.5, 42


def load(path):
    nets = {"model.diffusion_model.": model.UNet(), "cond_stage_model.transformer.text_model.": model.TextModel(), "first_stage_model.": model.VAE()}
    with safe_open(path, "pt") as f:
        scale = float(f.metadata()["weir.latent.scale_factor"])
        for prefix, net in nets.items():
            net.load_state_dict({k[len(prefix):]: f.get_tensor(k).float() for k in f.keys() if k.startswith(prefix)})
            net.eval()
    return *nets.values(), scale


@torch.no_grad()
def generate(path, prompts):
    """Euler's method over equally spaced timesteps, as KSampler with the
    sampler euler and the scheduler normal."""
    unet, text, vae, scale = load(path)
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    bars = (1 - betas).cumprod(0)
    logs = (((1 - bars) / bars).sqrt()).log()
    times = torch.linspace(999, 0, STEPS, dtype=torch.float64)
    low = times.floor().long()
    high = (low + 1).clamp(max=999)
    sigmas = torch.cat([(logs[low] + (logs[high] - logs[low]) * (times - low)).exp(), torch.zeros(1, dtype=torch.float64)]).float()
    tokenize = data.Tokenizer()
    empty = text(tokenize("")[None])
    pictures = []
    for i in range(0, len(prompts), 20):
        context = text(torch.stack([tokenize(p) for p in prompts[i : i + 20]]))
        n = len(context)
        noise = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(SEED))
        x = noise.repeat(n, 1, 1, 1) * (1 + sigmas[0] ** 2).sqrt()
        for s, next in zip(sigmas[:-1], sigmas[1:]):
            t = (logs - s.log()).abs().argmin().repeat(2 * n)
            scaled = (x / (s**2 + 1).sqrt()).repeat(2, 1, 1, 1)
            v = unet(scaled, t, torch.cat([context, empty.repeat(n, 1, 1)]))
            denoised = x.repeat(2, 1, 1, 1) / (s**2 + 1) - v * s / (s**2 + 1).sqrt()
            yes, no = denoised.chunk(2)
            d = no + CFG * (yes - no)
            x = x + (x - d) / s * (next - s)
        pictures.append(vae.decode(x / scale))
    return ((torch.cat(pictures) + 1) / 2).clamp(0, 1)


def thumbnails(pictures):
    return F.avg_pool2d(pictures, 4).flatten(1)


def score(pictures, emoji, chosen):
    """How many of the pictures are nearer to their own emoji than to 95 % of the others."""
    all = thumbnails(torch.stack([(e.pixels + 1) / 2 for e in emoji]))
    distance = (thumbnails(pictures)[:, None] - all[None]).square().mean(2)
    own = distance[torch.arange(len(chosen)), chosen]
    nearer = (distance < own[:, None]).float().sum(1) / (len(emoji) - 1)
    return int((nearer <= 0.05).sum()), int((nearer == 0).sum())


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--checkpoint", default="emoji.safetensors")
    p.add_argument("--modules", default="node_modules")
    p.add_argument("--sheet", help="where to save 64 of the pictures")
    p.add_argument("--threads", type=int, default=2)
    args = p.parse_args()
    torch.set_num_threads(args.threads)
    emoji = data.load(args.modules)
    chosen = torch.linspace(0, len(emoji) - 1, 100).round().long()
    pictures = generate(args.checkpoint, [emoji[i].name for i in chosen])
    good, first = score(pictures, emoji, chosen)
    print(f"{good} of 100 are nearer to their own emoji than to 95 % of all others, {first} than to any other")
    if args.sheet:
        tiles = pictures[torch.linspace(0, 99, 64).round().long()].reshape(8, 8, 3, 64, 64)
        sheet = tiles.permute(0, 3, 1, 4, 2).reshape(512, 512, 3)
        Image.fromarray((sheet * 255).round().to(torch.uint8).numpy()).save(args.sheet)


if __name__ == "__main__":
    main()
