"""Makes dtype.safetensors: what PyTorch converts element types to and from float32.

Every 16-bit pattern of f16 and bf16 and every 8-bit pattern of the f8 types is widened; edge cases, neighbours of
rounding ties and seeded random values are narrowed to every type.

    python testdata/golden/dtype.py
    made: dtype.safetensors
"""

import os

import torch
from safetensors.torch import save_file

torch.set_num_threads(1)
gen = torch.Generator().manual_seed(1)

halves = torch.arange(65536, dtype=torch.int32).to(torch.uint16)
bytes_ = torch.arange(256, dtype=torch.int32).to(torch.uint8)

out = {
    "to/F16": halves.view(torch.float16).to(torch.float32),
    # The widened bfloat16 of pattern p is p << 16, so its NaNs would be lost in no way; stored for the reference's word.
    "to/BF16": halves.view(torch.bfloat16).to(torch.float32),
    "to/F8_E4M3": bytes_.view(torch.float8_e4m3fn).to(torch.float32),
    "to/F8_E5M2": bytes_.view(torch.float8_e5m2).to(torch.float32),
}

# Values to narrow: specials, every boundary of the small formats with its float32 neighbours, random bit patterns,
# random numbers around the size of weights.
inf, nan = float("inf"), float("nan")
specials = torch.tensor(
    [0.0, -0.0, 1.0, -1.0, inf, -inf, nan, -nan, 65504.0, 65519.0, 65520.0, 65535.0, 65536.0, 448.0, 463.99997, 464.0,
     464.00003, 479.0, 480.0, 57344.0, 61439.0, 61440.0, 3.3895314e38, 3.4028235e38, 1e-45, 2**-24, 2**-25, 2**-126]
)
tables = [out["to/F8_E4M3"], out["to/F8_E5M2"]] + [out["to/F16"][:: 61]]
ties = []
for t in tables:
    t = t[torch.isfinite(t)].unique()
    mid = (t[1:] + t[:-1]) / 2
    ties += [t, mid]
ties = torch.cat(ties)
up, down = torch.tensor(inf), torch.tensor(-inf)
ties = torch.cat([ties, ties.nextafter(up), ties.nextafter(down)])
patterns = torch.randint(-(2**31), 2**31, (4096,), generator=gen, dtype=torch.int64).to(torch.int32).view(torch.float32)
normal = torch.randn(2048, generator=gen) * torch.exp(torch.randn(2048, generator=gen) * 4)
src = torch.cat([specials, -specials, ties, patterns, normal])
out["from"] = src
for name, dt in {
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "F64": torch.float64,
    "BOOL": torch.bool,
}.items():
    out["from/" + name] = src.to(dt)

# Integers: PyTorch defines what lies in range.
ints = {"I8": torch.int8, "I16": torch.int16, "I32": torch.int32, "I64": torch.int64, "U8": torch.uint8,
        "U16": torch.uint16, "U32": torch.uint32, "U64": torch.uint64}
for name, dt in ints.items():
    bits = int(name[1:])
    signed = name[0] == "I"
    lo, hi = (-(2 ** (bits - 1)), 2 ** (bits - 1)) if signed else (0, 2**bits)
    f = (torch.rand(256, generator=gen, dtype=torch.float64) * float(hi - lo) + float(lo)).to(torch.float32)
    f = torch.cat([f, torch.randn(256, generator=gen) * 50 if signed else torch.rand(256, generator=gen) * 100])
    f = f[(f > float(lo)) & (f < float(hi))]
    out["int/" + name] = f
    out["int/from/" + name] = f.to(dt)
    raw = torch.randint(0, 256, (64 * bits // 8,), generator=gen, dtype=torch.int32).to(torch.uint8).view(dt)
    out["int/raw/" + name] = raw
    out["int/to/" + name] = raw.to(torch.float32)
f64 = torch.randn(256, generator=gen, dtype=torch.float64) * 1e3
out["int/raw/F64"], out["int/to/F64"] = f64, f64.to(torch.float32)
flags = torch.rand(64, generator=gen) < 0.5
out["int/raw/BOOL"], out["int/to/BOOL"] = flags, flags.to(torch.float32)

save_file(out, os.path.join(os.path.dirname(os.path.abspath(__file__)), "dtype.safetensors"))
