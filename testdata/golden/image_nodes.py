"""Nodes that change pictures and masks, as ComfyUI runs them.

    python testdata/golden/image_nodes.py COMFYUI
    made: image_nodes.safetensors

COMFYUI is a checkout of ComfyUI. The inputs are tensors, those of the cases are
in the metadata: the class, its inputs, of which lists of one name are tensors,
and how many outputs there are. Output i of case NAME is the tensor NAME.i.
"""

import asyncio
import importlib.machinery
import json
import os
import sys
import tempfile
from unittest import mock

import numpy as np
import torch
from safetensors.torch import save_file

here = os.path.dirname(os.path.abspath(__file__))
comfy_path = sys.argv[1]
sys.path.insert(0, comfy_path)
sys.argv = ["main.py", "--cpu", "--base-directory", tempfile.mkdtemp()]
os.makedirs(os.path.join(sys.argv[-1], "input"))
for missing in ("torchaudio", "torchaudio.transforms", "torchaudio.functional"):
    sys.modules[missing] = mock.MagicMock(__spec__=importlib.machinery.ModuleSpec(missing, None), __path__=[], __version__="2.0")
import comfy.options

comfy.options.enable_args_parsing()
import utils.install_util
import nodes
import server

loop = asyncio.new_event_loop()
asyncio.set_event_loop(loop)
server.PromptServer(loop)
loop.run_until_complete(nodes.init_extra_nodes(init_custom_nodes=False, init_api_nodes=False))

rng = np.random.default_rng(7)


def smooth(b, h, w, c):
    k, y, x = np.mgrid[0:b, 0:h, 0:w]
    waves = [0.5 + 0.3 * np.sin(x / (2 + i) + i + k) + 0.3 * np.cos(y / (3 - i / 2)) for i in range(c)]
    return torch.from_numpy(np.clip(np.stack(waves, -1) + rng.normal(size=(b, h, w, c)) * 0.05, 0, 1).astype(np.float32))


tensors = {
    "a": smooth(2, 13, 19, 3),
    "b": smooth(1, 8, 11, 3),
    "tall": smooth(1, 17, 6, 3),
    "same": smooth(2, 13, 19, 3),
    "rgba": smooth(2, 9, 14, 4),
    "m": smooth(2, 13, 19, 1)[..., 0],
    "n": smooth(1, 7, 10, 1)[..., 0] * 0.8,
    "bits": (smooth(2, 13, 19, 1)[..., 0] > 0.7).float(),
    "bit": (smooth(1, 13, 19, 1)[..., 0] > 0.7).float(),
    "rgbmask": smooth(2, 9, 14, 1)[..., 0] * 0.8,
}
tensors["shapes"] = torch.zeros(1, 24, 31, 3)
tensors["shapes"][:, 5:17, 8:21] = torch.tensor([0.9, 0.6, 0.3])
tensors["shapes"][:, 12:20, 3:12] += 0.2 * smooth(1, 8, 9, 3)
tensors["shapes"] += 0.02 * smooth(1, 24, 31, 3)  # no two gradients are equal, whose order would be chance
tensors["grey"] = (tensors["a"][:1] * 4).round() / 4
cases = []


def node(name, cls, outputs=1, **inputs):
    cases.append([name, cls, inputs, outputs])


for method in ["x-axis: vertically", "y-axis: horizontally"]:
    node("flip " + method[0], "ImageFlip", image=["a"], flip_method=method)
for turn in ["none", "90 degrees", "180 degrees", "270 degrees"]:
    node("rotate " + turn, "ImageRotate", image=["a"], rotation=turn)
node("crop", "ImageCrop", image=["a"], width=7, height=5, x=4, y=3)
node("crop beyond", "ImageCrop", image=["a"], width=70, height=50, x=14, y=40)
node("repeat", "RepeatImageBatch", image=["a"], amount=3)
node("from batch", "ImageFromBatch", image=["a"], batch_index=-1, length=4)
node("from batch all", "ImageFromBatch", image=["a"], batch_index=-9, length=4)
node("batch", "ImageBatch", image1=["a"], image2=["b"])
node("batch alpha", "ImageBatch", image1=["b"], image2=["rgba"])
node("batch many", "BatchImagesNode", **{"images.image0": ["a"], "images.image1": ["rgba"], "images.image2": ["tall"]})
node("batch masks", "BatchMasksNode", **{"masks.mask0": ["m"], "masks.mask1": ["n"]})
for d in ["right", "down", "left", "up"]:
    for match in [True, False]:
        node(f"stitch {d} {match}", "ImageStitch", image1=["a"], direction=d, match_image_size=match, spacing_width=2, spacing_color="red" if match else "white", image2=["tall"])
