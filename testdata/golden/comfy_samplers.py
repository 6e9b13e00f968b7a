"""Latents that ComfyUI's KSampler makes with a denoiser of one formula.

    python testdata/golden/comfy_samplers.py COMFYUI
    made: comfy_samplers.safetensors

COMFYUI is a checkout of ComfyUI 0.3.64, which is run as it is, from the noise
to the latents. Later versions differ in three places, and the golden follows
them:

- On a processor the generator of a sampler's steps has the seed + 1.
- sa_solver returns the predicted state when the schedule does not end in 0.
- dpmpp_2s_ancestral_cfg_pp steps with what is denoised without the prompt and
  adds the guidance afterwards.

exp_heun_2_x0 and exp_heun_2_x0_sde are of later versions too. The last two
points and these are written here from their papers.
"""

import math
import os
import sys

here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, sys.argv[1])
sys.argv = sys.argv[:1]
from comfy.cli_args import args

args.cpu = True

import comfy.k_diffusion.sampling as K
import comfy.model_base
import comfy.model_patcher
import comfy.model_sampling
import comfy.sample
import comfy.samplers
import comfy.supported_models_base
import numpy as np
import torch
from safetensors.torch import save_file

SHAPE, SEED = (2, 4, 3, 5), 77
original = K.default_noise_sampler
K.default_noise_sampler = lambda x, seed=None: original(x, seed + 1)


def cfg_pp(model, extra_args):
    """The model, and the unconditional part of its last result."""
    last = {}

    def keep(args):
        last["uncond"] = args["uncond_denoised"]
        return args["denoised"]

    options = extra_args.get("model_options", {}).copy()
    extra_args["model_options"] = comfy.model_patcher.set_model_options_post_cfg_function(options, keep, disable_cfg1_optimization=True)

    def run(x, sigma):
        d = model(x, sigma * x.new_ones([x.shape[0]]), **extra_args)
        return d, last["uncond"]

    return run


def sampling(model):
    """The factor of the picture in a state, and half of the logarithm of its signal-to-noise ratio."""
    ms = model.inner_model.model_patcher.get_model_object("model_sampling")
    alpha = lambda sigma: 1 - sigma if isinstance(ms, comfy.model_sampling.CONST) else torch.ones_like(sigma)
    return ms, alpha, lambda sigma: (alpha(sigma) / sigma).log()


def dpmpp_2s_ancestral_cfg_pp(model, x, sigmas, extra_args=None, callback=None, disable=None):
    """DPM-Solver++(2S) (Lu et al. 2022, algorithm 1 with r = 1/2) of the unconditional denoiser, and the
    guidance added as in CFG++ (Chung et al. 2024)."""
    run, noise = cfg_pp(model, extra_args), K.default_noise_sampler(x, extra_args["seed"])
    ms, alpha, logsnr = sampling(model)
    flow = isinstance(ms, comfy.model_sampling.CONST)
    for i, (a, b) in enumerate(zip(sigmas[:-1], sigmas[1:])):
        d, u = run(x, a)
        callback({"x": x, "i": i, "denoised": d})
        if b == 0:
            x = d
            continue
        if flow:
            down = b**2 / a
            scale = alpha(b) / alpha(down)
            up = (b**2 - (scale * down) ** 2).sqrt()
        else:
            (down, up), scale = K.get_ancestral_step(a, b), 1
        middle = (logsnr(a) + logsnr(down)) / 2
        middle = 0.9999 * a if flow and a == 1 else 1 / (1 + middle.exp()) if flow else (-middle).exp()
        _, u2 = run(middle / a * x + (1 - middle / a) * u, middle)
        x = scale * (down / a * x + (1 - down / a) * u2) + up * noise(a, b) + alpha(b) * (d - u)
    return x


