"""What ComfyUI's node ModelSamplingDiscrete makes of a model of Stable Diffusion: noise levels, timesteps, schedules, and
what a network's output is taken for.

    COMFYUI=/path/to/ComfyUI python testdata/golden/model_sampling.py
    made: model_sampling.safetensors
"""

import os
import sys

import torch
from safetensors.torch import save_file

sys.path.insert(0, os.environ["COMFYUI"])
sys.argv = sys.argv[:1]
from comfy.cli_args import args  # noqa: E402

args.cpu = True
import comfy.model_sampling  # noqa: E402
import comfy.samplers  # noqa: E402
import comfy.supported_models  # noqa: E402
from comfy_extras.nodes_model_advanced import ModelSamplingDiscrete  # noqa: E402

here = os.path.dirname(os.path.abspath(__file__))


class Patcher:
    """As much of a model as the node touches."""

    class model:
        model_config = comfy.supported_models.SD15({})

    def clone(self):
        return self

    def add_object_patch(self, name, sampling):
        self.sampling = sampling


g = torch.Generator().manual_seed(5)
x, y = torch.randn(1, 4, 5, 3, generator=g), torch.randn(1, 4, 5, 3, generator=g)
levels = torch.tensor([14.6, 11.0, 3.3, 1.0, 0.4, 0.05])
out = {"x": x, "y": y, "levels": levels, "timesteps": torch.tensor([0.0, 1.5, 19.0, 500.25, 998.0, 999.0]), "parts": torch.tensor([0.1, 0.35, 0.5, 0.999])}
for kind in ("eps", "v_prediction", "lcm", "x0"):
    for zsnr in (False, True):
        patcher = Patcher()
        ModelSamplingDiscrete().patch(patcher, kind, zsnr)
        s = patcher.sampling
        name = f"{kind}.{'zsnr' if zsnr else 'plain'}."
        out[name + "sigmas"] = s.sigmas.float()
        out[name + "timestep"] = s.timestep(levels).float()
        out[name + "sigma"] = s.sigma(out["timesteps"]).float()
        out[name + "part"] = torch.tensor([float(s.percent_to_sigma(p)) for p in out["parts"].tolist()])
        for level in levels[2:5]:
            out[f"{name}denoised.{level:.2f}"] = s.calculate_denoised(level.reshape(1), y, x)
        for scheduler in ("normal", "karras", "simple", "sgm_uniform", "ddim_uniform", "beta", "exponential"):
            out[f"{name}{scheduler}"] = comfy.samplers.calculate_sigmas(s, scheduler, 6).float()
save_file({k: v.clone().contiguous() for k, v in out.items()}, os.path.join(here, "model_sampling.safetensors"))