node("stitch rgba", "ImageStitch", image1=["b"], direction="right", match_image_size=False, spacing_width=4, spacing_color="green", image2=["rgba"])
node("stitch one", "ImageStitch", image1=["b"], direction="right", match_image_size=True, spacing_width=4, spacing_color="white")
node("pad", "ImagePadForOutpaint", 2, image=["a"], left=8, top=0, right=0, bottom=16, feathering=5)
node("pad hard", "ImagePadForOutpaint", 2, image=["a"], left=8, top=8, right=8, bottom=8, feathering=40)

node("solid", "SolidMask", value=0.3, width=6, height=4)
node("invert", "InvertMask", mask=["m"])
node("threshold", "ThresholdMask", mask=["m"], value=0.55)
node("crop mask", "CropMask", mask=["m"], x=5, y=2, width=100, height=7)
node("feather", "FeatherMask", mask=["m"], left=4, top=3, right=40, bottom=5)
for tapered in [True, False]:
    for n in [-2, 3, 0]:
        node(f"grow {n} {tapered}", "GrowMask", mask=["m"], expand=n, tapered_corners=tapered)
for op in ["multiply", "add", "subtract", "and", "or", "xor"]:
    node("combine " + op, "MaskComposite", destination=["m"], source=["n"], x=12, y=4, operation=op)
node("combine two", "MaskComposite", destination=["m"], source=["bits"], x=0, y=0, operation="multiply")
for ch in ["red", "green", "blue", "alpha"]:
    node("channel " + ch, "ImageToMask", image=["rgba"], channel=ch)
node("colour", "ImageColorToMask", image=["grey"], color=0x808080)
node("grey picture", "MaskToImage", mask=["m"])

node("over", "ImageCompositeMasked", destination=["a"], source=["b"], x=12, y=3, resize_source=False)
node("over masked", "ImageCompositeMasked", destination=["a"], source=["b"], x=2, y=7, resize_source=False, mask=["m"])
node("over resized", "ImageCompositeMasked", destination=["a"], source=["rgba"], x=0, y=0, resize_source=True, mask=["n"])
node("over rgba", "ImageCompositeMasked", destination=["rgba"], source=["b"], x=3, y=4, resize_source=False, mask=["n"])
node("join", "JoinImageWithAlpha", image=["a"], alpha=["n"])
node("join again", "JoinImageWithAlpha", image=["rgba"], alpha=["m"])
node("split", "SplitImageWithAlpha", 2, image=["rgba"])
node("split opaque", "SplitImageWithAlpha", 2, image=["a"])
modes = ["ADD", "CLEAR", "DARKEN", "DST", "DST_ATOP", "DST_IN", "DST_OUT", "DST_OVER", "LIGHTEN", "MULTIPLY", "OVERLAY", "SCREEN", "SRC", "SRC_ATOP", "SRC_IN", "SRC_OUT", "SRC_OVER", "XOR"]
for mode in modes:
    node("porter " + mode, "PorterDuffImageComposite", 2, source=["same"], source_alpha=["bit"], destination=["a"], destination_alpha=["m"], mode=mode)
node("porter sizes", "PorterDuffImageComposite", 2, source=["b"], source_alpha=["n"], destination=["a"], destination_alpha=["rgbmask"], mode="SRC_OVER")
for mode in ["normal", "multiply", "screen", "overlay", "soft_light", "difference"]:
    node("blend " + mode, "ImageBlend", image1=["a"], image2=["same"], blend_factor=0.7, blend_mode=mode)
node("blend sizes", "ImageBlend", image1=["a"], image2=["tall"], blend_factor=0.25, blend_mode="normal")
node("blend rgba", "ImageBlend", image1=["rgba"], image2=["b"], blend_factor=0.25, blend_mode="screen")

