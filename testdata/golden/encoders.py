"""Prompts encoded by ComfyUI's text encoders of whole families, from text to states.

    COMFYUI=/path/to/ComfyUI python testdata/golden/encoders.py
    made: encoders.safetensors

The encoders have tiny widths and the real vocabularies. No weight is stored: each is computed from its name and shape, by
hashed.py and by golden.Hashed. Of many tokens, only every STEP-th state is stored.
"""

import io
import os

import sentencepiece
import torch
from safetensors.torch import save_file

import comfyui
from hashed import CLIP, LLM, T5, fill, tekken
import comfy.text_encoders.flux as flux
import comfy.text_encoders.pixart_t5 as pixart
import comfy.text_encoders.wan as wan
import comfy.text_encoders.z_image as z_image

here = os.path.dirname(os.path.abspath(__file__))
torch.set_num_threads(1)
STEP = 7


def spiece():
    """A vocabulary of pieces with UMT5's marks."""
    out = io.BytesIO()
    sentences = LONG.split(", ") + ["a photo of a very small red cat in the rain, really dark."] * 50
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences), model_writer=out, vocab_size=330, byte_fallback=True, pad_id=0, eos_id=1, unk_id=2, bos_id=-1, minloglevel=2, num_threads=1)
    return torch.frombuffer(bytearray(out.getvalue()), dtype=torch.uint8)


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
