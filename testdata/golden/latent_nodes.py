"""What ComfyUI's nodes that change latents make of a few latents.

    COMFYUI=/path/to/ComfyUI python testdata/golden/latent_nodes.py
    made: latent_nodes.safetensors latent_nodes.json

The JSON file has the node of each case by class and inputs; inputs that begin with @ are latents. COMFYUI is a checkout of
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
for absent in ("kornia", "kornia.color", "kornia.filters", "torchaudio", "torchaudio.functional", "torchaudio.transforms", "torchvision", "torchvision.ops", "torchvision.transforms", "torchvision.transforms.functional"):  # which nothing here needs
    sys.modules[absent] = MagicMock()
import nodes  # noqa: E402
import comfy_extras.nodes_post_processing  # noqa: E402, F401, before those that it imports
from comfy_extras import nodes_latent  # noqa: E402

here = os.path.dirname(os.path.abspath(__file__))
g = torch.Generator().manual_seed(7)
draw = lambda *shape: torch.randn(*shape, generator=g)
LATENTS = {
    "a": {"samples": draw(2, 4, 10, 12)},
    "b": {"samples": draw(1, 4, 8, 9)},
    "one": {"samples": draw(1, 4, 10, 12)},
    "three": {"samples": draw(3, 4, 10, 12), "batch_index": [4, 1, 7]},
    "zero": {"samples": torch.zeros(1, 4, 10, 12)},
    "video": {"samples": draw(1, 4, 3, 8, 9)},
    "frames": {"samples": draw(1, 4, 2, 8, 9)},
}
out = {"latent." + k: v["samples"] for k, v in LATENTS.items()}
cases = {"latents": {k: {"shape": list(v["samples"].shape), "batch_index": v.get("batch_index")} for k, v in LATENTS.items()}, "nodes": {}}


def case(name, cls, **inputs):
    given = {k: LATENTS[v[1:]].copy() if isinstance(v, str) and v.startswith("@") else v for k, v in inputs.items()}
    owner = getattr(nodes, cls, None) or getattr(nodes_latent, cls)
    result = owner.execute(**given).result if hasattr(owner, "execute") else getattr(owner(), owner.FUNCTION)(**given)
    out["out." + name] = result[0]["samples"].contiguous()
    cases["nodes"][name] = {"node": [cls, inputs], "shape": list(result[0]["samples"].shape), "batch_index": result[0].get("batch_index")}


for cls in ("LatentAdd", "LatentSubtract", "LatentBatch"):
    for x, y in (("a", "b"), ("b", "a"), ("a", "three"), ("three", "a"), ("video", "video")):
        if (cls, x) != ("LatentSubtract", "video"):  # zeros
            case(f"{cls}.{x}.{y}", cls, samples1="@" + x, samples2="@" + y)
for x, y in (("one", "b"), ("b", "one")):
    case(f"LatentBlend.{x}.{y}", "LatentBlend", samples1="@" + x, samples2="@" + y, blend_factor=0.3)
for x, y, ratio in (("one", "b", 0.3), ("b", "one", 0.75), ("one", "zero", 0.4)):
    case(f"LatentInterpolate.{x}.{y}", "LatentInterpolate", samples1="@" + x, samples2="@" + y, ratio=ratio)
case("LatentMultiply", "LatentMultiply", samples="@a", multiplier=-1.3)
for kind in ("random", "fixed"):
    for x in ("a", "three"):
        case(f"LatentBatchSeedBehavior.{kind}.{x}", "LatentBatchSeedBehavior", samples="@" + x, seed_behavior=kind)
for index, length in ((0, 1), (1, 5), (-2, 1), (9, 2), (-9, 2)):
    for x in ("a", "three"):
        case(f"LatentFromBatch.{x}.{index}.{length}", "LatentFromBatch", samples="@" + x, batch_index=index, length=length)
for x in ("a", "three"):
    case(f"RepeatLatentBatch.{x}", "RepeatLatentBatch", samples="@" + x, amount=3)
for w, h, x, y in ((64, 64, 0, 0), (64, 72, 24, 8), (512, 64, 8, 64), (64, 64, 400, 400)):
    case(f"LatentCrop.{w}.{h}.{x}.{y}", "LatentCrop", samples="@a", width=w, height=h, x=x, y=y)
for method in ("x-axis: vertically", "y-axis: horizontally"):
    case(f"LatentFlip.{method}", "LatentFlip", samples="@a", flip_method=method)
for rotation in ("none", "90 degrees", "180 degrees", "270 degrees"):
    case(f"LatentRotate.{rotation}", "LatentRotate", samples="@a", rotation=rotation)
for dim, index, amount in (("x", 2, 3), ("y", -3, 9), ("x", -99, 4), ("y", 99, 4), ("t", 1, 1), ("t", -2, 2)):
    case(f"LatentCut.{dim}.{index}.{amount}", "LatentCut", samples="@video" if dim == "t" else "@a", dim=dim, index=index, amount=amount)
for x, dim, size in (("video", "t", 1), ("video", "t", 2), ("video", "t", 9), ("a", "t", 1), ("a", "x", 5), ("video", "y", 4)):
    case(f"LatentCutToBatch.{x}.{dim}.{size}", "LatentCutToBatch", samples="@" + x, dim=dim, slice_size=size)
for dim in ("x", "-x", "y", "-y"):
    case(f"LatentConcat.{dim}", "LatentConcat", samples1="@a", samples2="@one", dim=dim)
for dim in ("t", "-t", "x"):
    case(f"LatentConcat.video.{dim}", "LatentConcat", samples1="@video", samples2="@frames" if "t" in dim else "@video", dim=dim)
for x, y, feather in ((0, 0, 0), (16, 8, 0), (40, 16, 16), (0, 0, 24), (24, 0, 8), (200, 0, 0)):
    case(f"LatentComposite.{x}.{y}.{feather}", "LatentComposite", samples_to="@a", samples_from="@b", x=x, y=y, feather=feather)

path = os.path.join(here, "latent_nodes.safetensors")
save_file({k: v.clone().contiguous() for k, v in out.items()}, path)
os.chmod(path, 0o644)
with open(os.path.join(here, "latent_nodes.json"), "w", encoding="utf-8") as f:
    json.dump(cases, f, indent=0)
    f.write("\n")