node("blur", "ImageBlur", image=["a"], blur_radius=3, sigma=0.7)
node("blur rgba", "ImageBlur", image=["rgba"], blur_radius=8, sigma=10.0)
node("sharpen", "ImageSharpen", image=["a"], sharpen_radius=2, sigma=0.5, alpha=0.3)
for name, low, high in [("shapes", 0.4, 0.8), ("a", 0.1, 0.3), ("b", 0.01, 0.5), ("shapes", 0.05, 0.99)]:
    node(f"canny {name} {low}", "Canny", image=[name], low_threshold=low, high_threshold=high)

node("pixels", "ImageScaleToTotalPixels", image=["b"], upscale_method="area", megapixels=0.01, resolution_steps=1)
node("pixels steps", "ImageScaleToTotalPixels", image=["tall"], upscale_method="bilinear", megapixels=0.01, resolution_steps=16)
node("longest", "ImageScaleToMaxDimension", image=["tall"], upscale_method="lanczos", largest_size=23)
node("fit", "ResizeAndPadImage", image=["a"], target_width=9, target_height=20, padding_color="white", interpolation="bicubic")
node("fit wide", "ResizeAndPadImage", image=["tall"], target_width=21, target_height=20, padding_color="black", interpolation="area")
kind = "resize_type"
for name, source in [("a", "image"), ("n", "mask")]:
    for method in ["nearest-exact", "bilinear", "area", "bicubic", "lanczos"]:
        node(f"resize {source} {method}", "ResizeImageMaskNode", input=[name], scale_method=method, **{kind: "scale dimensions", kind + ".width": 8, kind + ".height": 9, kind + ".crop": "center"})
    resize = lambda what, **more: node(f"resize {source} {what} {more}", "ResizeImageMaskNode", input=[name], scale_method="bilinear", **{kind: what, **{f"{kind}.{k}": v for k, v in more.items()}})
    resize("scale dimensions", width=0, height=9, crop="disabled")
    resize("scale dimensions", width=0, height=0, crop="center")
    resize("scale by multiplier", multiplier=1.5)
    resize("scale longer dimension", longer_size=25)
    resize("scale shorter dimension", shorter_size=5)
    resize("scale width", width=10)
    resize("scale height", height=10)
    if source == "mask":
        resize("scale total pixels", megapixels=0.01)
    resize("match size", match=["tall"], crop="disabled")
    resize("match size", match=["n"], crop="center")
    resize("scale to multiple", multiple=4)
    resize("scale to multiple", multiple=100)

for name, cls, inputs, outputs in cases:
    kwargs = {}
    for key, v in inputs.items():
        v = tensors[v[0]].clone() if isinstance(v, list) else v
        parent, dot, child = key.partition(".")
        if not dot and any(k.startswith(key + ".") for k in inputs):
            kwargs.setdefault(key, {})[key] = v
        elif dot:
            kwargs.setdefault(parent, {})[child] = v
        else:
            kwargs[key] = v
    c = nodes.NODE_CLASS_MAPPINGS[cls]
    if hasattr(c, "execute"):
        result = c.execute(**kwargs).args
    else:
        result = getattr(c(), c.FUNCTION)(**kwargs)
    assert len(result) == outputs, name
    for i, v in enumerate(result):
        tensors[f"{name}.{i}"] = v.float().contiguous().clone()

print({"%dx%d" % (w, h): list(nodes.NODE_CLASS_MAPPINGS["FluxKontextImageScale"].execute(torch.zeros(1, h, w, 3)).args[0].shape[1:3]) for w, h in [(100, 100), (200, 100), (100, 300), (105, 100), (4, 5)]})
print({f"{r} {mp} {n}": nodes.NODE_CLASS_MAPPINGS["ResolutionSelector"].execute(r, mp, n).args for r, mp, n in [("1:1 (Square)", 1.0, 8), ("16:9 (Widescreen)", 0.5, 16), ("2:3 (Portrait Photo)", 2.3, 64), ("21:9 (Ultrawide)", 1.0, 12)]})
save_file(tensors, os.path.join(here, "image_nodes.safetensors"), metadata={"cases": json.dumps(cases)})
