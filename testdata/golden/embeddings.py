"""Prompts with textual inversion embeddings: ComfyUI's text encoder with the weights of the demo's checkpoint.

    python testdata/golden/embeddings.py COMFYUI
    made: embeddings.safetensors

COMFYUI is a checkout of ComfyUI, whose SDTokenizer and SDClipModel run. A tensor "file/NAME/KEY" is the tensor KEY of the
embedding NAME, in the order of the file; "l/i" and "l/i/pooled" are what prompt number i gives, "g/i" the same for an
encoder whose prompts are filled up with zeros and whose vectors have the key clip_g. The prompts are in the metadata.
"""

import json
import logging
import os
import sys
import tempfile

sys.path.insert(0, sys.argv[1])
sys.argv = sys.argv[:1]
from comfy.cli_args import args

args.cpu = True
import torch
from comfy import sd1_clip
from safetensors import safe_open
from safetensors.torch import load_file, save_file

logging.disable(logging.CRITICAL)
here = os.path.dirname(os.path.abspath(__file__))
PROMPTS = [
    "red embedding:one apple", "(embedding:three:1.4), a pear", "embedding:keyed b (embedding:flat:0.6) c", "embedding:bundle x embedding:bundled y", "embedding:first",
    "a embedding:wrong b (c:1.3) d", "embedding:wrong embedding:one (x:0.5)", "a <|endoftext|> embedding:half b", "embedding:none, red apple", "(cat:1.1) " * 72 + "embedding:three, embedding:wrong end",
]


def main():
    torch.manual_seed(5)
    r = lambda *shape: torch.randn(*shape) * 0.1
    files = {
        "one": {"emb_params": r(1, 96)}, "three": {"emb_params": r(3, 96)}, "keyed": {"a": r(1, 96), "clip_g": r(1, 96), "clip_l": r(2, 96)}, "flat": {"x": r(96)},
        "bundle": {"a": r(2, 2), "bundle_emb.a.string_to_param.*": r(2, 96), "bundle_emb.b.string_to_param.*": r(1, 96)},
        "bundled": {"a": r(2, 2), "bundle_emb.x.clip_g": r(1, 96), "bundle_emb.x.clip_l": r(2, 96)}, "first": {"b": r(1, 96), "c": r(2, 96)}, "wrong": {"emb_params": r(2, 64)},
        "half": {"emb_params": r(2, 96).half()},
    }
    with safe_open(os.path.join(here, "../../models/checkpoints/emoji.safetensors"), "pt") as f:
        prefix = "cond_stage_model.transformer."
        weights = {k[len(prefix):]: f.get_tensor(k).float() for k in f.keys() if k.startswith(prefix)}
        heads = int(f.metadata()["weir.clip.num_heads"])
    config = {
        "vocab_size": 49408, "hidden_size": 96, "intermediate_size": 384, "num_hidden_layers": 3, "num_attention_heads": heads, "max_position_embeddings": 77, "hidden_act": "quick_gelu",
        "eos_token_id": 49407, "projection_dim": 96,
    }
    out = {}
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        for name, tensors in files.items():
            save_file(tensors, os.path.join(folder, name + ".safetensors"))
            for k, t in load_file(os.path.join(folder, name + ".safetensors")).items():
                out[f"file/{name}/{k}"] = t
        for kind, pad in (("l", 49407), ("g", 0)):
            model = sd1_clip.SDClipModel(textmodel_json_config=config, special_tokens={"start": 49406, "end": 49407, "pad": pad}, return_projected_pooled=False, dtype=torch.float32)
            missing = model.load_sd(weights if any(k.startswith("text_model.") for k in weights) else {"text_model." + k: v for k, v in weights.items()})
            assert all("projection" in k for k in missing.missing_keys), missing
            tokenizer = sd1_clip.SDTokenizer(embedding_directory=folder, pad_with_end=kind == "l", embedding_key="clip_" + kind)
            for i, prompt in enumerate(PROMPTS):
                if kind == "g" and i % 2 == 0 and i != 2:
                    continue
                z, pooled = model.encode_token_weights(tokenizer.tokenize_with_weights(prompt))
                out[f"{kind}/{i}"], out[f"{kind}/{i}/pooled"] = z[0].contiguous(), pooled[0].contiguous()
    save_file(out, os.path.join(here, "embeddings.safetensors"), metadata={"prompts": json.dumps(PROMPTS)})


main()
