"""Tokens from transformers' CLIPTokenizer with the vocabulary of the package.

    python testdata/golden/tokenizer.py
    made: tokenizer.json
"""

import gzip
import json
import os
import tempfile

from transformers import CLIPTokenizer

here = os.path.dirname(os.path.abspath(__file__))
merges_gz = os.path.join(here, "../../tokenizer/clip_merges.txt.gz")

TEXTS = [
    "", "a", "red apple", "A photo of an astronaut riding a horse on Mars.", "it's they're I'll we've don't I'd I'm",
    "numbers 1234567890 and 3.14159, 50% off!!!", "  leading,   many\t\tspaces\nand newlines  ", "émile zola à la plage, naïve façade",
    "Straße GROSS ẞ İstanbul", "日本語のテキスト 漢字 한국어", "😀 emoji 👍🏽 family 👨‍👩‍👧", "<|startoftext|>inside<|endoftext|>", "snake_case-and-dashes/slashes\\back",
    "e\u0301 decomposed", "masterpiece, best quality, 1girl, solo, (looking at viewer:1.2)", "a" * 300, "\u00a0non\u2003breaking\u3000space",
    "½ ² ⅷ Ⅷ ①", "don’t “quote” — dash …", "'s 't alone ' s", "\x00\x01control\x7f", "https://example.com/?q=a&b=c", "z" + "\u0316" * 40 + "a" + "\u0301" * 35 + "l", "a\u034fb",
]

def vocabulary(folder):
    """Writes vocab.json and merges.txt as transformers wants them."""
    lines = gzip.open(merges_gz, "rt", encoding="utf-8").read().split("\n")[1 : 49152 - 256 - 2 + 1]
    printable = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    runes = [chr(b) for b in printable] + [chr(256 + n) for n in range(256 - len(printable))]
    tokens = runes + [r + "</w>" for r in runes] + ["".join(l.split()) for l in lines]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    with open(os.path.join(folder, "vocab.json"), "w") as f:
        json.dump({t: i for i, t in enumerate(tokens)}, f)
    with open(os.path.join(folder, "merges.txt"), "w") as f:
        f.write("#version: 0.2\n" + "\n".join(lines) + "\n")


def main():
    with tempfile.TemporaryDirectory() as folder:
        vocabulary(folder)
        tok = CLIPTokenizer(os.path.join(folder, "vocab.json"), os.path.join(folder, "merges.txt"))
        tokens = [{"text": t, "ids": tok(t)["input_ids"][1:-1]} for t in TEXTS]
    with open(os.path.join(here, "tokenizer.json"), "w") as f:
        json.dump({"tokens": tokens}, f, indent=0, ensure_ascii=True)


main()