def exp_heun(eta):
    """The exponential integrator of second order whose second evaluation is at the end of the step (Gonzalez
    et al. 2023, SEEDS; Lu et al. 2022): the integral of the line through both denoised states by quadrature."""
    points, weights = np.polynomial.legendre.leggauss(40)

    def run(model, x, sigmas, extra_args=None, callback=None, disable=None):
        noise = K.default_noise_sampler(x, extra_args["seed"])
        ms, alpha, logsnr = sampling(model)
        sigmas = K.offset_first_sigma_for_snr(sigmas, ms)
        ones = x.new_ones([x.shape[0]])
        for i, (a, b) in enumerate(zip(sigmas[:-1], sigmas[1:])):
            d = model(x, a * ones, **extra_args)
            callback({"x": x, "i": i, "denoised": d})
            if b == 0:
                x = d
                continue
            h, k = (logsnr(b) - logsnr(a)).item(), 1 + eta
            fresh = 0
            if eta:
                fresh = b * math.sqrt(-math.expm1(-2 * h)) * noise(a, b)
                noise(b, b)  # of the empty rest of the step
            old, gain = b / a * math.exp(-eta * h), alpha(b)
            d2 = model(old * x - gain * math.expm1(-k * h) * d + fresh, b * ones, **extra_args)
            y = old * x.double()
            for p, w in zip(points, weights):
                t = (p + 1) / 2
                y = y + gain * w / 2 * k * h * math.exp(-k * h * (1 - t)) * ((1 - t) * d + t * d2)
            x = (y + fresh).float()
        return x

    return run


K.sample_dpmpp_2s_ancestral_cfg_pp = dpmpp_2s_ancestral_cfg_pp
K.sample_exp_heun_2_x0 = exp_heun(0)
K.sample_exp_heun_2_x0_sde = exp_heun(1)
for name in ["exp_heun_2_x0", "exp_heun_2_x0_sde"]:
    comfy.samplers.KSampler.SAMPLERS.append(name)


class Net(torch.nn.Module):
    """A network that needs no timestep, so that no level is rounded to one."""

    dtype, calls = torch.float32, 0

    def forward(self, x, t, context=None, **_):
        self.calls += 1
        return torch.tanh(0.8 * x + context.view(-1, 1, 1, 1))


class Config(comfy.supported_models_base.BASE):
    unet_config = {"disable_unet_model_creation": True}


def model(kind, **settings):
    config = Config({"disable_unet_model_creation": True})
    config.sampling_settings = settings
    m = comfy.model_base.BaseModel(config, model_type=kind, device="cpu")
    m.diffusion_model = Net()
    return comfy.model_patcher.ModelPatcher(m, load_device=torch.device("cpu"), offload_device=torch.device("cpu"))


T = comfy.model_base.ModelType
MODELS = {"eps": model(T.EPS), "v": model(T.V_PREDICTION), "zsnr": model(T.V_PREDICTION, zsnr=True), "flow": model(T.FLOW, shift=3.0)}
latents = torch.randn(SHAPE, generator=torch.Generator().manual_seed(5))
mask = (torch.arange(30).reshape(2, 1, 3, 5) % 3 != 0).float()

# Name: model, scheduler, steps, cfg, denoise, first and last step, whether all noise is taken off, latents, mask.
CASES = {
    "eps": ("eps", "normal", 9, 3.5, 1, None, None, False, 0 * latents, None),
    "v": ("v", "karras", 7, 3.5, 1, None, None, False, 0 * latents, None),
    "zsnr": ("zsnr", "sgm_uniform", 6, 3.5, 1, None, None, False, 0 * latents, None),
    "one": ("eps", "karras", 1, 3.5, 1, None, None, False, 0 * latents, None),
    "two": ("eps", "exponential", 2, 3.5, 1, None, None, False, 0 * latents, None),
    "denoise": ("eps", "karras", 6, 3.5, 0.4, None, None, False, latents, None),
    "cfg1": ("eps", "simple", 5, 1, 1, None, None, False, 0 * latents, None),
    "part": ("eps", "karras", 10, 3.5, 1, 2, 8, False, latents, None),
    "end": ("eps", "beta", 9, 3.5, 1, 1, 5, True, latents, None),
    "mask": ("eps", "normal", 6, 3.5, 1, None, None, False, latents, mask),
    "flow": ("flow", "simple", 8, 3.5, 1, None, None, False, 0 * latents, None),
    "flow_part": ("flow", "sgm_uniform", 9, 3.5, 1, 3, 7, False, latents, None),
}



