"""Prompts encoded by ComfyUI's text encoders of whole families, from text to states.

    COMFYUI=/path/to/ComfyUI python testdata/golden/encoders.py
    made: encoders.safetensors

The encoders have tiny widths and the real vocabularies. No weight is stored: each is computed from its name and shape, by
hashed here and by golden.Hashed. Of many tokens, only every STEP-th state is stored.
"""

import base64
import io
import json
import os

import numpy as np
import sentencepiece
import torch
from safetensors.torch import save_file

import comfyui
import comfy.sd1_clip
import comfy.text_encoders.flux as flux
import comfy.text_encoders.pixart_t5 as pixart
import comfy.text_encoders.sd3_clip as sd3
import comfy.text_encoders.wan as wan
import comfy.text_encoders.z_image as z_image

here = os.path.dirname(os.path.abspath(__file__))
torch.set_num_threads(1)
STEP = 7


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


def spiece():
    """A vocabulary of pieces with UMT5's marks."""
    out = io.BytesIO()
    sentences = LONG.split(", ") + ["a photo of a very small red cat in the rain, really dark."] * 50
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences), model_writer=out, vocab_size=330, byte_fallback=True, pad_id=0, eos_id=1, unk_id=2, bos_id=-1, minloglevel=2, num_threads=1)
    return torch.frombuffer(bytearray(out.getvalue()), dtype=torch.uint8)


LLM = dict(hidden_size=32, intermediate_size=40, num_attention_heads=2, num_key_value_heads=1)
T5 = dict(d_model=48, d_kv=16, num_heads=3, d_ff=64, num_layers=3)
CLIP = dict(hidden_size=64, num_attention_heads=1, intermediate_size=256, num_hidden_layers=2)
LONG = "a photo of " + ", ".join(f"{n} cats in box {n}" for n in range(80))
PROMPTS = {
    "empty": "",
    "plain": "A photo of a cat, in the rain.",
    "weighted": "a (red:1.4) cat, (((very))) [small] \\(really\\) (dark:0.3) <|im_end|> </s> it's 12345",
    "long": LONG,
}
options = {"qwen3_4b_model_config": LLM, "qwen3_8b_model_config": LLM, "mistral3_24b_model_config": LLM | dict(vocab_size=320), "t5xxl_model_config": T5, "umt5xxl_model_config": T5 | dict(vocab_size=330), "clip_l_model_config": CLIP}
vocabulary = {"tekken_model": tekken(), "spiece_model": spiece()}

families = {
    "z_image": lambda: (z_image.ZImageTokenizer(), fill(z_image.ZImageTEModel(dtype=torch.float32, model_options=options))),
    "klein": lambda: (flux.KleinTokenizer(), fill(flux.klein_te(torch.float32)(model_options=options))),
    "flux2": lambda: (flux.Flux2Tokenizer(tokenizer_data=vocabulary), fill(flux.flux2_te(torch.float32, pruned=True)(model_options=options))),
    "flux1": lambda: (flux.FluxTokenizer(), fill(flux.flux_clip(torch.float32)(dtype=torch.float32, model_options=options))),
    "wan": lambda: (wan.WanT5Tokenizer(tokenizer_data=vocabulary), fill(wan.te(torch.float32)(dtype=torch.float32, model_options=options))),
    "chroma": lambda: (pixart.PixArtTokenizer(), fill(pixart.pixart_te(torch.float32)(model_options=options))),
}


@torch.no_grad()
def main():
    result = dict(vocabulary)
    for family, make in families.items():
        tokenizer, model = make()
        for name, prompt in PROMPTS.items():
            if family in ("klein", "flux2") and name == "empty":
                continue
            states, pooled = model.encode_token_weights(tokenizer.tokenize_with_weights(prompt))[:2]
            print(family, name, tuple(states.shape), None if pooled is None else tuple(pooled.shape), states.abs().max().item())
            result[f"{family}.{name}.tokens"] = torch.tensor([states.shape[1]], dtype=torch.int32)
            result[f"{family}.{name}"] = states[0, ::STEP].contiguous()
            if pooled is not None:
                result[f"{family}.{name}.pooled"] = pooled[0]
    save_file(result, os.path.join(here, "encoders.safetensors"), {name: prompt for name, prompt in PROMPTS.items()})


main()
