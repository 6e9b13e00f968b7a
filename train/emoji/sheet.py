"""Draws the README's picture: 64 emoji of the training set, by Weir itself.

    go build -o weir ./cmd/weir
    python train/emoji/sheet.py --modules node_modules --weir ./weir --out docs/emoji.png
"""

import argparse
import os
import subprocess
import tempfile

import torch
from PIL import Image

import data

TILE = 96


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--modules", default="node_modules")
    p.add_argument("--weir", default="./weir")
    p.add_argument("--workflow", default="workflows/emoji.json")
    p.add_argument("--out", default="docs/emoji.png")
    args = p.parse_args()
    emoji = data.load(args.modules)
    chosen = torch.linspace(0, len(emoji) - 1, 64).round().long()
    sheet = Image.new("RGB", (8 * TILE, 8 * TILE))
    with tempfile.TemporaryDirectory() as folder:
        for i, k in enumerate(chosen.tolist()):
            subprocess.run([args.weir, "run", args.workflow, "--set", "Prompt.text=" + emoji[k].name, "--set", f"SaveImage.filename_prefix={i}",
                            "--output", folder], check=True, capture_output=True)
            picture = Image.open(os.path.join(folder, f"{i}_00001_.png")).resize((TILE, TILE), Image.LANCZOS)
            sheet.paste(picture, (i % 8 * TILE, i // 8 * TILE))
    sheet.save(args.out, optimize=True)


if __name__ == "__main__":
    main()
