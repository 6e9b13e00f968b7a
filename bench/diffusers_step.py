"""Times a step of Stable Diffusion 1.5's UNet in diffusers, with random weights:
two latents of 64×64 and texts of 77 tokens, as one step of classifier-free
guidance at 512×512. For comparison with "weir bench step":

    weir bench synth sd15
    weir bench step --checkpoint sd15-synth.safetensors --against "python bench/diffusers_step.py"
"""

import argparse
import statistics
import time

import torch
from diffusers import UNet2DConditionModel

p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
p.add_argument("--steps", type=int, default=3)
p.add_argument("--threads", type=int, default=0, help="0 for all cores")
p.add_argument("--dtype", default="float32")
args = p.parse_args()
if args.threads:
    torch.set_num_threads(args.threads)
dtype = getattr(torch, args.dtype)
torch.manual_seed(1)
unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8).to(dtype).eval()
x, context = torch.randn(2, 4, 64, 64, dtype=dtype), torch.randn(2, 77, 768, dtype=dtype)
times = []
with torch.inference_mode():
    for i in range(args.steps + 1):
        start = time.time()
        unet(x, 500, context)
        if i > 0:
            times.append(time.time() - start)
print(f"seconds_per_step {statistics.median(times):.3f}")
