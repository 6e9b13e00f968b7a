"""Makes torch_files.zip: checkpoints that torch.save writes, and in want.json what torch.load gives back.

    pip install torch numpy
    python testdata/golden/torch_files.py
    made: torch_files.zip
"""

import io
import json
import os
import pickle
import sys
import types
import zipfile
from collections import OrderedDict

import numpy as np
import torch

folder = os.path.dirname(os.path.abspath(__file__))
torch.manual_seed(1)


class Evil:
    def __reduce__(self):
        return os.system, ("echo hello",)


lightning = types.ModuleType("pytorch_lightning.callbacks")
sys.modules |= {"pytorch_lightning": types.ModuleType("pytorch_lightning"), "pytorch_lightning.callbacks": lightning}


class ModelCheckpoint(dict):
    pass


ModelCheckpoint.__module__ = "pytorch_lightning.callbacks"
ModelCheckpoint.__qualname__ = "ModelCheckpoint"
lightning.ModelCheckpoint = ModelCheckpoint


class Layers(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(2, 3, 3)
        self.norm = torch.nn.BatchNorm2d(3)


shared = torch.randn(4, 6)
kinds = {
    str(dt).removeprefix("torch."): (torch.randn(3, 5) * 4).to(dt)
    for dt in [torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn, torch.float8_e5m2, torch.int8, torch.int16, torch.int32, torch.int64]
}
kinds |= {"uint8": torch.arange(6, dtype=torch.uint8), "uint16": torch.arange(6).to(torch.uint16), "bool": torch.tensor([True, False])}
values = OrderedDict(a=torch.randn(2, 3), b=torch.randn(5))
good = {
    "kinds": kinds,
    "module": Layers().state_dict(),
    "parameters": {"w": torch.nn.Parameter(torch.randn(3, 4)), "scalar": torch.tensor(2.5), "empty": torch.zeros(0, 4)},
    "views": {"whole": shared, "rows": shared[1:3], "one": shared[2, 1:5], "thin": shared[:, :1][2:3]},
    "state_dict": {"state_dict": values, "epoch": 3, "optimizer": {"state": {0: {"exp_avg": torch.randn(2)}}, "param_groups": [{"lr": 1e-4, "betas": (0.9, 0.999)}]}},
    "esrgan": {"params": OrderedDict(a=torch.zeros(2)), "params_ema": values},
    "nested": {"encoder": {"a": torch.randn(2)}, "decoder": {"b": torch.randn(3), 7: torch.randn(1)}},
    "embedding": {"string_to_token": {"*": torch.tensor(265)}, "string_to_param": {"*": torch.randn(2, 8)}, "name": "thing", "step": 100, "sd_checkpoint": None},
    "parameter dictionary": {"string_to_token": {"*": 265}, "string_to_param": torch.nn.ParameterDict({"*": torch.randn(2, 8)})},
    "lightning": {
        "state_dict": values,
        "callbacks": {ModelCheckpoint: {"best_model_score": torch.tensor(1.0), "path": "x"}},
        "hyper_parameters": ModelCheckpoint(rate=np.float64(1.5)),
        "big": 2**70,
        "shape": torch.Size([2, 3]),
        "type": torch.float16,
        "device": torch.device("cpu"),
        "bytes": b"\xff\x00",
    },
    "one key": {"weights": values},
}
bad = {
    "a program": {"a": torch.zeros(2), "b": Evil()},
    "a module": Layers(),
    "turned": {"w": torch.randn(3, 4).t()},
    "expanded": {"w": torch.randn(3, 1).expand(3, 4)},
    "complex": {"w": torch.zeros(2, dtype=torch.complex64)},
    "sparse": {"w": torch.eye(3).to_sparse()},
    "no tensors": {"a": 1},
    "a list": [torch.zeros(2)],
    "a tensor": torch.zeros(2),
}


def flat(value, prefix=""):
    out = {}
    for k, v in value.items():
        if isinstance(v, dict):
            out |= flat(v, f"{prefix}{k}.")
        elif isinstance(v, torch.Tensor):
            out[f"{prefix}{k}"] = {"dtype": str(v.dtype).removeprefix("torch."), "shape": list(v.shape), "values": v.double().flatten().tolist()}
    return out


inner = {"module": None, "state_dict": "state_dict", "esrgan": "params_ema", "embedding": "string_to_param", "parameter dictionary": "string_to_param", "lightning": "state_dict", "one key": "weights"}
want = {}
with zipfile.ZipFile(os.path.join(folder, "torch_files.zip"), "w", zipfile.ZIP_DEFLATED) as z:

    def put(name, data):
        z.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), data)

    for name, value in (good | bad).items():
        b = io.BytesIO()
        torch.save(value, b)
        put(name + ".pt", b.getvalue())
        if name in good:
            back = torch.load(io.BytesIO(b.getvalue()), weights_only=name not in ["parameter dictionary", "lightning"])
            want[name] = flat(back[inner[name]] if inner.get(name) else back)
    b = io.BytesIO()
    torch.save(values, b, _use_new_zipfile_serialization=False)
    put("old.pt", b.getvalue())
    b = io.BytesIO()
    torch.save(values, b, pickle_protocol=5)
    put("protocol 5.pt", b.getvalue())
    want["protocol 5"] = flat(values)
    put("pickle.pt", pickle.dumps(values, protocol=4))
    traced = io.BytesIO()
    torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.zeros(1, 2)), traced)
    put("traced.pt", traced.getvalue())
    put("want.json", json.dumps(want))
