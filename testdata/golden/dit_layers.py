"""The names that ComfyUI knows the layers of diffusion transformers by in LoRA files: of each its weight, and the rows of it.

    COMFYUI=/path/to/ComfyUI python testdata/golden/dit_layers.py
    made: dit_layers.json
"""

import json
import os

import comfyui  # noqa: F401
import ldm
from comfy.utils import flux_to_diffusers, mmdit_to_diffusers, z_image_to_diffusers


def main():
    maps = {
        "z-image": z_image_to_diffusers({"n_layers": 2, "dim": 3840}),
        "flux1-dev": flux_to_diffusers({"depth": 2, "depth_single_blocks": 2, "hidden_size": 3072}),
        "flux2-dev": flux_to_diffusers({"depth": 2, "depth_single_blocks": 2, "hidden_size": 6144}),
        "sd3.5-medium": mmdit_to_diffusers({"depth": 24, "num_blocks": 2}),
    }
    out = {}
    for family, names in maps.items():
        out[family] = layers = {}
        for name, to in names.items():
            if not name.endswith(".weight"):
                continue
            if isinstance(to, str):
                to = (to, (0, 0, 0))
            name = name.removesuffix(".weight")
            layers[name] = [to[0], *(to[1] or [0, 0, 0])[1:]]
            # What has a function too has its rows in another order. The rows of proj_mlp are those of FLUX.1.
            if len(to) == 3 or family == "flux2-dev" and name.endswith("proj_mlp"):
                layers[name] = None
    path = os.path.join(ldm.here, "dit_layers.json")
    with open(path, "w") as f:
        json.dump(out, f, indent=0, sort_keys=True)
        f.write("\n")


main()
