"""What ComfyUI's nodes of custom sampling make with a denoiser of one formula: noise levels, processes, samplers with
options, guiders, and rules that nodes put on a model.

    COMFYUI=/path/to/ComfyUI python testdata/golden/custom_sampling.py
    made: custom_sampling.safetensors custom_sampling.json

The JSON file has the nodes of each case by class and inputs, so that Weir runs the same ones. COMFYUI is a checkout of
ComfyUI 0.33.
"""

import json
import os
import sys
from unittest.mock import MagicMock

import torch
import transformers  # noqa: F401, before the modules that are stood in for
from safetensors.torch import save_file

sys.path.insert(0, os.environ["COMFYUI"])
sys.argv = ["x", "--cpu"]
import comfy.options  # noqa: E402

comfy.options.enable_args_parsing()
for absent in ("torchaudio", "torchaudio.functional", "torchaudio.transforms", "torchvision", "torchvision.ops", "torchvision.transforms", "torchvision.transforms.functional"):  # which nothing here needs
    sys.modules[absent] = MagicMock()
import comfy.model_base  # noqa: E402
import comfy.model_patcher  # noqa: E402
import comfy.sample  # noqa: E402
import comfy.samplers  # noqa: E402
import comfy.supported_models_base  # noqa: E402
import latent_preview  # noqa: E402
from comfy_extras import nodes_advanced_samplers, nodes_align_your_steps, nodes_cfg, nodes_custom_sampler  # noqa: E402
from comfy_extras import nodes_differential_diffusion, nodes_flux, nodes_model_advanced  # noqa: E402

here = os.path.dirname(os.path.abspath(__file__))
MODULES = (nodes_custom_sampler, nodes_model_advanced, nodes_cfg, nodes_differential_diffusion, nodes_flux, nodes_align_your_steps, nodes_advanced_samplers)
SHAPE, SEED = (2, 4, 3, 5), 77


def run(node, **links):
    """Runs a node by class and inputs and returns its outputs."""
    name, inputs = node
    cls = next(getattr(m, name) for m in MODULES if hasattr(m, name))
    if hasattr(cls, "define_schema"):
        given = {i.id: i.default for i in cls.define_schema().inputs if getattr(i, "default", None) is not None}
        result = cls.execute(**given | inputs | links)
        return result.result
    return getattr(cls(), cls.FUNCTION)(**inputs, **links)


class Net(torch.nn.Module):
    """A network that is told the level, as far as its process tells it."""

    dtype, calls = torch.float32, 0

    def forward(self, x, t, context=None, **_):
        self.calls += 1
        ones = [1] * (x.ndim - 1)
        return torch.tanh(0.8 * x + context.view(-1, *ones) + 0.2 * torch.sin(t / 100).view(-1, *ones))


class Config(comfy.supported_models_base.BASE):
    unet_config = {"disable_unet_model_creation": True}


def model(process=None, rule=None):
    config = Config({"disable_unet_model_creation": True})
    config.sampling_settings = {}
    m = comfy.model_base.BaseModel(config, model_type=comfy.model_base.ModelType.EPS, device="cpu")
    m.diffusion_model = Net()
    m = comfy.model_patcher.ModelPatcher(m, load_device=torch.device("cpu"), offload_device=torch.device("cpu"))
    for node in (process, rule):
        if node:
            (m,) = run(node, model=m)
    return m



def prepare_callback(m, steps, x0_output_dict=None):
    def callback(step, x0, x, total):
        x0_output_dict["x0"] = x0

    return callback


latent_preview.prepare_callback = prepare_callback

SD3 = ("ModelSamplingSD3", {"shift": 3.0})
AURA = ("ModelSamplingAuraFlow", {"shift": 1.73})
FLUX = ("ModelSamplingFlux", {"max_shift": 1.15, "base_shift": 0.5, "width": 1024, "height": 768})
PROCESSES = {
    "eps": None,
    "sd3": SD3,
    "aura": AURA,
    "flux": FLUX,
    "one": ("ModelSamplingSD3", {"shift": 1.0}),
    "edm_eps": ("ModelSamplingContinuousEDM", {"sampling": "eps", "sigma_max": 120.0, "sigma_min": 0.002}),
    "edm_v": ("ModelSamplingContinuousEDM", {"sampling": "v_prediction", "sigma_max": 80.0, "sigma_min": 0.01}),
    "edm": ("ModelSamplingContinuousEDM", {"sampling": "edm", "sigma_max": 120.0, "sigma_min": 0.002}),
    "arc": ("ModelSamplingContinuousV", {"sampling": "v_prediction", "sigma_max": 500.0, "sigma_min": 0.03}),
}
g = torch.Generator().manual_seed(5)
latents = torch.randn(SHAPE, generator=g)
x, y = torch.randn(1, 4, 5, 3, generator=g), torch.randn(1, 4, 5, 3, generator=g)
mask = (torch.arange(30).reshape(2, 1, 3, 5) % 4) / 3.0
PARTS = [0.0, 0.1, 0.35, 0.5, 0.999, 1.0]
out = {"latents": latents, "mask": mask, "x": x, "y": y}
cases = {"parts": PARTS, "at": {}, "processes": {}, "sigmas": {}, "sampling": {}}

