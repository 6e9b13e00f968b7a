"""Trains the emoji model: first the autoencoder; then the text encoder alone,
to know from a name what the latents look like on the whole; then both UNet and
text encoder on the latents; and exports them as one checkpoint.

    python train.py vae    --minutes 20
    python train.py text   --minutes 4
    python train.py unet   --minutes 90
    python train.py export --out emoji.safetensors

Every stage resumes where it stopped; --minutes is its whole budget, which the
learning rate follows.
"""

import argparse
import math
import os
import random
import time

import torch
from safetensors.torch import save_file
from torch.nn import functional as F

import data
import model

CFG_DROPOUT = 0.1
LEARNING_RATE = {"vae": 2e-3, "text": 2e-3, "unet": 1e-3}


def save(path, state):
    torch.save(state, path + ".tmp")
    os.replace(path + ".tmp", path)


class EMA:
    """A moving average of weights (Polyak), whose decay grows with the steps."""

    def __init__(self, net):
        self.shadow = {k: v.detach().clone() for k, v in net.state_dict().items()}

    @torch.no_grad()
    def update(self, net, step):
        decay = min(0.998, (1 + step) / (10 + step))
        for k, v in net.state_dict().items():
            self.shadow[k].lerp_(v, 1 - decay)


class Run:
    """A resumable stage: networks, optimizer, averages and the time spent."""

    def __init__(self, name, net, args):
        self.name, self.net, self.args = name, net, args
        self.path = os.path.join(args.work, name + ".pt")
        self.ema, self.step, self.spent = EMA(net), 0, 0.0
        # The table of tokens gets gradients in few rows; decay would shrink the others.
        decay = [p for n, p in net.named_parameters() if p.dim() > 1 and "embedding" not in n]
        rest = [p for n, p in net.named_parameters() if not (p.dim() > 1 and "embedding" not in n)]
        groups = [{"params": decay, "weight_decay": 1e-3}, {"params": rest, "weight_decay": 0.0}]
        self.optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.98), fused=True)
        if os.path.exists(self.path):
            s = torch.load(self.path)
            net.load_state_dict(s["net"])
            self.optimizer.load_state_dict(s["optimizer"])
            self.ema.shadow, self.step, self.spent = s["ema"], s["step"], s["spent"]

    def checkpoint(self):
        save(self.path, {"net": self.net.state_dict(), "optimizer": self.optimizer.state_dict(),
                         "ema": self.ema.shadow, "step": self.step, "spent": self.spent})

    def train(self, loss_of):
        """Minimizes until the budget is spent. The rate warms up for 100
        steps and falls to a hundredth as a cosine of the time spent."""
        budget, last, saved, total = 60 * self.args.minutes, time.time(), time.time(), 0.0
        if self.spent < budget:
            self.net.train()
        while self.spent < budget:
            rate = LEARNING_RATE[self.name] * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * self.spent / budget)))
            for g in self.optimizer.param_groups:
                g["lr"] = rate * min(1, (self.step + 1) / 100)
            loss = loss_of()
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
            self.optimizer.step()
            self.ema.update(self.net, self.step)
            self.step += 1
            total += loss.item()
            now = time.time()
            self.spent, last = self.spent + now - last, now
            if self.step % 100 == 0:
                print(f"{self.name} step {self.step} {self.spent / 60:.1f} min loss {total / 100:.5f}", flush=True)
                total = 0.0
            if now - saved > 120:
                self.checkpoint()
                saved = now
        self.checkpoint()


def train_vae(args, emoji):
    vae = model.VAE().to(memory_format=torch.channels_last)
    pixels = torch.stack([e.pixels for e in emoji]).contiguous(memory_format=torch.channels_last)
    run = Run("vae", vae, args)

    def loss_of():
        x = pixels[torch.randint(len(pixels), (args.batch or 8,))]
        if random.random() < 0.5:
            x = x.flip(3)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=args.bf16):
            mean, logvar = vae.encode(x)
            mean, logvar = mean.float(), logvar.float().clamp(-30, 20)
            y = vae.decode(mean + torch.randn_like(mean) * (0.5 * logvar).exp()).float()
        kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
        # Edges count as much as areas: they are what emoji are drawn with.
        edges = F.l1_loss(y.diff(dim=2), x.diff(dim=2)) + F.l1_loss(y.diff(dim=3), x.diff(dim=3))
        return F.l1_loss(y, x) + F.mse_loss(y, x) + 0.5 * edges + 1e-4 * kl

    run.train(loss_of)
    vae.load_state_dict(run.ema.shadow)
    vae.eval()
    with torch.no_grad():
        z = torch.cat([vae.encode(p)[0] for p in pixels.split(16)])
        y = torch.cat([vae.decode(p) for p in z.split(16)]).clamp(-1, 1)
    error = ((y - pixels) / 2).square().mean().item()
    print(f"autoencoder: {-10 * math.log10(error):.2f} dB, latents' deviation {z.std():.4f}, mean {z.mean():.4f}")
    save(os.path.join(args.work, "latents.pt"), {"z": z.contiguous(), "scale": 1 / z.std().item()})


