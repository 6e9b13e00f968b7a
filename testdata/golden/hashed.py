"""Text encoders of tiny widths with the real vocabularies, whose weights are computed from their names."""

import base64
import json

import numpy as np
import torch


def hashed(name, shape):
    """Weights in float16: uniform, of a row's length near 1 for matrices, around 1 for norms and around 0 for biases."""
    seed = 0xCBF29CE484222325  # FNV-1a
    for b in name.encode():
        seed = (seed ^ b) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    with np.errstate(over="ignore"):  # SplitMix64
        z = np.uint64(seed) + np.arange(1, int(np.prod(shape)) + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    v = (z >> np.uint64(40)).astype(np.float64) * 2.0**-23 - 1
    if len(shape) > 1:
        v *= 1.75 / np.sqrt(shape[-1])
    else:
        v = v * 0.25 + (0 if name.endswith("bias") else 1)
    return torch.from_numpy(v.astype(np.float32).astype(np.float16)).float().reshape(shape)


def fill(module, drop=()):
    for name, p in module.named_parameters():
        p.data = hashed(name, list(p.shape))
    return module.eval()


def tekken():
    """A vocabulary of bytes and some words, with the marks of Mistral's templates."""
    special = {0: "<unk>", 1: "<s>", 2: "</s>", 3: "[INST]", 4: "[/INST]", 11: "<pad>", 17: "[SYSTEM_PROMPT]", 18: "[/SYSTEM_PROMPT]"}
    words = [bytes([i]) for i in range(256)] + [w.encode() for w in (" a", "th", "in", " t", "er", " th", " the", "on", "re", "at", " cat", " ph", "ca", " c", " p")]
    vocab = {
        "config": {"default_vocab_size": 320, "default_num_special_tokens": 20},
        "vocab": [{"rank": i, "token_bytes": base64.b64encode(w).decode(), "token_str": w.decode("latin-1")} for i, w in enumerate(words)],
        "special_tokens": [{"rank": i, "token_str": special.get(i, f"<SPECIAL_{i}>"), "is_control": True} for i in range(20)],
    }
    return torch.frombuffer(bytearray(json.dumps(vocab).encode()), dtype=torch.uint8)


LLM = dict(hidden_size=32, intermediate_size=40, num_attention_heads=2, num_key_value_heads=1)
T5 = dict(d_model=48, d_kv=16, num_heads=3, d_ff=64, num_layers=3)
CLIP = dict(hidden_size=64, num_attention_heads=1, intermediate_size=256, num_hidden_layers=2)