for name, node in PROCESSES.items():
    if node is None:
        continue
    s = model(node).get_model_object("model_sampling")
    flow = isinstance(s, comfy.model_sampling.CONST)
    levels = torch.tensor([0.98, 0.7, 0.31, 0.05] if flow else [79.0, 11.0, 3.3, 0.4])
    p = name + "."
    out[p + "sigmas"], out[p + "levels"] = s.sigmas.float(), levels
    out[p + "timestep"] = s.timestep(levels).float()
    out[p + "sigma"] = s.sigma(s.timestep(levels).float()).float()
    cases["at"][name] = [float(s.percent_to_sigma(v)) for v in PARTS]
    for i, level in enumerate(levels):
        level = level.reshape(1)
        out[f"{p}input.{i}"] = s.calculate_input(level, x)
        out[f"{p}denoised.{i}"] = s.calculate_denoised(level, y, x)
        out[f"{p}noised.{i}"] = s.noise_scaling(level, y.clone(), x)
        out[f"{p}first.{i}"] = s.noise_scaling(level, y.clone(), x, max_denoise=True)
        out[f"{p}last.{i}"] = s.inverse_noise_scaling(level, x)
    for scheduler in comfy.samplers.SCHEDULER_NAMES:
        for steps in (1, 4, 20):
            if (scheduler, steps) != ("kl_optimal", 1):  # 0/0
                out[f"{p}{scheduler}.{steps}"] = comfy.samplers.calculate_sigmas(s, scheduler, steps).float()
    cases["processes"][name] = node


def sigmas(name, node, process="eps", before=None):
    """A case of noise levels: of a node, with the result of another node before it."""
    cls = next(getattr(m, node[0]) for m in MODULES if hasattr(m, node[0]))
    links = {}
    ids = [i.id for i in cls.define_schema().inputs]
    if "model" in ids:
        links["model"] = model(PROCESSES[process])
    if before:
        links["sigmas"] = run(before)[0].clone()
    number = None
    for i, v in enumerate(run(node, **links)):
        if torch.is_tensor(v):
            out[f"sigmas.{name}.{i}"] = v.float()
        else:
            number = v
    cases["sigmas"][name] = {"node": node, "process": process, "before": before, "number": number}


KARRAS = ("KarrasScheduler", {"steps": 7, "sigma_max": 14.614642, "sigma_min": 0.0291675, "rho": 7.0})
for steps in (1, 2, 9):
    sigmas(f"karras{steps}", ("KarrasScheduler", {"steps": steps, "sigma_max": 20.0, "sigma_min": 0.1, "rho": 5.5}))
    sigmas(f"exponential{steps}", ("ExponentialScheduler", {"steps": steps, "sigma_max": 14.614642, "sigma_min": 0.0291675}))
    sigmas(f"polyexponential{steps}", ("PolyexponentialScheduler", {"steps": steps, "sigma_max": 14.614642, "sigma_min": 0.0291675, "rho": 1.7}))
    sigmas(f"laplace{steps}", ("LaplaceScheduler", {"steps": steps, "sigma_max": 14.614642, "sigma_min": 0.0291675, "mu": 0.3, "beta": 0.6}))
    sigmas(f"vp{steps}", ("VPScheduler", {"steps": steps, "beta_d": 19.9, "beta_min": 0.1, "eps_s": 0.001}))
    sigmas(f"turbo{steps}", ("SDTurboScheduler", {"steps": steps, "denoise": 1.0}))
    for p in ("eps", "sd3", "flux"):
        sigmas(f"beta{steps}.{p}", ("BetaSamplingScheduler", {"steps": steps, "alpha": 0.4, "beta": 0.9}), p)
        sigmas(f"basic{steps}.{p}", ("BasicScheduler", {"scheduler": "normal", "steps": steps, "denoise": 0.55}), p)
    sigmas(f"flux2.{steps}", ("Flux2Scheduler", {"steps": steps, "width": 1024, "height": 768}))
