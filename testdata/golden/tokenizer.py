"""Tokens and prompt weights from the reference implementations.

    python testdata/golden/tokenizer.py COMFYUI
    made: tokenizer.json

COMFYUI is a checkout of ComfyUI, whose prompt weight parser is run; the tokens
come from transformers' CLIPTokenizer with the vocabulary of the package.
"""

import gzip
import json
import os
import random
import sys
import tempfile

from transformers import CLIPTokenizer

here = os.path.dirname(os.path.abspath(__file__))
merges_gz = os.path.join(here, "../../tokenizer/clip_merges.txt.gz")

TEXTS = [
    "", "a", "red apple", "A photo of an astronaut riding a horse on Mars.", "it's they're I'll we've don't I'd I'm",
    "numbers 1234567890 and 3.14159, 50% off!!!", "  leading,   many\t\tspaces\nand newlines  ", "émile zola à la plage, naïve façade",
    "Straße GROSS ẞ İstanbul", "日本語のテキスト 漢字 한국어", "😀 emoji 👍🏽 family 👨‍👩‍👧", "<|startoftext|>inside<|endoftext|>", "snake_case-and-dashes/slashes\\back",
    "e\u0301 decomposed", "masterpiece, best quality, 1girl, solo, (looking at viewer:1.2)", "a" * 300, "\u00a0non\u2003breaking\u3000space",
    "½ ² ⅷ Ⅷ ①", "don’t “quote” — dash …", "'s 't alone ' s", "\x00\x01control\x7f", "https://example.com/?q=a&b=c",
]
WEIGHTS = [
    "", "plain", "(up)", "((up up))", "(a:1.3)", "a (b:0.5) c", "(a (b:1.5) c)", "((a:1.2):0.8)", r"\(escaped\) (and \(this\):1.4)",
    "unbalanced (open", "unbalanced) close", ")(", "(a)(b)", "(a:b:1.2)", "(:1.2)", "(a:)", "(a: 1.5 )", "(a:-1)", "()", "(())", "x ) (y) z",
    "(a:1e-1)", "a:1.2", "(deep (deeper (deepest)))", "((two) words (here:2))", "(a,\n b:1.25)",
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


def main(comfyui):
    namespace = {}
    source = open(os.path.join(comfyui, "comfy/sd1_clip.py"), encoding="utf-8").read()
    begin = source.index("def parse_parentheses")
    end = source.index("\ndef ", source.index("def unescape_important") + 1) if "\ndef " in source[source.index("def unescape_important") + 1 :] else len(source)
    exec(source[begin:end], namespace)
    rng = random.Random(7)
    prompts = WEIGHTS + ["".join(rng.choice(["(", ")", "a", "b ", ":", "1.2", "\\(", ",", "cat"]) for _ in range(rng.randint(1, 24))) for _ in range(300)]
    weights = []
    for p in prompts:
        parsed = namespace["token_weights"](namespace["escape_important"](p), 1.0)
        weights.append({"prompt": p, "segments": [[namespace["unescape_important"](t), w] for t, w in parsed]})
    with tempfile.TemporaryDirectory() as folder:
        vocabulary(folder)
        tok = CLIPTokenizer(os.path.join(folder, "vocab.json"), os.path.join(folder, "merges.txt"))
        tokens = [{"text": t, "ids": tok(t)["input_ids"][1:-1]} for t in TEXTS]
    with open(os.path.join(here, "tokenizer.json"), "w") as f:
        json.dump({"tokens": tokens, "weights": weights}, f, indent=0, ensure_ascii=True)


main(sys.argv[1])
