"""Pictures as ComfyUI's LoadImage and LoadImageMask load them: animations, transparency, modes, orientation.

    python testdata/golden/loading.py PATH-OF-COMFYUI
    made: loading.safetensors loading_gif.gif loading_gif_clear.gif loading_gif_restore.gif loading_gif_parts.gif
    made: loading_gif_grey.gif loading_gif_grows.gif loading_gif_one.gif loading_apng.png loading_apng_ops.png
    made: loading_apng_hidden.png loading_apng_palette.png loading_apng_rgb.png loading_webp.webp loading_webp_lossy.webp loading_webp_opaque.webp
    made: loading_webp_one.webp loading_webp_alpha.webp loading_grey_key.png loading_rgb_key.png loading_palette_opaque.png
    made: loading_la.png loading_bit.png loading_16_rgb.png loading_16_rgba.png loading_16_la.png loading_cmyk.jpg loading_grey.jpg
    made: loading_mpo.jpg loading_pages.tif loading_sizes.tif loading_rgba.tif loading_rgba.bmp loading_v4.bmp loading_xmp.jpg loading_xmp.png
    made: loading_raw_exif.png loading_exif_animated.webp loading_interlaced.png loading_420.jpg
    made: loading_saved.webp loading_saved.png loading_comment.jpg
"""

import json
import os
import shutil
import struct
import sys
import tempfile

here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, sys.argv[1])
sys.argv = sys.argv[:1]
from comfy.cli_args import args

args.cpu = True
import folder_paths
import utils.install_util  # before nodes, whose folder has another module of that name
import nodes
import numpy as np
import torch
from PIL import Image, PngImagePlugin
from safetensors.torch import save_file

rng = np.random.default_rng(11)
made = []
H, W = 9, 12


def path(name):
    made.append("loading_" + name)
    return os.path.join(here, "loading_" + name)


def noise(h=H, w=W, c=3):
    y, x = np.mgrid[0:h, 0:w]
    waves = [np.sin(x / (2 + k) + rng.uniform(0, 6)) + np.cos(y / (3 + k) + rng.uniform(0, 6)) for k in range(c)]
    return np.clip(np.stack(waves, -1) * 60 + 128, 0, 255).astype(np.uint8)


def rgb():
    return Image.fromarray(noise())


def rgba():
    a = noise(c=4)
    a[..., 3] = rng.choice([0, 0, 60, 128, 200, 255, 255, 255], (H, W))
    return Image.fromarray(a, "RGBA")


# GIFs, block by block.
def codes(indices):
    """The indices as codes of 9 bits that never grow."""
    bits, n, out = 0, 0, bytearray()
    stream = []
    for i in range(0, len(indices), 200):
        stream += [256] + list(indices[i : i + 200])
    for c in stream + [257]:
        bits |= c << n
        n += 9
        while n >= 8:
            out.append(bits & 255)
            bits, n = bits >> 8, n - 8
    out.append(bits & 255)
    blocks = b"".join(bytes([len(out[i : i + 255])]) + out[i : i + 255] for i in range(0, len(out), 255))
    return b"\x08" + blocks + b"\x00"


def gif(name, screen, palette, frames, background=0):
    out = b"GIF89a" + struct.pack("<HH", *screen)
    out += bytes([0x80 | 3 if palette else 0, background, 0]) + (bytes(palette) if palette else b"")
    for f in frames:
        flags = f.get("disposal", 0) << 2 | ("transparent" in f)
        out += b"!\xf9\x04" + bytes([flags, 5, 0, f.get("transparent", 0), 0])
        h, w = f["pixels"].shape
        local = f.get("palette")
        out += b"," + struct.pack("<HHHH", f.get("x", 0), f.get("y", 0), w, h)
        rows = f["pixels"]
        if f.get("interlaced"):
            rows = np.concatenate([rows[0::8], rows[4::8], rows[2::4], rows[1::2]])
        out += bytes([(0x80 | 3 if local else 0) | (0x40 if f.get("interlaced") else 0)]) + (bytes(local) if local else b"")
        out += codes(rows.flatten().tolist())
    with open(path(name), "wb") as file:
        file.write(out + b";")


palette, other = rng.integers(0, 256, 48).tolist(), rng.integers(0, 256, 48).tolist()
whole = lambda: rng.integers(0, 16, (H, W), dtype=np.uint8)
part = lambda h, w: rng.integers(0, 16, (h, w), dtype=np.uint8)
gif("gif.gif", (W, H), palette, [dict(pixels=whole()), dict(pixels=whole(), interlaced=True), dict(pixels=part(4, 5), x=3, y=2)])
gif("gif_clear.gif", (W, H), palette, [dict(pixels=whole(), transparent=3, disposal=2), dict(pixels=part(5, 6), x=2, y=2, transparent=4, disposal=2),
    dict(pixels=part(3, 3), x=8, y=5, transparent=7), dict(pixels=part(3, 8), x=1, y=1, disposal=2), dict(pixels=part(2, 2))], background=5)
