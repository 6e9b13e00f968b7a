"""Pictures as Pillow reads and resizes them, and planes as PyTorch resizes them.

    python testdata/golden/images.py
    made: images.safetensors images_rgba.png images_palette.png images_16.png images_grey.png images_exif.jpg images.webp
    made: images.bmp images.gif images_text.png
"""

import os

import numpy as np
import torch
from PIL import Image, ImageOps, PngImagePlugin
from safetensors.torch import save_file
from torch.nn import functional as F

here = os.path.dirname(os.path.abspath(__file__))
path = lambda name: os.path.join(here, name)
rng = np.random.default_rng(3)
out = {}


def smooth(h, w, c):
    y, x = np.mgrid[0:h, 0:w]
    waves = [np.sin(x / (5 + k) + k) + np.cos(y / (4 + k)) for k in range(c)]
    return np.clip(np.stack(waves, -1) * 60 + 128 + rng.normal(size=(h, w, c)) * 5, 0, 255).astype(np.uint8)


def read(name):
    """As ComfyUI's LoadImage reads a file."""
    picture = ImageOps.exif_transpose(Image.open(path(name)))
    if picture.mode.startswith("I"):  # 16 bits
        picture = picture.point(lambda v: v * (1 / 255)).convert("L")
    alpha = "A" in picture.getbands() or "transparency" in picture.info
    if alpha:
        mask = np.array(picture.convert("RGBA").getchannel("A"), dtype=np.float32) / 255
        out[name + ".mask"] = 1 - torch.from_numpy(mask)
    out[name] = torch.from_numpy(np.array(picture.convert("RGB"), dtype=np.float32) / 255)


rgb, rgba = Image.fromarray(smooth(13, 19, 3)), Image.fromarray(smooth(13, 19, 4), "RGBA")
rgba.save(path("images_rgba.png"))
rgba.quantize(16).save(path("images_palette.png"))
rgb.convert("L").save(path("images_grey.png"))
rgb.save(path("images.bmp"))
rgb.quantize(32).save(path("images.gif"))
rgb.save(path("images.webp"), lossless=True)
exif = Image.Exif()
exif[0x112] = 6
rgb.resize((32, 16)).save(path("images_exif.jpg"), quality=95, subsampling=0, exif=exif)
info = PngImagePlugin.PngInfo()
info.add_text("prompt", '{"1": "caf\\u00e9"}')
info.add_text("zipped", "a long text " * 50, zip=True)
info.add_itxt("international", "日本", "ja", "key")
info.add_itxt("both", "ü" * 40, zip=True)
rgb.save(path("images_text.png"), pnginfo=info)
for name in ["images_rgba.png", "images_palette.png", "images_grey.png", "images_exif.jpg", "images.webp", "images.bmp", "images.gif"]:
    read(name)

# 16 bits: the upper byte, as for other bit depths.
deep = rng.integers(0, 65536, (5, 7), dtype=np.uint16)
Image.fromarray(deep).save(path("images_16.png"))
out["images_16.png"] = torch.from_numpy((deep >> 8).astype(np.float32) / 255)[..., None].repeat(1, 1, 3)

# The bytes of a picture's values.
values = torch.cat([torch.linspace(-0.1, 1.1, 700), torch.arange(256) / 255])
out["values"], out["bytes"] = values, torch.from_numpy(np.clip(255.0 * values.numpy(), 0, 255).astype(np.uint8))

planes = torch.randn(3, 11, 17, generator=torch.Generator().manual_seed(1))
out["planes"] = planes
for mode in ["nearest-exact", "bilinear", "area", "bicubic"]:
    for h, w in [(23, 31), (5, 9), (11, 40), (6, 17)]:
        out[f"{mode}.{h}.{w}"] = F.interpolate(planes[None], (h, w), mode=mode)[0]
picture = Image.fromarray(smooth(20, 30, 3))
out["picture"] = torch.from_numpy(np.array(picture, dtype=np.float32) / 255).permute(2, 0, 1)
for h, w in [(41, 77), (7, 11), (20, 45)]:
    out[f"lanczos.{h}.{w}"] = torch.from_numpy(np.array(picture.resize((w, h), Image.LANCZOS), dtype=np.float32) / 255).permute(2, 0, 1)


def bislerp_axis(x, n):
    """Interpolates vectors along the last axis: directions on the sphere
    (Shoemake 1985), lengths linearly. Coordinates are those of bilinear."""
    length = x.shape[-1]
    at = np.maximum((np.arange(n) + 0.5) * length / n - 0.5, 0)
    # PyTorch rounds the coordinates to those of its own bilinear weights.
    grid = F.interpolate(torch.arange(length, dtype=torch.float32).reshape(1, 1, 1, -1), (1, n), mode="bilinear")[0, 0, 0].double().numpy()
    assert np.abs(at.clip(max=length - 1) - grid).max() < 1e-4
    lo = np.floor(grid).astype(int)
    hi = np.minimum(lo + 1, length - 1)
    t = grid - lo
    a, b = x[:, :, lo], x[:, :, hi]
    na, nb = np.linalg.norm(a, axis=0), np.linalg.norm(b, axis=0)
    ua, ub = a / np.where(na == 0, 1, na), b / np.where(nb == 0, 1, nb)
    dot = (ua * ub).sum(0)
    omega = np.arccos(np.clip(dot, -1, 1))
    so = np.sin(omega)
    with np.errstate(divide="ignore", invalid="ignore"):
        direction = np.sin((1 - t) * omega) / so * ua + np.sin(t * omega) / so * ub
    result = direction * (na * (1 - t) + nb * t)
    result = np.where(dot > 1 - 1e-5, a, result)
    return np.where(dot < 1e-5 - 1, a * (1 - t) + b * t, result)


def bislerp(x, h, w):
    y = bislerp_axis(x.numpy().astype(np.float64), w)
    return torch.from_numpy(bislerp_axis(y.transpose(0, 2, 1), h).transpose(0, 2, 1).astype(np.float32).copy())


for h, w in [(23, 31), (6, 9)]:
    out[f"bislerp.{h}.{w}"] = bislerp(planes, h, w)
save_file({k: v.contiguous() for k, v in out.items()}, path("images.safetensors"))
