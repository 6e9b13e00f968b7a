"""Tiny upscalers with random weights, by spandrel: ESRGAN (RRDBNet) under the
three sets of names it is published with, and SRVGG compact.

    python testdata/golden/esrgan.py
    made: esrgan_x1.safetensors esrgan_x2.safetensors esrgan_x4.safetensors realesrgan_x4.safetensors
    made: realesrgan_x2.safetensors srvgg_x4.safetensors srvgg_x2.safetensors
"""

import os
import re

import torch
from safetensors.torch import save_file
from spandrel.architectures.Compact import Compact as SRVGGNetCompact
from spandrel.architectures.ESRGAN import ESRGAN

torch.set_num_threads(1)
here = os.path.dirname(os.path.abspath(__file__))


def randomize(module, seed):
    g = torch.Generator().manual_seed(seed)
    for name, p in module.named_parameters():
        fan = p[0].numel() if p.ndim > 1 else 16
        p.data = (torch.randn(p.shape, generator=g) / fan**0.5).half().float()


def newest(key):
    """The names of Real-ESRGAN for those of the first ESRGAN."""
    key = re.sub(r"^model\.0\.", "conv_first.", key)
    key = re.sub(r"^model\.1\.sub\.(\d+)\.RDB(\d)\.conv(\d)\.0\.", r"body.\1.rdb\2.conv\3.", key)
    key = re.sub(r"^model\.1\.sub\.\d+\.(weight|bias)", r"conv_body.\1", key)
    return key


def save(name, weights, x, y):
    tensors = {k: v.detach().half().contiguous() for k, v in weights.items()}
    save_file(tensors | {"x": x, "y": y}, os.path.join(here, name + ".safetensors"))


@torch.no_grad()
def main():
    x = torch.rand(2, 3, 12, 10, generator=torch.Generator().manual_seed(5))
    base = dict(num_filters=8, num_blocks=1)
    for scale in [1, 2, 4]:
        net = ESRGAN(in_nc=3, out_nc=3, scale=scale, plus=False, shuffle_factor=None, **base).eval()
        randomize(net, scale)
        save(f"esrgan_x{scale}", net.state_dict(), x, net(x))
    net = ESRGAN(in_nc=3, out_nc=3, scale=4, plus=False, shuffle_factor=None, **base).eval()
    randomize(net, 9)
    state = {}
    last = {"model.3": "conv_up1", "model.6": "conv_up2", "model.8": "conv_hr", "model.10": "conv_last"}
    for k, v in net.state_dict().items():
        head, tail = k.rsplit(".", 1)
        state["params_ema." + (f"{last[head]}.{tail}" if head in last else newest(k))] = v
    save("realesrgan_x4", state, x, net(x))

    # Real-ESRGAN x2 is the x4 network behind a pixel unshuffle by 2.
    net = ESRGAN(in_nc=12, out_nc=3, scale=4, plus=False, shuffle_factor=None, **base).eval()
    randomize(net, 10)
    state = {}
    for k, v in net.state_dict().items():
        head, tail = k.rsplit(".", 1)
        state[f"{last[head]}.{tail}" if head in last else newest(k)] = v
    save("realesrgan_x2", state, x, net(torch.nn.functional.pixel_unshuffle(x, 2)))

    net = SRVGGNetCompact(num_in_ch=3, num_out_ch=3, num_feat=16, num_conv=3, upscale=4, act_type="prelu").eval()
    randomize(net, 11)
    save("srvgg_x4", net.state_dict(), x, net(x))
    net = SRVGGNetCompact(num_in_ch=3, num_out_ch=3, num_feat=16, num_conv=2, upscale=2, act_type="prelu").eval()
    randomize(net, 12)
    save("srvgg_x2", {"params." + k: v for k, v in net.state_dict().items()}, x, net(x))


main()