gif("gif_restore.gif", (W, H), palette, [dict(pixels=whole(), disposal=3), dict(pixels=part(5, 6), x=2, y=2, disposal=3),
    dict(pixels=part(3, 3), x=8, y=5, transparent=7, disposal=2), dict(pixels=part(3, 8), x=1, y=1), dict(pixels=part(2, 2), x=9)], background=6)
gif("gif_parts.gif", (W, H), palette, [dict(pixels=part(4, 4), x=2, y=3, transparent=2), dict(pixels=part(5, 7), palette=other, transparent=9),
    dict(pixels=part(5, 5), x=6, y=4, palette=other, disposal=2), dict(pixels=part(2, 3))])
gif("gif_grey.gif", (W, H), None, [dict(pixels=rng.integers(0, 256, (H, W), dtype=np.uint8), transparent=4), dict(pixels=part(5, 7) * 9, transparent=18, x=1)])
gif("gif_grows.gif", (W, H), palette, [dict(pixels=whole()), dict(pixels=whole()), dict(pixels=part(H, W), x=4, y=3), dict(pixels=whole())])
gif("gif_one.gif", (W - 4, H - 4), palette, [dict(pixels=whole(), transparent=1)])

many = [rgba() for _ in range(4)]
many[0].save(path("apng.png"), save_all=True, append_images=many[1:], duration=50)
base = rgba()
moved = []
for i in range(5):
    m = base.copy()
    m.paste(rgba().crop((0, 0, 5, 4)), (i, i))
    moved.append(m)
base.save(path("apng_ops.png"), save_all=True, append_images=moved, disposal=[0, 1, 2, 0, 2, 0], blend=[0, 1, 1, 0, 0, 1])
base.save(path("apng_hidden.png"), save_all=True, append_images=moved[:3], default_image=True, disposal=[1, 2, 0], blend=[1, 0, 1])
p = Image.fromarray(whole())
p.putpalette(palette)
p2 = p.copy()
p2.paste(3, (2, 2, 6, 6))
p.save(path("apng_palette.png"), save_all=True, append_images=[p2, p], disposal=[0, 0, 0], blend=[0, 1, 1], transparency=bytes([255, 0, 100] + [255] * 13))
plain = [rgb() for _ in range(3)]
plain[0].save(path("apng_rgb.png"), save_all=True, append_images=plain[1:])

base.save(path("webp.webp"), save_all=True, append_images=moved, lossless=True, minimize_size=True, duration=40)
moved[1].save(path("webp_lossy.webp"), save_all=True, append_images=moved[2:], quality=90, allow_mixed=True, duration=40)
opaque = [Image.fromarray(noise(32, 40)) for _ in range(3)]
opaque[0].save(path("webp_opaque.webp"), save_all=True, append_images=opaque[1:], quality=80)
opaque[0].save(path("webp_one.webp"), quality=80)
base.save(path("webp_alpha.webp"), quality=90)
exif = Image.Exif()
exif[0x112] = 6
plain[0].save(path("exif_animated.webp"), save_all=True, append_images=plain[1:], lossless=True, exif=exif)

grey = Image.fromarray(noise(c=1)[..., 0] // 8 * 8)
grey.save(path("grey_key.png"), transparency=int(np.array(grey)[3, 3]))
key = rgb()
key.save(path("rgb_key.png"), transparency=tuple(int(v) for v in np.array(key)[2, 2]))
p.save(path("palette_opaque.png"), transparency=bytes([255] * 16))
base.convert("LA").save(path("la.png"))
grey.point(lambda v: 255 * (v > 100)).convert("1").save(path("bit.png"))


def png16(name, colour, channels):
    """A PNG of 16 bits, which Pillow writes only of greys."""
    import zlib

    data = rng.integers(0, 65536, (H, W, channels), dtype=np.uint16).astype(">u2")
    chunk = lambda kind, body: struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    raw = b"".join(b"\x00" + row.tobytes() for row in data)
    with open(path(name), "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", W, H, 16, colour, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b""))


png16("16_rgb.png", 2, 3)
png16("16_rgba.png", 6, 4)
png16("16_la.png", 4, 2)