sigmas("turbo.part", ("SDTurboScheduler", {"steps": 3, "denoise": 0.65}))
sigmas("basic.none", ("BasicScheduler", {"scheduler": "simple", "steps": 4, "denoise": 0.0}))
sigmas("flux2.large", ("Flux2Scheduler", {"steps": 4, "width": 2048, "height": 1536}))
sigmas("flux2.odd", ("Flux2Scheduler", {"steps": 50, "width": 1000, "height": 1032}))
for kind in ("SD1", "SDXL", "SVD"):
    for steps, denoise in ((10, 1.0), (10, 0.45), (4, 1.0), (23, 0.7), (5, 0.0)):
        sigmas(f"ays.{kind}.{steps}.{denoise}", ("AlignYourStepsScheduler", {"model_type": kind, "steps": steps, "denoise": denoise}))
for text in ("1, 0.5", "14.6 7;3\n1.5,.25 0", "0.99,0.9e3, 5.", "none"):
    sigmas("manual." + text, ("ManualSigmas", {"sigmas": text}))
for step in (0, 3, 7, 20):
    sigmas(f"split{step}", ("SplitSigmas", {"step": step}), before=KARRAS)
for part in (0.0, 0.3, 0.5, 1.0):
    sigmas(f"split.{part}", ("SplitSigmasDenoise", {"denoise": part}), before=KARRAS)
sigmas("flip", ("FlipSigmas", {}), before=KARRAS)
sigmas("flip.none", ("FlipSigmas", {}), before=("ManualSigmas", {"sigmas": ""}))
sigmas("first", ("SetFirstSigma", {"sigma": 136.0}), before=KARRAS)
for spacing in ("linear", "cosine", "sine"):
    sigmas(f"extend.{spacing}", ("ExtendIntermediateSigmas", {"steps": 3, "start_at_sigma": -1.0, "end_at_sigma": 1.5, "spacing": spacing}), before=KARRAS)
sigmas("extend.part", ("ExtendIntermediateSigmas", {"steps": 2, "start_at_sigma": 9.0, "end_at_sigma": 0.4, "spacing": "linear"}), before=KARRAS)
sigmas("extend.one", ("ExtendIntermediateSigmas", {"steps": 1, "start_at_sigma": -1.0, "end_at_sigma": 0.0, "spacing": "linear"}), before=KARRAS)
for p in ("eps", "sd3", "flux"):
    for part in (0.0, 0.35, 1.0):
        for actual in (False, True):
            sigmas(f"part.{p}.{part}.{actual}", ("SamplingPercentToSigma", {"sampling_percent": part, "return_actual_sigma": actual}), p)


def sample(name, sampler, process="eps", rule=None, guider=("CFGGuider", {"cfg": 3.5}), steps=("BasicScheduler", {"scheduler": "normal", "steps": 7, "denoise": 1.0}),
           split=None, given=False, masked=False, noise=("RandomNoise", {"noise_seed": SEED}), video=False):
    """A case of sampling."""
    m = model(PROCESSES[process], rule)
    links = {"model": m} if "model" in [i.id for i in next(getattr(k, sampler[0]) for k in MODULES if hasattr(k, sampler[0])).define_schema().inputs] else {}
    (chosen,) = run(sampler, **links)
    links = {"model": m} if steps[0] == "BasicScheduler" else {}
    levels = run(steps, **links)[0]
    if split:
        levels = run(("SplitSigmas", {"step": split[0]}), sigmas=levels)[split[1]]
    prompt = {n: [[torch.full((1, 1, 1), v), {}]] for n, v in (("positive", 0.4), ("conditioning", 0.4), ("cond1", 0.4), ("cond2", 0.9), ("negative", -0.3))}
    cls = getattr(nodes_custom_sampler, guider[0])
    (guide,) = run(guider, model=m, **{i.id: prompt[i.id] for i in cls.define_schema().inputs if i.id in prompt})
    image = latents.clone() if given else torch.zeros(SHAPE)
    if video:
        image = image.reshape(1, 2, 4, 3, 5).movedim(1, 1)
    latent = {"samples": image}
    if masked:
        latent["noise_mask"] = mask
    m.model.diffusion_model.calls = 0
    result, denoised = run(("SamplerCustomAdvanced", {}), noise=run(noise)[0], guider=guide, sampler=chosen, sigmas=levels, latent_image=latent)
    if not torch.isfinite(result["samples"]).all():
        print(name, "is not finite")
    p = f"sampling.{name}."
    out[p + "sigmas"] = levels.float()
    out[p + "output"], out[p + "denoised"] = result["samples"], denoised["samples"]
    cases["sampling"][name] = {"sampler": sampler, "process": process, "rule": rule, "guider": guider, "given": given, "masked": masked, "noise": noise,
                               "shape": list(image.shape), "calls": m.model.diffusion_model.calls}


