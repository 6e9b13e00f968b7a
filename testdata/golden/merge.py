"""DoRA, LoHa, LoKr and differences with random factors, by PEFT and LyCORIS, merged into layers of the tiny UNet of unet_sd15.py.

DoRAs of rows by LyCORIS are not among them: ComfyUI divides by other lengths, see comfy_lora.py.

Tensors are CASE/NAME, as the library names them in a file, and CASE:WEIGHT, which is the merged weight under its original name.

    python testdata/golden/merge.py
    made: merge.safetensors
"""

import peft
import torch
from lycoris.modules.full import FullModule
from lycoris.modules.locon import LoConModule
from lycoris.modules.loha import LohaModule
from lycoris.modules.lokr import LokrModule

import ldm
import unet_sd15

# Matrices that are not square, a 1×1 kernel, and kernels with more inputs than outputs and the other way round.
LINEAR, POINT, FIRST, LAST = "time_embedding.linear_1", "down_blocks.0.attentions.0.proj_in", "conv_in", "conv_out"
LAYERS = [LINEAR, POINT, FIRST, LAST]
g = torch.Generator().manual_seed(71)


def fill(parameters):
    """Random values that float16 holds. What starts as the lengths of a weight stays positive."""
    for name, p in parameters:
        if "scale" in name or "magnitude" in name:
            p.data = (p.data * (0.5 + torch.rand(p.shape, generator=g))).half().float()
        elif name != "scalar":
            p.data = (torch.randn(p.shape, generator=g) * 0.4).half().float()


def effective(layer):
    """The weight that a layer computes with, seen from its results: a pixel gives the kernel, turned around."""
    if isinstance(layer, torch.nn.Linear):
        return (layer(torch.eye(layer.in_features).double()) - layer(torch.zeros(1, layer.in_features).double())).T
    x = torch.zeros(layer.in_channels, layer.in_channels, 5, 5).double()
    x[range(layer.in_channels), range(layer.in_channels), 2, 2] = 1
    y = layer(x) - layer(torch.zeros_like(x[:1]))
    r = layer.kernel_size[0] // 2
    return y[:, :, 2 - r:3 + r, 2 - r:3 + r].flip(2, 3).transpose(0, 1)


def by_lycoris(out, case, make, layers, **options):
    net = unet_sd15.tiny().double()
    names = ldm.unet_names(net)
    for layer in layers:
        name = "lycoris_" + layer.replace(".", "_")
        at = net.get_submodule(layer)
        module = make(name, at, 1.0, **options)
        module.apply_to()
        fill(module.named_parameters())
        state = module.custom_state_dict() or module.state_dict()
        out |= {f"{case}/{name}.{k}": torch.as_tensor(v).float() for k, v in state.items()}
        module.double()
        out[f"{case}:{names[layer + '.weight']}"] = effective(at).float()
        if "diff_b" in state:
            zero = torch.zeros(1, at.in_features) if isinstance(at, torch.nn.Linear) else torch.zeros(1, at.in_channels, 1, 1)
            out[f"{case}:{names[layer + '.bias']}"] = at(zero.double()).flatten().float()


def by_peft(out, case, config):
    net = unet_sd15.tiny()
    names = ldm.unet_names(net)
    model = peft.get_peft_model(net, config)
    layers = config.target_modules
    fill((n, p) for n, p in model.named_parameters() if p.requires_grad)
    state = peft.get_peft_model_state_dict(model)
    merged = model.merge_and_unload().state_dict()
    out |= {f"{case}/{k}": v for k, v in state.items()}
    out |= {f"{case}:{names[layer + '.weight']}": merged[layer + ".weight"] for layer in layers}


@torch.no_grad()
def main():
    out = {}
    plain = {"lora_dim": 5, "alpha": 3.0}
    by_lycoris(out, "dora of columns", LoConModule, LAYERS, weight_decompose=True, wd_on_out=False, **plain)
    by_lycoris(out, "loha", LohaModule, LAYERS, **plain)
    by_lycoris(out, "loha in three", LohaModule, [FIRST, LAST], use_tucker=True, **plain)
    by_lycoris(out, "loha and dora of columns", LohaModule, [LINEAR, FIRST], weight_decompose=True, wd_on_out=False, **plain)
    by_lycoris(out, "lokr", LokrModule, LAYERS, factor=4, **(plain | {"lora_dim": 2}))
    by_lycoris(out, "lokr of whole factors", LokrModule, LAYERS, factor=4, full_matrix=True, **plain)
    by_lycoris(out, "lokr of products", LokrModule, [LINEAR, POINT], factor=8, decompose_both=True, **(plain | {"lora_dim": 1}))
    by_lycoris(out, "lokr in three", LokrModule, [FIRST, LAST], factor=2, use_tucker=True, **(plain | {"lora_dim": 2}))
    by_lycoris(out, "lokr and dora of columns", LokrModule, [LINEAR, FIRST], factor=4, weight_decompose=True, wd_on_out=False, **(plain | {"lora_dim": 2}))
    by_lycoris(out, "difference", FullModule, LAYERS)
    by_peft(out, "dora of PEFT", peft.LoraConfig(r=3, lora_alpha=3, use_dora=True, target_modules=LAYERS))
    by_peft(out, "loha of PEFT", peft.LoHaConfig(r=3, alpha=3, target_modules=LAYERS))
    by_peft(out, "loha of PEFT in three", peft.LoHaConfig(r=3, alpha=3, use_effective_conv2d=True, target_modules=[FIRST, LAST]))
    by_peft(out, "lokr of PEFT", peft.LoKrConfig(r=2, alpha=2, decompose_factor=4, target_modules=LAYERS))
    by_peft(out, "lokr of PEFT in three", peft.LoKrConfig(r=2, alpha=2, decompose_factor=2, use_effective_conv2d=True, decompose_both=True, target_modules=[FIRST, LAST]))
    ldm.save("merge", {}, out)


if __name__ == "__main__":
    main()
