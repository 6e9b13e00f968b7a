"""Tiny text encoders with random weights: CLIP-L by transformers, OpenCLIP by open_clip.

    python testdata/golden/text_encoders.py
    made: clip_l.safetensors open_clip.safetensors
"""

import os

import torch
from open_clip.transformer import TextTransformer
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

torch.set_num_threads(1)
here = os.path.dirname(os.path.abspath(__file__))
VOCAB, WIDTH, LAYERS, HEADS, LENGTH = 600, 64, 3, 4, 77
END = VOCAB - 1


def tokens(batch):
    ids = torch.randint(1, END - 1, (batch, LENGTH), generator=torch.Generator().manual_seed(3))
    ids[:, 0] = VOCAB - 2
    for b, n in enumerate([76, 9, 30][:batch]):
        ids[b, n:] = END
    return ids


def randomize(module, seed):
    g = torch.Generator().manual_seed(seed)
    for p in module.parameters():
        scale = 0.3 if p.ndim < 2 else 1.5 / p.shape[-1] ** 0.5
        p.data = torch.randn(p.shape, generator=g) * scale + (1.0 if p.ndim == 1 else 0.0)


@torch.no_grad()
def clip_l():
    config = CLIPTextConfig(vocab_size=VOCAB, hidden_size=WIDTH, intermediate_size=4 * WIDTH, projection_dim=48, num_hidden_layers=LAYERS,
                            num_attention_heads=HEADS, max_position_embeddings=LENGTH, hidden_act="quick_gelu", eos_token_id=END, bos_token_id=VOCAB - 2)
    model = CLIPTextModelWithProjection(config).eval()
    randomize(model, 1)
    ids = tokens(3)
    out = model(ids, output_hidden_states=True)
    norm = model.text_model.final_layer_norm if hasattr(model, "text_model") else model.final_layer_norm
    eos = (ids == END).int().argmax(-1)
    result = {"tokens": ids.int(), "last": out.last_hidden_state, "penultimate": out.hidden_states[-2], "penultimate_norm": norm(out.hidden_states[-2]),
              "pooled": out.last_hidden_state[torch.arange(3), eos], "projected": out.text_embeds}
    for k, v in model.state_dict().items():
        if "position_ids" not in k:
            result["cond_stage_model.transformer." + k] = v
    save_file({k: v.contiguous() for k, v in result.items()}, os.path.join(here, "clip_l.safetensors"), {"weir.clip.num_heads": str(HEADS)})


@torch.no_grad()
def open_clip():
    model = TextTransformer(context_length=LENGTH, vocab_size=VOCAB, width=WIDTH, heads=HEADS, layers=LAYERS, output_dim=WIDTH, pool_type="argmax").eval()
    randomize(model, 2)
    ids = tokens(3)
    ids[ids == END] = 0
    for b, n in enumerate([76, 9, 30]):
        ids[b, n] = END
    states = []
    for block in model.transformer.resblocks:
        block.register_forward_hook(lambda m, i, o: states.append(o))
    projected = model(ids)
    last = model.ln_final(states[-1])
    result = {"tokens": ids.int(), "last": last, "penultimate": states[-2], "penultimate_norm": model.ln_final(states[-2]), "projected": projected}
    for k, v in model.state_dict().items():
        if k != "attn_mask":
            result["conditioner.embedders.1.model." + k] = v
    save_file({k: v.contiguous() for k, v in result.items()}, os.path.join(here, "open_clip.safetensors"), {"weir.clip.num_heads": str(HEADS)})


clip_l()
open_clip()
