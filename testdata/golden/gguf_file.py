"""Makes gguf_file.gguf with the reference library: types with blocks and without, metadata of all kinds, and a tensor
that was reshaped into rows of whole blocks, whose shape the metadata keep.

    pip install gguf numpy
    python testdata/golden/gguf_file.py
    made: gguf_file.gguf
"""

import os

import gguf
import numpy as np

path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "gguf_file.gguf")
w = gguf.GGUFWriter(path, "sd1")
w.add_string("note", "line\nbreak")
w.add_uint8("u8", 200)
w.add_int8("i8", -3)
w.add_uint16("u16", 60000)
w.add_int16("i16", -300)
w.add_uint32("u32", 4000000000)
w.add_int32("i32", -70000)
w.add_float32("f32", 0.1)
w.add_bool("bool", True)
w.add_uint64("u64", 2**63)
w.add_int64("i64", -(2**40))
w.add_float64("f64", 0.1)
w.add_array("numbers", [1, 2, 3])
w.add_array("texts", ["a", "", "näme"])
w.add_array("comfy.gguf.orig_shape.kernel", [2, 16, 3, 4])
numbers = np.arange(6, dtype=np.float32).reshape(2, 3) + 0.5
w.add_tensor("f32", numbers)
w.add_tensor("f16", numbers.astype(np.float16))
w.add_tensor("f64", numbers.astype(np.float64))
w.add_tensor("bf16", gguf.quantize(numbers, gguf.GGMLQuantizationType.BF16), raw_dtype=gguf.GGMLQuantizationType.BF16)
for bits in (8, 16, 32, 64):
    w.add_tensor(f"i{bits}", numbers.astype(f"int{bits}"))
rows = (np.arange(3 * 64, dtype=np.float32) % 16 - 8).reshape(3, 64)
for name in ("Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"):
    kind = gguf.GGMLQuantizationType[name]
    w.add_tensor(name, gguf.quantize(rows, kind), raw_dtype=kind)
kind = gguf.GGMLQuantizationType.Q8_0
w.add_tensor("kernel", gguf.quantize((np.arange(384, dtype=np.float32) % 128 - 1).reshape(-1, 128), kind), raw_dtype=kind)
w.write_header_to_file()
w.write_kv_data_to_file()
w.write_tensors_to_file()
w.close()
