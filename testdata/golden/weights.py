"""Makes weights.safetensors with the reference library: all element types, a scalar, an empty tensor, metadata.

    python testdata/golden/weights.py
    made: weights.safetensors
"""

import os

import torch
from safetensors.torch import save_file

types = {
    "f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16, "f8_e4m3": torch.float8_e4m3fn,
    "f8_e5m2": torch.float8_e5m2, "i8": torch.int8, "i16": torch.int16, "i32": torch.int32, "i64": torch.int64,
    "u8": torch.uint8, "u16": torch.uint16, "u32": torch.uint32, "u64": torch.uint64, "f64": torch.float64,
}
out = {name: (torch.arange(6, dtype=torch.float32).reshape(2, 3) + 0.5).to(dt) for name, dt in types.items()}
out["bool"] = torch.tensor([[True, False, True]])
out["scalar"] = torch.tensor(2.5)
out["empty"] = torch.zeros(0, 4)
out["näme \"quoted\""] = torch.tensor([1.0])
path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "weights.safetensors")
save_file(out, path, metadata={"format": "pt", "note": "line\nbreak"})
os.chmod(path, 0o644)