def steps(scheduler, n, denoise=1.0):
    return ("BasicScheduler", {"scheduler": scheduler, "steps": n, "denoise": denoise})


# Every sampler on every flow: all of a schedule, and a part of it from given latents under a mask.
for sampler in comfy.samplers.SAMPLER_NAMES:
    if sampler == "dpmpp_2s_ancestral_cfg_pp":  # here as in comfy_samplers.py
        continue
    select = ("KSamplerSelect", {"sampler_name": sampler})
    for process, scheduler in (("sd3", "simple"), ("aura", "beta"), ("flux", "normal")):
        sample(f"{process}.{sampler}", select, process, steps=steps(scheduler, 6))
    sample(f"flux.part.{sampler}", select, "flux", steps=steps("simple", 8), split=(3, 1), given=True, masked=True)
    sample(f"sd3.high.{sampler}", select, "sd3", steps=steps("normal", 8), split=(5, 0), given=True)
    sample(f"eps.{sampler}", select, "eps", steps=steps("karras", 6))

# Samplers with options.
for process in ("eps", "flux"):
    for i, node in enumerate([
        ("SamplerEulerAncestral", {"eta": 0.4, "s_noise": 1.1}),
        ("SamplerEulerAncestral", {"eta": 0.0, "s_noise": 1.0}),
        ("SamplerEulerAncestralCFGPP", {"eta": 0.4, "s_noise": 1.1}),
        ("SamplerDPMPP_2S_Ancestral", {"eta": 0.4, "s_noise": 1.1}),
        ("SamplerDPMPP_SDE", {"eta": 0.4, "s_noise": 1.1, "r": 0.7, "noise_device": "cpu"}),
        ("SamplerDPMPP_SDE", {"eta": 0.0, "s_noise": 1.0, "r": 0.5, "noise_device": "gpu"}),
        ("SamplerDPMPP_2M_SDE", {"solver_type": "midpoint", "eta": 0.4, "s_noise": 1.1, "noise_device": "cpu"}),
        ("SamplerDPMPP_2M_SDE", {"solver_type": "heun", "eta": 0.4, "s_noise": 1.1, "noise_device": "cpu"}),
        ("SamplerDPMPP_3M_SDE", {"eta": 0.4, "s_noise": 1.1, "noise_device": "cpu"}),
        ("SamplerLMS", {"order": 2}),
        ("SamplerLMS", {"order": 6}),
        ("SamplerDPMAdaptative", {"order": 2, "rtol": 0.03, "atol": 0.01, "h_init": 0.1, "pcoeff": 0.1, "icoeff": 0.8, "dcoeff": 0.05, "accept_safety": 0.7, "eta": 0.0, "s_noise": 1.0}),
        ("SamplerDPMAdaptative", {"order": 3, "rtol": 0.1, "atol": 0.02, "h_init": 0.2, "pcoeff": 0.0, "icoeff": 1.0, "dcoeff": 0.0, "accept_safety": 0.81, "eta": 0.3, "s_noise": 0.9}),
        ("SamplerER_SDE", {"solver_type": "ER-SDE", "max_stage": 2, "eta": 0.6, "s_noise": 1.1}),
        ("SamplerER_SDE", {"solver_type": "Reverse-time SDE", "max_stage": 3, "eta": 0.6, "s_noise": 1.1}),
        ("SamplerER_SDE", {"solver_type": "ODE", "max_stage": 3, "eta": 1.0, "s_noise": 1.0}),
        ("SamplerER_SDE", {"solver_type": "ER-SDE", "max_stage": 1, "eta": 0.0, "s_noise": 1.0}),
        ("SamplerSASolver", {"eta": 0.7, "sde_start_percent": 0.1, "sde_end_percent": 0.6, "s_noise": 1.1, "predictor_order": 2, "corrector_order": 2, "use_pece": False, "simple_order_2": True}),
        ("SamplerSASolver", {"eta": 0.7, "sde_start_percent": 0.2, "sde_end_percent": 0.8, "s_noise": 1.0, "predictor_order": 2, "corrector_order": 0, "use_pece": True, "simple_order_2": False}),
        ("SamplerSASolver", {"eta": 1.0, "sde_start_percent": 0.2, "sde_end_percent": 0.8, "s_noise": 1.0, "predictor_order": 4, "corrector_order": 3, "use_pece": True, "simple_order_2": False}),
        ("SamplerSEEDS2", {"solver_type": "phi_1", "eta": 0.4, "s_noise": 1.1, "r": 0.7}),
        ("SamplerSEEDS2", {"solver_type": "phi_2", "eta": 0.0, "s_noise": 1.0, "r": 1.0}),
        ("SamplerSEEDS2", {"solver_type": "phi_2", "eta": 1.2, "s_noise": 0.8, "r": 0.6}),
        ("SamplerLCM", {"s_noise": 1.1, "s_noise_end": 0.6, "noise_clip_std": 1.5}),
        ("SamplerLCM", {"s_noise": 1.0, "s_noise_end": 1.0, "noise_clip_std": 0.0}),
    ]):
        sample(f"{process}.option{i}", node, process)

