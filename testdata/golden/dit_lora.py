"""The names that ComfyUI knows the layers of published diffusion transformers by in LoRA files, with the weights and rows that they stand for.

Of the blocks the first two are listed. A name with null has its rows in another order.

    COMFYUI=/path/to/ComfyUI python testdata/golden/dit_lora.py
    made: dit_lora.json
"""

import importlib.machinery
import json
import os
import re
import sys
import types
from unittest import mock

import comfyui  # noqa: F401

for name in ["torchvision", "torchvision.ops", "torchvision.transforms", "torchaudio"]:  # imported and not used
    sys.modules[name] = mock.MagicMock(__spec__=importlib.machinery.ModuleSpec(name, None), __version__="0")
import comfy.lora
import comfy.model_base
import ldm


def model(kind, names, config):
    """What ComfyUI asks a model of a kind for to know its layers."""
    net = kind.__new__(kind)
    net.__dict__.update(model_config=types.SimpleNamespace(unet_config=config))
    net.state_dict = lambda: dict.fromkeys(names)
    return net


def names(name):
    """The tensors of a published model, of whose blocks there are two."""
    with open(os.path.join(ldm.here, "published.txt")) as f:
        section = next(s for s in f.read().split("\n\n") if s.startswith(name + " "))
    for line in section.splitlines()[1:]:
        tensor = "diffusion_model." + line.split(" ")[0].replace(".scale", ".weight")
        block = re.search(r"\{\d+\}", tensor)
        yield from [tensor.replace(block[0], i) for i in "01"] if block else [tensor]


def layers(name, kind, config):
    tensors = set(names(name))
    out = {}
    for lora, to in comfy.lora.model_lora_keys_unet(model(kind, tensors, config), {}).items():
        if isinstance(to, str):
            to = (to, (0, 0, 0))
        if to[0] in tensors and to[0].endswith((".weight", ".bias")):  # others are of another variant, or no layer's
            out[lora] = ["model." + to[0], *(to[1] or (0, 0, 0))[1:]]
            # What has a function too has its rows in another order. The rows of proj_mlp are FLUX.1's.
            if len(to) == 3 or name == "flux2-dev" and "proj_mlp" in lora:
                out[lora] = None
    return out


def main():
    flux = {"depth": 2, "depth_single_blocks": 2, "hidden_size": 3072}
    b = comfy.model_base
    out = {
        "flux1-dev": layers("flux1-dev", b.Flux, flux), "flux2-dev": layers("flux2-dev", b.Flux2, flux | {"hidden_size": 6144}),
        "chroma1": layers("chroma1", b.Chroma, flux), "z-image": layers("z-image", b.Lumina2, {"n_layers": 2, "dim": 3840}),
        "sd3.5-medium": layers("sd3.5-medium", b.SD3, {"depth": 24, "num_blocks": 2}),
    }
    path = os.path.join(ldm.here, "dit_lora.json")
    with open(path, "w") as f:
        lines = ",\n".join(json.dumps(k) + ": {\n" + ",\n".join(f"{json.dumps(n)}: {json.dumps(v[n])}" for n in sorted(v)) + "\n}" for k, v in out.items())
        f.write("{\n" + lines + "\n}\n")


main()