def interlaced(name):
    import zlib

    data = noise()
    raw = b""
    for y0, dy, x0, dx in [(0, 8, 0, 8), (0, 8, 4, 8), (4, 8, 0, 4), (0, 4, 2, 4), (2, 4, 0, 2), (0, 2, 1, 2), (1, 2, 0, 1)]:
        for row in data[y0::dy, x0::dx]:
            if len(row):
                raw += b"\x00" + row.tobytes()
    chunk = lambda kind, body: struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    with open(path(name), "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", W, H, 8, 2, 0, 0, 1)) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b""))


interlaced("interlaced.png")
big = Image.fromarray(noise(32, 40))
big.convert("CMYK").save(path("cmyk.jpg"), quality=95)
big.convert("L").save(path("grey.jpg"), quality=95)
big.save(path("420.jpg"), quality=90, subsampling=2)
big.save(path("mpo.jpg"), format="MPO", save_all=True, append_images=[opaque[1], opaque[2]], quality=95, subsampling=0)
plain[0].save(path("pages.tif"), save_all=True, append_images=plain[1:])
plain[0].save(path("sizes.tif"), save_all=True, append_images=[plain[1].crop((0, 0, 5, 5)), plain[2]])
base.save(path("rgba.tif"))
base.save(path("rgba.bmp"))
data = np.array(base)[::-1, :, [2, 1, 0, 3]].tobytes()
head = struct.pack("<IiiHHIIiiII", 108, W, H, 1, 32, 3, len(data), 2835, 2835, 0, 0) + struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
with open(path("v4.bmp"), "wb") as file:
    file.write(b"BM" + struct.pack("<IHHI", 14 + 108 + len(data), 0, 0, 14 + 108) + head.ljust(108, b"\0") + data)
xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF><rdf:Description tiff:Orientation="8"/></rdf:RDF></x:xmpmeta>'
big.save(path("xmp.jpg"), quality=95, subsampling=0, xmp=xmp)
info = PngImagePlugin.PngInfo()
info.add_itxt("XML:com.adobe.xmp", "<a><tiff:Orientation>3</tiff:Orientation></a>")
plain[0].save(path("xmp.png"), pnginfo=info)
info = PngImagePlugin.PngInfo()
body = exif.tobytes()
info.add_text("Raw profile type exif", "\nexif\n%8d\n%s\n" % (len(body), body.hex()), zip=True)
plain[0].save(path("raw_exif.png"), pnginfo=info)

# As ComfyUI saves animations, and as other programs keep workflows in a JPEG.
from comfy_extras.nodes_images import SaveAnimatedPNG, SaveAnimatedWEBP

batch = torch.from_numpy(np.stack([np.array(p) for p in plain])).float() / 255
prompt, extra = {"3": {"class_type": "é"}}, {"workflow": {"nodes": [{"id": 3, "title": "日本"}]}}
with tempfile.TemporaryDirectory() as folder:
    folder_paths.set_output_directory(folder)
    save = SaveAnimatedWEBP()
    save.output_dir = folder
    save.save_images(batch, 8.0, "saved", True, 80, "default", prompt=prompt, extra_pnginfo=extra)
    save = SaveAnimatedPNG()
    save.output_dir = folder
    save.save_images(batch, 8.0, 4, "saved", prompt=prompt, extra_pnginfo=extra)
    for name in os.listdir(folder):
        shutil.copy(os.path.join(folder, name), path("saved" + os.path.splitext(name)[1]))
exif = Image.Exif()
exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + json.dumps({"prompt": json.dumps(prompt), **extra}).encode("utf-16-be")
big.save(path("comment.jpg"), quality=90, exif=exif)

out = {}
with tempfile.TemporaryDirectory() as folder:
    folder_paths.set_input_directory(folder)
    for name in made:
        shutil.copy(os.path.join(here, name), folder)
        try:
            image, mask = nodes.LoadImage().load_image(name)
            out[name] = torch.round(image * 255).to(torch.uint8)
            out[name + ".mask"] = torch.round(mask * 255).to(torch.uint8)
        except Exception as e:
            print("LoadImage", name, repr(e))
        for channel in ["alpha", "red"]:
            try:
                out[f"{name}.{channel}"] = torch.round(nodes.LoadImageMask().load_image(name, channel)[0] * 255).to(torch.uint8)
            except Exception as e:
                print("LoadImageMask", name, channel, repr(e))
for k, v in out.items():
    if k.count(".") == 1:
        print(k, tuple(v.shape), tuple(out[k + ".mask"].shape))
save_file({k: v.contiguous() for k, v in out.items()}, os.path.join(here, "loading.safetensors"))
