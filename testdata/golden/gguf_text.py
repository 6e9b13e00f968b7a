"""Makes the goldens llm_mistral, llm_qwen3, llm_qwen25 and t5 again as llama.cpp writes them, with the gguf package.

Names are those of the package's tables. For the architecture llama the rows of queries and keys are in the order that
convert_hf_to_gguf.py of llama.cpp gives them: the two halves of a head alternate. The file of llama is in parts; the
one of T5 has a tokenizer.

    pip install gguf safetensors numpy
    python testdata/golden/gguf_text.py
    made: gguf_llama-00001-of-00002.gguf gguf_llama-00002-of-00002.gguf gguf_qwen3.gguf gguf_qwen2vl.gguf gguf_t5.gguf
"""

import os

import gguf
import numpy as np
from safetensors.numpy import load_file

folder = os.path.dirname(os.path.abspath(__file__))


def alternate(rows, heads):
    n = rows.shape[0] // heads // 2
    return rows.reshape(heads, 2, n, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)


def write(golden, arch, file, heads=None, layers=4, parts=0, more=None):
    tensors = load_file(os.path.join(folder, golden + ".safetensors"))
    names = gguf.get_tensor_name_map(arch, layers)
    w = gguf.GGUFWriter(os.path.join(folder, file), gguf.MODEL_ARCH_NAMES[arch], split_max_tensors=parts)
    if more:
        more(w)
    for name, values in sorted(tensors.items()):
        to = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if to is None:
            continue  # a result
        if heads and ".q_proj." in name:
            values = alternate(values, heads[0])
        if heads and ".k_proj." in name:
            values = alternate(values, heads[1])
        w.add_tensor(to, values)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def tokenizer(w):
    w.add_tokenizer_model("t5")
    w.add_token_list(["<pad>", "</s>", "<unk>", "▁", "a", "b", "▁a"])
    w.add_token_scores([0.0, 0.0, 0.0, -2.0, -3.0, -3.5, -2.5])
    w.add_token_types([3, 3, 2, 1, 1, 1, 1])
    w.add_add_space_prefix(True)
    w.add_remove_extra_whitespaces(True)


write("llm_mistral", gguf.MODEL_ARCH.LLAMA, "gguf_llama.gguf", heads=(2, 1), parts=20)
write("llm_qwen3", gguf.MODEL_ARCH.QWEN3, "gguf_qwen3.gguf")
write("llm_qwen25", gguf.MODEL_ARCH.QWEN2VL, "gguf_qwen2vl.gguf")
write("t5", gguf.MODEL_ARCH.T5ENCODER, "gguf_t5.gguf", more=tokenizer)