class Denoiser(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.text, self.unet = model.TextModel(), model.UNet()


def alphas_cumprod():
    """The noise schedule of Stable Diffusion: betas linear in their roots."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    return (1 - betas).cumprod(0).float()


class Captions:
    """Names and more words of emoji as tokens."""

    def __init__(self, emoji):
        self.emoji, self.tokenize = emoji, data.Tokenizer()

    def text(self, e, dropout):
        r = random.random()
        if r < dropout:
            return ""
        if r < 0.8:
            return e.name
        return ", ".join([e.name] + random.sample(e.words, min(len(e.words), random.randint(1, 3))))

    def tokens(self, index, dropout=CFG_DROPOUT):
        return torch.stack([self.tokenize(self.text(self.emoji[i], dropout)) for i in index])


class Guess(torch.nn.Module):
    """Guesses latents from the states at all tokens but the first, which are
    what a UNet attends to."""

    def __init__(self, shape):
        super().__init__()
        self.text, self.shape = model.TextModel(), shape
        n = math.prod(shape)
        self.head = torch.nn.Sequential(torch.nn.Linear(model.WIDTH, 512), torch.nn.SiLU(), torch.nn.Linear(512, n))

    def forward(self, tokens):
        states = self.text(tokens)[:, 1:].mean(1)
        return self.head(states).unflatten(1, self.shape)


def load_latents(args):
    saved = torch.load(os.path.join(args.work, "latents.pt"))
    return saved["z"] * saved["scale"]


def train_text(args, emoji):
    z = load_latents(args)
    net = Guess(z.shape[1:])
    captions = Captions(emoji)

    def loss_of():
        index = torch.randint(len(emoji), (args.batch or 64,))
        return F.mse_loss(net(captions.tokens(index, 0)), z[index])

    Run("text", net, args).train(loss_of)


def train_unet(args, emoji):
    net = Denoiser()
    guess = os.path.join(args.work, "text.pt")
    if os.path.exists(guess):
        states = torch.load(guess)["ema"]
        net.text.load_state_dict({k[len("text."):]: v for k, v in states.items() if k.startswith("text.")})
    net.unet.to(memory_format=torch.channels_last)
    z = load_latents(args).contiguous(memory_format=torch.channels_last)
    captions = Captions(emoji)
    alphas = alphas_cumprod()
    run = Run("unet", net, args)

    def loss_of():
        n = args.batch or 16
        index = torch.randint(len(emoji), (n,))
        tokens = captions.tokens(index)
        # Stratified times make the gradient steadier. Most are of high noise,
        # where the text decides what comes.
        u = (torch.arange(n) + torch.rand(n)) / n
        t = ((1 - u**1.5) * 1000).long().clamp(0, 999)
        x, noise = z[index], torch.randn(n, *z.shape[1:]).contiguous(memory_format=torch.channels_last)
        a, s = alphas[t].sqrt()[:, None, None, None], (1 - alphas[t]).sqrt()[:, None, None, None]
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=args.bf16):
            v = net.unet(a * x + s * noise, t, net.text(tokens))
        # The velocity of Salimans and Ho 2022.
        return F.mse_loss(v.float(), a * noise - s * x)

    run.train(loss_of)


def export(args):
    latents = torch.load(os.path.join(args.work, "latents.pt"))
    parts = {
        "model.diffusion_model.": ("unet", "unet."),
        "cond_stage_model.transformer.text_model.": ("unet", "text."),
        "first_stage_model.": ("vae", ""),
    }
    tensors = {}
    for prefix, (file, part) in parts.items():
        for k, v in torch.load(os.path.join(args.work, file + ".pt"))["ema"].items():
            if k.startswith(part):
                tensors[prefix + k[len(part):]] = v.half().contiguous()
    metadata = {
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": "stable-diffusion-v1",
        "modelspec.title": "Weir emoji",
        "modelspec.description": "Noto emoji of animals, nature, food and drink from their names, 64 pixels",
        "modelspec.license": "Apache-2.0",
        "modelspec.resolution": "64x64",
        "modelspec.prediction_type": "v",
        "weir.prediction": "v",
        "weir.unet.num_heads": str(model.UNET_HEADS),
        "weir.clip.num_heads": str(model.TEXT_HEADS),
        "weir.latent.scale_factor": repr(round(latents["scale"], 6)),
    }
    save_file(tensors, args.out + ".tmp", metadata)
    os.replace(args.out + ".tmp", args.out)
    print(f"{args.out}: {len(tensors)} tensors, {os.path.getsize(args.out)} bytes")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("stage", choices=["vae", "text", "unet", "export"])
    p.add_argument("--modules", default="node_modules", help="node_modules with emoji-datasource-google and emojilib")
    p.add_argument("--work", default="work", help="folder for resumable state")
    p.add_argument("--minutes", type=float, default=60)
    p.add_argument("--batch", type=int, default=0)
    p.add_argument("--bf16", action="store_true", help="matrix work in bfloat16")
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--out", default="emoji.safetensors")
    args = p.parse_args()
    os.makedirs(args.work, exist_ok=True)
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed + int(time.time()))
    if args.stage == "export":
        return export(args)
    {"vae": train_vae, "text": train_text, "unet": train_unet}[args.stage](args, data.load(args.modules))


if __name__ == "__main__":
    main()
