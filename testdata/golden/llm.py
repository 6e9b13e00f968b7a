"""Tiny decoder-only language models with random weights, as text encoders.

    COMFYUI=/path/to/ComfyUI python testdata/golden/llm.py
    made: llm_qwen3.safetensors llm_qwen25.safetensors llm_mistral.safetensors llm_llama.safetensors llm_gemma2.safetensors llm_gemma3.safetensors

The classes of ComfyUI 0.33 give the states. transformers'
models have the same weights and must give the same states. The cap that
transformers puts on the scores of Gemma 2's attention is off: ComfyUI has none.
"""

import os

import torch
import transformers as tf
from safetensors.torch import save_file

import comfyui
from comfy.text_encoders import llama

here = os.path.dirname(os.path.abspath(__file__))

torch.set_num_threads(1)
VOCAB, WIDTH, LAYERS, FF, LENGTH = 120, 32, 4, 40, 13


def randomize(module, seed):
    """Weights that are exact in float16, so that the files are half as large."""
    g = torch.Generator().manual_seed(seed)
    for name, p in sorted(module.named_parameters()):
        scale = 0.3 if p.ndim < 2 else 1.5 / p.shape[-1] ** 0.5
        p.data = (torch.randn(p.shape, generator=g) * scale + (1.0 if name.endswith("norm.weight") else 0.0)).half().float()


def shrink(config, heads, width=WIDTH, layers=LAYERS, **fields):
    """A configuration of ComfyUI at tiny width."""
    c = config()
    for k, v in dict(vocab_size=VOCAB, hidden_size=width, intermediate_size=FF, num_hidden_layers=layers, num_attention_heads=heads,
                     num_key_value_heads=heads // 2, lm_head=False, **fields).items():
        setattr(c, k, v)
    return c


def inputs(length):
    g = torch.Generator().manual_seed(7)
    tokens = torch.randint(3, VOCAB, (2, length), generator=g)
    mask = torch.ones(2, length, dtype=torch.long)
    tokens[0, length - 4:] = 2  # padded at the end
    mask[0, length - 4:] = 0
    return tokens, mask


@torch.no_grad()
def model(name, seed, config, cls, conf, save=True):
    layers = config.num_hidden_layers
    net = llama.Llama2_(config, device="cpu", dtype=torch.float32, ops=comfyui.settings["operations"]).eval()
    randomize(net, seed)
    tokens, mask = inputs(LENGTH)
    last, states = net(tokens, attention_mask=mask, intermediate_output=list(range(layers)), final_layer_norm_intermediate=False, dtype=torch.float32)
    _, raw = net(tokens, attention_mask=mask, intermediate_output=layers - 1, final_layer_norm_intermediate=False, dtype=torch.float32)
    free, _ = net(tokens, dtype=torch.float32)
    shape = dict(vocab_size=VOCAB, hidden_size=config.hidden_size, intermediate_size=FF, num_hidden_layers=layers, head_dim=config.head_dim,
                 num_attention_heads=config.num_attention_heads, num_key_value_heads=config.num_key_value_heads)
    conf = conf(shape)
    conf._attn_implementation = "eager"
    other = cls(conf).eval()
    missing, unexpected = other.load_state_dict(net.state_dict(), strict=False)
    assert not unexpected and all("rotary" in k for k in missing), (missing, unexpected)
    out = other(input_ids=tokens, attention_mask=mask, output_hidden_states=True)
    diff = max((torch.stack(out.hidden_states[:layers], 1) - states).abs().max().item(), (out.last_hidden_state - last).abs().max().item())
    print(name, "differs from transformers by", diff, "of", states.abs().max().item())
    assert diff < 3e-5 * states.abs().max().item()
    if not save:
        return
    result = {"tokens": tokens.int(), "mask": mask.float(), "states": states.movedim(1, 0), "raw": raw, "last": last, "unmasked": free}
    for k, v in net.state_dict().items():
        result["model." + k] = v.half()
    save_file({k: v.contiguous() for k, v in result.items()}, os.path.join(here, "llm_" + name + ".safetensors"))


def rope(theta):
    return {"rope_type": "default", "rope_theta": theta}


def gemma2(shape):
    return tf.Gemma2Config(**shape, rms_norm_eps=1e-6, query_pre_attn_scalar=256, attn_logit_softcapping=None, rope_parameters=rope(1e4))


def gemma3(shape):
    kinds = ["sliding_attention"] * 5 + ["full_attention"]
    return tf.Gemma3TextConfig(**shape, rms_norm_eps=1e-6, query_pre_attn_scalar=256, sliding_window=9, layer_types=kinds, attn_logit_softcapping=None, rope_parameters={
        "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6}, "sliding_attention": rope(1e4)})


def standard(config, **fields):
    return lambda shape: config(**shape, **fields)


model("qwen3", 1, shrink(llama.Qwen3_4BConfig, 2), tf.Qwen3Model, standard(tf.Qwen3Config, rms_norm_eps=1e-6, rope_parameters=rope(1e6)))
model("qwen25", 2, shrink(llama.Qwen25_7BVLI_Config, 2), tf.Qwen2Model, standard(tf.Qwen2Config, rms_norm_eps=1e-6, rope_parameters=rope(1e6)))
model("qwen25_vl", 2, shrink(llama.Qwen25_7BVLI_Config, 2, 256), tf.Qwen2_5_VLTextModel, standard(tf.Qwen2_5_VLTextConfig, rms_norm_eps=1e-6,
      rope_parameters={"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]}), save=False)
model("mistral", 3, shrink(llama.Mistral3Small24BConfig, 2), tf.MistralModel, standard(tf.MistralConfig, sliding_window=None, rms_norm_eps=1e-5, rope_parameters=rope(1e9)))
model("llama", 4, shrink(llama.Llama2Config, 4), tf.LlamaModel, standard(tf.LlamaConfig, rms_norm_eps=1e-5, rope_parameters=rope(5e5)))
model("gemma2", 5, shrink(llama.Gemma2_2B_Config, 2), tf.Gemma2Model, gemma2)
model("gemma3", 6, shrink(llama.Gemma3_12B_Config, 2, layers=6, sliding_attention=[9, 9, 9, 9, 9, False]), tf.Gemma3TextModel, gemma3)
