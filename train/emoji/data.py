"""The Noto emoji of the npm package emoji-datasource-google, with names from
its emoji.json and more words from the npm package emojilib."""

import json
import os
import re

import numpy as np
import torch
from PIL import Image

CATEGORIES = ("Animals & Nature", "Food & Drink")


class Emoji:
    def __init__(self, name, words, pixels):
        self.name, self.words, self.pixels = name, words, pixels


def load(modules):
    """Returns the emoji of CATEGORIES from a node_modules folder, on white,
    pixels[3,64,64] in -1..1, in the order of emoji.json's sort_order."""
    root = os.path.join(modules, "emoji-datasource-google")
    entries = json.load(open(os.path.join(root, "emoji.json")))
    words = json.load(open(os.path.join(modules, "emojilib", "dist", "emoji-en-US.json")))
    emoji = []
    for e in sorted(entries, key=lambda e: e["sort_order"]):
        if e["category"] not in CATEGORIES or not e["has_img_google"]:
            continue
        character = "".join(chr(int(c, 16)) for c in e["unified"].split("-"))
        picture = Image.open(os.path.join(root, "img", "google", "64", e["image"])).convert("RGBA")
        white = Image.new("RGBA", picture.size, (255, 255, 255, 255))
        rgb = np.asarray(Image.alpha_composite(white, picture).convert("RGB"), dtype=np.float32)
        # The picture's edges are cut off in a few sizes: 64 pixels are expected.
        assert rgb.shape == (64, 64, 3), (e["image"], rgb.shape)
        more = [w.replace("_", " ") for w in words.get(character, []) + e["short_names"]]
        emoji.append(Emoji(clean(e["name"]), more, torch.from_numpy(rgb.copy()).permute(2, 0, 1) / 127.5 - 1))
    return emoji


def clean(name):
    """Names of newer emoji are in capitals: "RED APPLE"."""
    return re.sub(r"\s+", " ", name.lower().replace("-", " ").replace("_", " ")).strip()


class Tokenizer:
    """CLIP's byte pair encoding (Radford et al. 2021), from the vocabulary
    that the PyPI package open_clip_torch carries; padded with the end token."""

    START, END = 49406, 49407

    def __init__(self):
        import open_clip

        self.inner = open_clip.tokenizer.SimpleTokenizer()
        self.known = {}

    def __call__(self, text, length=77):
        if text not in self.known:
            ids = self.inner.encode(text)[: length - 2]
            ids = [self.START, *ids] + [self.END] * (length - 1 - len(ids))
            self.known[text] = torch.tensor(ids, dtype=torch.long)
        return self.known[text]