# Guiders and rules.
euler = ("KSamplerSelect", {"sampler_name": "euler"})
for process in ("eps", "sd3"):
    for i, node in enumerate([
        ("BasicGuider", {}),
        ("CFGGuider", {"cfg": 1.0}),
        ("DualCFGGuider", {"cfg_conds": 4.0, "cfg_cond2_negative": 2.0, "style": "regular"}),
        ("DualCFGGuider", {"cfg_conds": 4.0, "cfg_cond2_negative": 2.0, "style": "nested"}),
        ("DualCFGGuider", {"cfg_conds": 4.0, "cfg_cond2_negative": 1.0, "style": "regular"}),
        ("DualCFGGuider", {"cfg_conds": 1.0, "cfg_cond2_negative": 1.0, "style": "regular"}),
    ]):
        sample(f"{process}.guider{i}", euler, process, guider=node)
        if i in (0, 2, 3):
            sample(f"{process}.guider{i}.rule", euler, process, guider=node, rule=("CFGNorm", {"strength": 0.9, "pre_cfg": False}))
            sample(f"{process}.guider{i}.pp", ("KSamplerSelect", {"sampler_name": "euler_cfg_pp"}), process, guider=node)
    for i, node in enumerate([
        ("RescaleCFG", {"multiplier": 0.7}),
        ("CFGNorm", {"strength": 1.0, "pre_cfg": False}),
        ("CFGNorm", {"strength": 0.8, "pre_cfg": True}),
        ("CFGZeroStar", {}),
    ]):
        sample(f"{process}.rule{i}", euler, process, rule=node)
        sample(f"{process}.rule{i}.cfg1", euler, process, rule=node, guider=("CFGGuider", {"cfg": 1.0}))
    for strength in (1.0, 0.6):
        sample(f"{process}.gradual{strength}", euler, process, rule=("DifferentialDiffusion", {"strength": strength}), given=True, masked=True)
    sample(f"{process}.still", euler, process, noise=("DisableNoise", {}), given=True, split=(3, 1))
    sample(f"{process}.one", euler, process, steps=("ManualSigmas", {"sigmas": "0.5"}), given=True)
    sample(f"{process}.none", euler, process, steps=("ManualSigmas", {"sigmas": ""}), given=True)
    sample(f"{process}.back", euler, process, steps=("ManualSigmas", {"sigmas": "0.0001 0.2 0.5 0.9"}), noise=("DisableNoise", {}), given=True)
sample("sd3.video", ("KSamplerSelect", {"sampler_name": "euler_ancestral"}), "sd3", given=True, video=True)
for process in ("arc", "edm", "edm_eps", "edm_v"):
    for sampler in ("euler", "dpmpp_2m_sde", "lcm"):
        sample(f"{process}.{sampler}", ("KSamplerSelect", {"sampler_name": sampler}), process, given=True)

# Noise that is added by hand.
cases["noise"] = {}
for process in ("eps", "flux"):
    for text in ("5 2 0.5", "0.7", ""):
        levels = run(("ManualSigmas", {"sigmas": text}))[0]
        if process == "flux":
            levels = levels / 10
        name = f"{process}.{text}"
        (result,) = run(("AddNoise", {}), model=model(PROCESSES[process]), noise=run(("RandomNoise", {"noise_seed": SEED}))[0], sigmas=levels, latent_image={"samples": latents})
        out[f"noise.{name}.sigmas"], out[f"noise.{name}.output"] = levels, result["samples"]
        cases["noise"][name] = process

path = os.path.join(here, "custom_sampling.safetensors")
save_file({k: v.clone().contiguous() for k, v in out.items() if v.numel()}, path)
os.chmod(path, 0o644)
with open(os.path.join(here, "custom_sampling.json"), "w", encoding="utf-8") as f:
    json.dump(cases, f, indent=0)
    f.write("\n")
