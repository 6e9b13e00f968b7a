"""Schedules, and trajectories of every sampler on a denoiser that is known
exactly: the posterior mean of pictures whose values are +a or -a with a
deviation of s.

    python testdata/golden/samplers.py
    made: samplers.safetensors

Samplers of k-diffusion are run as they are; uni_pc is diffusers' scheduler;
the others are written from their papers, in a form of their own.
"""

import math
import os

import k_diffusion.sampling as K
import numpy as np
import scipy.stats
import torch
from diffusers import UniPCMultistepScheduler
from safetensors.torch import save_file

here = os.path.dirname(os.path.abspath(__file__))
A, S, SEED, STEPS, SHAPE = 0.8, 0.3, 77, 9, (2, 4, 6, 5)
out = {}

# The noise levels of Stable Diffusion.
betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
bars = (1 - betas).cumprod(0)
table = ((1 - bars) / bars).sqrt().float()
logs = table.double().log()
lo, hi = table[0].item(), table[-1].item()


def level(t):
    """sigma at a fractional timestep."""
    return np.exp(np.interp(t, np.arange(1000), logs.numpy()))


def schedule(name, n):
    if name == "karras":
        return K.get_sigmas_karras(n, lo, hi)
    if name == "exponential":
        return K.get_sigmas_exponential(n, lo, hi)
    if name == "normal":
        s = level(np.linspace(999, 0, n))
    if name == "sgm_uniform":
        s = level(np.linspace(999, 0, n + 1)[:-1])
    if name == "simple":
        s = [table[-(1 + int(i * 1000 / n))].item() for i in range(n)]
    if name == "ddim_uniform":
        s = [table[i].item() for i in range(1, 1000, 1000 // n)][::-1]
    if name == "beta":
        t = np.rint(scipy.stats.beta.ppf(1 - np.arange(n) / n, 0.6, 0.6) * 999).astype(int)
        s = [table[i].item() for k, i in enumerate(t) if k == 0 or i != t[k - 1]]
    if name == "linear_quadratic":
        # Movie Gen: the first half of the steps is linear up to the threshold, and a parabola with
        # the same slope there leads to 1.
        if n == 1:
            s = [hi]
        else:
            m, threshold = n // 2, 0.025
            slope = threshold / m
            c = (1 - threshold - slope * (n - m)) / (n - m) ** 2
            done = [slope * i if i < m else threshold + slope * (i - m) + c * (i - m) ** 2 for i in range(n)]
            s = [(1 - d) * hi for d in done]
    if name == "kl_optimal":
        f = np.arange(n) / (n - 1) if n > 1 else np.zeros(1)
        s = np.tan(f * math.atan(lo) + (1 - f) * math.atan(hi))
    return torch.tensor([*s, 0.0], dtype=torch.float32)


for name in ["simple", "sgm_uniform", "karras", "exponential", "ddim_uniform", "beta", "normal", "linear_quadratic", "kl_optimal"]:
    for n in [1, 2, 4, 7, 20, 33]:
        out[f"schedule.{name}.{n}"] = schedule(name, n)
out["table"] = table


def denoise(x, sigma, **_):
    v = S**2 + sigma.view(-1, *[1] * (x.ndim - 1)) ** 2
    s2 = v - S**2
    return (S**2 * x + s2 * A * torch.tanh(A * x / v)) / v


def noises(seed):
    g = torch.Generator().manual_seed(seed)
    return lambda *_: torch.randn(SHAPE, generator=g)


def evaluate(x, sigma):
    return denoise(x, torch.full((x.shape[0],), float(sigma)))


def ddim(x, sigmas):
    """Song et al. 2021, equation 12 with eta 0."""
    for a, b in zip(sigmas[:-1].double(), sigmas[1:].double()):
        bar, next = 1 / (a**2 + 1), 1 / (b**2 + 1)
        x0 = evaluate(x, a)
        z = bar.sqrt() * x
        eps = (z - bar.sqrt() * x0) / (1 - bar).sqrt()
        x = ((next.sqrt() * x0 + (1 - next).sqrt() * eps) / next.sqrt()).float()
    return x


def ddpm(x, sigmas):
    """Ho et al. 2020, algorithm 2 for any two levels: the mean from the noise."""
    noise = noises(SEED + 1)
    for a, b in zip(sigmas[:-1].double(), sigmas[1:].double()):
        bar, next = 1 / (a**2 + 1), 1 / (b**2 + 1)
        alpha = bar / next
        eps = (x - evaluate(x, a)) / a
        z = (bar.sqrt() * x - (1 - alpha) / (1 - bar).sqrt() * eps) / alpha.sqrt()
        if b > 0:
            z = z + ((1 - alpha) * (1 - next) / (1 - bar)).sqrt() * noise()
        x = (z / next.sqrt()).float()
    return x


def lcm(x, sigmas):
    """Luo et al. 2023, algorithm 3 with a network that is consistent at once."""
    noise = noises(SEED + 1)
    for a, b in zip(sigmas[:-1], sigmas[1:]):
        x = evaluate(x, a)
        if b > 0:
            x = x + b * noise()
    return x


def res(x, sigmas):
    """Zhang et al. 2023: the integral of exp(t)·denoised over the step, with
    denoised as the line through its last two values, by quadrature."""
    points, weights = np.polynomial.legendre.leggauss(40)
    old = None
    for i, (a, b) in enumerate(zip(sigmas[:-1].double(), sigmas[1:].double())):
        d = evaluate(x, a).double()
        if old is None or b == 0:
            x = x + (b - a) * (x - d) / a
        else:
            h = (a / b).log().item()
            slope = (d - old) / (sigmas[i - 1].double() / a).log()
            y = math.exp(-h) * x.double()
            for p, w in zip(points, weights):
                t = (p + 1) / 2 * h
                y = y + w * h / 2 * math.exp(t - h) * (d + t * slope)
            x = y
        x, old = x.float(), d
    return x


def er_sde(x, sigmas):
    """Cui et al. 2023, VE ER-SDE-Solver-3 (algorithm 3 in the appendix), with the noise scale of its code."""
    noise = noises(SEED + 1)
    fn = lambda v: v * (torch.exp(v**0.3) + 10)
    history, slopes = [], []
    for i, (s, t) in enumerate(zip(sigmas[:-1].double(), sigmas[1:].double())):
        d = evaluate(x, s).double()
        if t == 0:
            x = d
        else:
            r = fn(t) / fn(s)
            y = r * x + (1 - r) * d
            grid = torch.linspace(t.item(), s.item(), 201, dtype=torch.float64)[:-1]
            w = (s - t) / 200
            if history:
                slope = (d - history[-1]) / (s - sigmas[i - 1])
                y = y + (t - s + fn(t) * (w / fn(grid)).sum()) * slope
                if slopes:
                    second = (slope - slopes[-1]) / ((s - sigmas[i - 2]) / 2)
                    y = y + ((t - s) ** 2 / 2 + fn(t) * (w * (grid - s) / fn(grid)).sum()) * second
                slopes.append(slope)
            x = y + (t**2 - s**2 * r**2).clamp(min=0).sqrt() * noise()
        x = x.float()
        history.append(d)
    return x


def uni_pc(kind):
    def run(x, sigmas):
        levels = sigmas.clone()
        if levels[-1] == 0:
            levels[-1] = 0.001
        n = len(levels) - 1
        scheduler = UniPCMultistepScheduler(solver_order=min(3, n - 1), solver_type=kind, predict_x0=True, lower_order_final=True, prediction_type="epsilon")
        scheduler.set_timesteps(n)
        scheduler.sigmas = levels
        scheduler.timesteps = torch.arange(n, 0, -1)
        z = x / (1 + levels[0] ** 2).sqrt()
        for i, t in enumerate(scheduler.timesteps):
            full = z * (1 + levels[i] ** 2).sqrt()
            z = scheduler.step((full - evaluate(full, levels[i])) / levels[i], t, z).prev_sample
        return z * (1 + levels[-1] ** 2).sqrt()

    return run


def kdiff(f, seeded=False, brownian=False):
    def run(x, sigmas):
        args = {}
        if seeded:
            args["noise_sampler"] = noises(SEED + 1)
        if brownian:
            positive = sigmas[sigmas > 0]
            args["noise_sampler"] = K.BrownianTreeNoiseSampler(x, positive.min(), sigmas.max(), seed=SEED)
        return f(denoise, x, sigmas, disable=True, **args)

    return run


samplers = {
    "euler": kdiff(K.sample_euler),
    "euler_ancestral": kdiff(K.sample_euler_ancestral, seeded=True),
    "heun": kdiff(K.sample_heun),
    "dpm_2": kdiff(K.sample_dpm_2),
    "dpm_2_ancestral": kdiff(K.sample_dpm_2_ancestral, seeded=True),
    "dpmpp_2s_ancestral": kdiff(K.sample_dpmpp_2s_ancestral, seeded=True),
    "dpmpp_sde": kdiff(K.sample_dpmpp_sde, brownian=True),
    "dpmpp_2m": kdiff(K.sample_dpmpp_2m),
    "dpmpp_2m_sde": kdiff(K.sample_dpmpp_2m_sde, brownian=True),
    "dpmpp_3m_sde": kdiff(K.sample_dpmpp_3m_sde, brownian=True),
    "ddim": ddim, "ddpm": ddpm, "lcm": lcm, "res_multistep": res, "er_sde": er_sde,
    "uni_pc": uni_pc("bh1"), "uni_pc_bh2": uni_pc("bh2"),
}
DISCARD = {"dpm_2", "dpm_2_ancestral", "uni_pc", "uni_pc_bh2"}

for name, run in samplers.items():
    for s in ["normal", "karras"]:
        sigmas = schedule(s, STEPS + (name in DISCARD))
        if name in DISCARD:
            sigmas = torch.cat([sigmas[:-2], sigmas[-1:]])
        x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(SEED)) * (1 + sigmas[0] ** 2).sqrt()
        with torch.no_grad():
            out[f"sampler.{name}.{s}"] = run(x, sigmas).contiguous()
        out[f"sigmas.{name}.{s}"] = sigmas

# One path of Brownian motion, asked in an unusual order.
tree = K.BrownianTreeNoiseSampler(torch.zeros(1, 4, 5), 0.03, 14.6, seed=2**40 + 5)
for i, (a, b) in enumerate([(14.6, 7.0), (3.0, 0.5), (0.5, 3.0), (0.04, 0.03), (14.6, 0.03), (7.0, 6.999)]):
    out[f"brownian.{a}.{b}"] = tree(a, b).contiguous()

save_file(out, os.path.join(here, "samplers.safetensors"))