def predicted(run):
    """sa_solver with the predicted state as its result: that is what the denoiser is given in one step more."""

    def sample(model, x, sigmas, callback=None, **kw):
        net = model.inner_model.inner_model.diffusion_model
        before, seen = net.calls, []
        result = run(model, x, sigmas, callback=callback, **kw)
        if sigmas[-1] == 0:
            return result
        calls = net.calls

        def watched(x, sigma, **k):
            seen.append(x)
            return model(x, sigma, **k)

        watched.inner_model = model.inner_model
        run(watched, x, torch.cat([sigmas, sigmas[-1:] * 0.9]), callback=lambda _: None, **kw)
        net.calls = calls
        return seen[calls - before]

    return sample


K.sample_sa_solver = predicted(K.sample_sa_solver)  # sample_sa_solver_pece calls it by this name

out = {"latents": latents, "mask": mask}
for case, (kind, scheduler, steps, cfg, denoise, start, end, full, latent, mask) in CASES.items():
    m = MODELS[kind]
    positive, negative = ([[torch.full((1, 1, 1), v), {}]] for v in (0.4, -0.3))
    for sampler in comfy.samplers.KSampler.SAMPLERS:
        net, steps_seen = m.model.diffusion_model, []
        net.calls = 0
        ks = comfy.samplers.KSampler(m, steps=steps, device=torch.device("cpu"), sampler=sampler, scheduler=scheduler, denoise=denoise)
        sigmas = ks.sigmas.clone()
        noise = comfy.sample.prepare_noise(latent, SEED)
        result = comfy.sample.sample(
            m, noise, steps, cfg, sampler, scheduler, positive, negative, latent.clone(), denoise=denoise, start_step=start, last_step=end,
            force_full_denoise=full, noise_mask=mask, callback=lambda i, *_: steps_seen.append(i), disable_pbar=True, seed=SEED)
        if not torch.isfinite(result).all():
            print(case, sampler, "is not finite")
        out[f"{case}.{sampler}"] = result.contiguous()
        out[f"calls.{case}.{sampler}"] = torch.tensor([net.calls, len(steps_seen)], dtype=torch.int32)
    for discard, sampler in [("", "euler"), ("discard.", "dpm_2")]:
        ks = comfy.samplers.KSampler(m, steps=steps, device=torch.device("cpu"), sampler=sampler, scheduler=scheduler, denoise=denoise)
        s = ks.sigmas
        if end is not None and end < len(s) - 1:
            s = s[: end + 1].clone()
            if full:
                s[-1] = 0
        out[f"sigmas.{discard}{case}"] = s[start or 0 :].contiguous()
# Schedules, of which the last bits matter to paths of noise.
for kind, counts in [("eps", [1, 2, 4, 7, 20, 33, 50, 101]), ("zsnr", [20]), ("flow", [1, 20])]:
    for name in comfy.samplers.SCHEDULER_NAMES:
        for n in counts:
            if (name, n) != ("kl_optimal", 1):  # 0/0
                out[f"schedule.{kind}.{name}.{n}"] = comfy.samplers.calculate_sigmas(MODELS[kind].get_model_object("model_sampling"), name, n).contiguous()
save_file(out, os.path.join(here, "comfy_samplers.safetensors"))
os.chmod(os.path.join(here, "comfy_samplers.safetensors"), 0o644)
