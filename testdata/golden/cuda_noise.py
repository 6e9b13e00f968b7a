"""Noise of torch.randn on a CUDA device, by a model of the kernel in NumPy.

    python testdata/golden/cuda_noise.py
    made: cuda_noise.safetensors

The kernel is distribution_elementwise_grid_stride_kernel of PyTorch
(ATen/native/cuda/DistributionTemplates.h, which comes with torch), of which
each thread is run apart, with curand_init, skipahead and curand_normal4 of
cuRAND as NVIDIA documents them. Nothing is known here of what is thrown away.
The first numbers of seed 0 are compared with those that
stable-diffusion-webui publishes (modules/rng_philox.py), which a device has
drawn.
"""

import os

import numpy as np
import torch
from safetensors.torch import save_file

here = os.path.dirname(os.path.abspath(__file__))
BLOCK, UNROLL = 256, 4
u32, f32 = np.uint32, np.float32


class State:
    """curandStatePhilox4_32_10_t"""

    def __init__(self, seed, subsequence, offset):
        self.key = (seed & 0xFFFFFFFF, seed >> 32)
        self.counter = (subsequence << 64) + offset // 4
        assert offset % 4 == 0

    def next4(self):
        c = [self.counter >> 32 * i & 0xFFFFFFFF for i in range(4)]
        k = list(self.key)
        for _ in range(10):
            a, b = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
            c = [b >> 32 ^ c[1] ^ k[0], b & 0xFFFFFFFF, a >> 32 ^ c[3] ^ k[1], a & 0xFFFFFFFF]
            k = [k[0] + 0x9E3779B9 & 0xFFFFFFFF, k[1] + 0xBB67AE85 & 0xFFFFFFFF]
        self.counter += 1
        return c

    def normal4(self):
        out = []
        w = self.next4()
        for x, y in (w[:2], w[2:]):
            u = f32(np.float64(f32(x)) * 2**-32 + 2**-33)
            turn = f32(2**-32 * 6.2831855)
            v = f32(np.float64(f32(y)) * np.float64(turn) + np.float64(turn / 2))
            s = np.sqrt(f32(-2) * np.log(u))
            out += [s * np.sin(v), s * np.cos(v)]
        return out


def randn(n, seed, offset, processors, threads):
    """One call; returns the numbers and the generator's next offset."""
    blocks = min((n + BLOCK - 1) // BLOCK, processors * (threads // BLOCK))
    out = np.full(n, np.nan, f32)
    for index in range(blocks * BLOCK):
        state = State(seed, index, offset)
        rounded = ((n - 1) // (BLOCK * blocks * UNROLL) + 1) * BLOCK * blocks * UNROLL
        for linear in range(index, rounded, BLOCK * blocks * UNROLL):
            r = state.normal4()
            for k in range(UNROLL):
                at = linear + BLOCK * blocks * k
                if at < n:
                    out[at] = r[k]
    return out, offset + ((n - 1) // (BLOCK * blocks * UNROLL) + 1) * 4


published = [-0.92466259, -0.42534415, -2.6438457, 0.14518388, -0.12086647, -0.57972564, -0.62285122, -0.32838709, -1.07454231, -0.36314407, -1.67105067, 2.26550497]
assert np.allclose(randn(12, 0, 0, 128, 1536)[0], published, atol=2e-6)

out = {}
# Name: seed, multiprocessors, threads of each, and the sizes of calls that follow each other.
for seed, processors, threads, sizes in [
    (0, 128, 1536, [12, 300]),
    (2**40 + 7, 128, 1536, [1, 257, 1024]),
    (2**64 - 1, 2, 1024, [2048, 2049, 8192, 8193, 20000, 5]),  # 2,048 threads
    (42, 3, 512, [1536, 1600, 7000]),
]:
    offset = 0
    for i, n in enumerate(sizes):
        values, offset = randn(n, seed, offset, processors, threads)
        assert not np.isnan(values).any()
        out[f"{seed}.{processors * threads}.{i}"] = torch.from_numpy(values)
save_file(out, os.path.join(here, "cuda_noise.safetensors"))
os.chmod(os.path.join(here, "cuda_noise.safetensors"), 0o644)
