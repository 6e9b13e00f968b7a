"""Segments and chunks of prompts with weights and textual inversion embeddings, from ComfyUI.

    python testdata/golden/prompts.py COMFYUI
    made: prompts.json

COMFYUI is a checkout of ComfyUI, whose SDTokenizer runs. A chunk is a list of [token, weight, how many in a row]; a
vector of an embedding is "v" and its number: 100 times the embedding's place in EMBEDDINGS and its row. Weights that are
not finite are texts. "g" are the chunks of an encoder that is filled up with zeros.
"""

import json
import logging
import os
import random
import sys
import tempfile

sys.path.insert(0, sys.argv[1])
sys.argv = sys.argv[:1]
from comfy.cli_args import args

args.cpu = True
import torch
from comfy import sd1_clip
from safetensors.torch import save_file

logging.disable(logging.CRITICAL)
here = os.path.dirname(os.path.abspath(__file__))
EMBEDDINGS = {"one": 1, "three": 3, "eight": 8, "long": 80, "a,b": 2, "é": 1, "bad-hands-5": 2, "seven": 7}
WEIGHTS = [
    "1.2", "1", "0", "-1.5", "+2", " 1.2 ", "\t1.2\n", "1_0", "1__0", "_1", "1_", "1_.5", "1._5", "1.5_5", "1e1", "1e+1_0", "1E-2", "1e", "e1", ".5", "5.", ".", "+", "", " ",
    "0x1p3", "0x10", "0b1", "0o7", "inf", "-inf", "+Infinity", "INF", "nan", "-NaN", "infinit", "1e400", "-1e400", "1e-400", "1,5", "1.2.3", "1 2", "1.2f", "1d2",
    "\u0661.\u0662", "\uff11.\uff12", "\U0001d7d9", "\u00b2", "\u2167", "\u00a01.5\u2003", "1.5\u0085", "\x1c1.5", "1.5\x1f", "\u200b1.5", "1.5\x00", "--1", "1.2e5e", "\u22121", "1\u0661", "\u0661_\u0662",
    "0.1", "1.0000000001", "123456789012345678901234567890", "007", "1.1000000000000000888",
]
PROMPTS = [
    "", " ", "()", "(())", "((()))", "(", ")", ")(", "(()", "())", "((a)", "(((a)", "((((a) b)", "(a (b (c)", "(a:1.2", "a:1.2)", "((a:1.2)", "(((a:1.2):1.3)", "((a:1.2) (b:1.3)", ") (a)", ")) ((a)) (b)", "(a) ) (b:2) (c)", ")((a)",
    "(:1.2)", "(::1.2)", "(a::1.2)", "(a:1.2:1.3)", "(a:b:1.3)", "(a(b):1.2)", "(a:1.2(b))", "(a:(1.2))", "(a:1.2 )", "( a :1.2)", "(a\n:1.2)", "((((((((((a))))))))))",
    "\\(a\\)", "\\\\(a)", "(a\\:1.2)", "(a:1.2\\)", "\\(a:1.2)", "(\\(a\\):1.2)", "(a\\)", "\\", "\\(", "(\\()", "(a:\\)1.2)", "\x00\x01a\x00\x02", "(a\x00:1.2)", "\x00\x01", "(\x00\x02:1.5)",
    "(" * 200 + "a" + ")" * 200, "(" * 400 + "a" + ")" * 399, "(" * 300 + "a:1.5" + ")" * 300, "[a] {b} <c>", "(a:1.5)(b:1.5)", "(a:1.5)b(c:0.5)",
    "embedding:one", "a embedding:one b", "(embedding:one:1.2)", "(a embedding:three, b:1.2)", "embedding:none", "embedding:none, a cat", "a embedding:none b", "embedding:one,", "embedding:one, a", "embedding:one,, a",
    ",embedding:one", "embedding:,one", "embedding:,,one,", "embedding:,none", "embedding:a,b", "embedding:a,b,", "embedding:é", "embedding:é, x", "embedding:,é", "embedding:,é,y", "embedding:one embedding:three", "embedding:one\nembedding:three",
    "embedding:one\tembedding:three", "embedding:oneembedding:three", "aembedding:one", "a,embedding:one", "(embedding:one)", "((embedding:one))", "embedding:one:1.2", "Embedding:one", "EMBEDDING:one", "embedding: one", "embedding:  one two",
    "embedding:one\n", "embedding:\none", "embedding:one\n\nb", "embedding:one\u00a0b", "embedding:one\x1cb", "embedding:bad-hands-5", "embedding:one.safetensors", "embedding:one.pt", "embedding:ONE", "embedding:long", "embedding:long embedding:long",
    "embedding:eight " * 9, "embedding:seven " * 11, "cat " * 72 + "embedding:three b", "cat " * 70 + "embedding:seven b", "cat " * 70 + "embedding:eight b", "cat " * 74 + "(embedding:one:1.3) b", "cat " * 75 + "embedding:one b", "cat " * 74 + "embedding:one embedding:one",
    "(" + "cat " * 100 + ":1.3)", "cat " * 150, "(cat:1.1) " * 80, "<|endoftext|> a", "a <|startoftext|> b <|endoftext|> embedding:one c", "\\(embedding:one\\)", "(embedding:one\\)", "embedding:(one)", "embedding:(one:1.2)", "embedding:../one", "embedding:/one",
    "embedding:one<|endoftext|> b", "embedding:one<|endoftext|>", "a embedding:one[x] c d", "embedding:<one>", "embedding:one,<x> y", "embedding:,one<x>", "embedding:none<x>", "embedding:one[[<", "a\u3000embedding:one\x1fembedding:three", "a\u200bembedding:one",
]
PIECES = [
    "(", "(", ")", ")", ":", ":", "\\(", "\\)", "\\", " ", " ", "\n", ",", "a", "cat", "dog house", "1.2", "1.2)", ":1.3)", ":0.5)", " embedding:one", "embedding:three", " embedding:none", " embedding:eight", "\nembedding:one", "embedding:", "one", ",", "\x00", "\x01",
    "é", "masterpiece, best quality", "many words that make a segment of more than eight tokens in all ",
]


def weight(w):
    return w if w == w and abs(w) != float("inf") else str(w)


def chunks(tokenizer, prompt):
    try:
        batches = tokenizer.tokenize_with_weights(prompt)
    except IndexError:  # "embedding:" without a name
        return None
    out = []
    for batch in batches:
        assert len(batch) == 77, prompt
        runs = []
        for token, w in batch:
            token = int(token) if not torch.is_tensor(token) else "v%d" % int(token[0])
            if runs and runs[-1][:2] == [token, weight(w)]:
                runs[-1][2] += 1
            else:
                runs.append([token, weight(w), 1])
        out.append(runs)
    return out


def main():
    rng = random.Random(23)
    prompts = PROMPTS + ["(a:%s)" % w for w in WEIGHTS] + ["((a:%s) b:%s)" % (rng.choice(WEIGHTS), rng.choice(WEIGHTS)) for _ in range(40)]
    prompts += ["".join(rng.choice(PIECES) for _ in range(rng.randint(1, 40))) for _ in range(400)]
    out = []
    with tempfile.TemporaryDirectory() as folder:
        for i, (name, rows) in enumerate(EMBEDDINGS.items()):
            save_file({"emb_params": (100.0 * i + torch.arange(rows)).reshape(rows, 1).repeat(1, 2)}, os.path.join(folder, name + ".safetensors"))
        l = sd1_clip.SDTokenizer(embedding_directory=folder)
        g = sd1_clip.SDTokenizer(embedding_directory=folder, pad_with_end=False, embedding_key="clip_g")
        for prompt in prompts:
            segments = sd1_clip.token_weights(sd1_clip.escape_important(prompt), 1.0)
            case = {"prompt": prompt, "segments": [[sd1_clip.unescape_important(t), weight(w)] for t, w in segments], "l": chunks(l, prompt)}
            if len(out) % 10 == 0:
                case["g"] = chunks(g, prompt)
            out.append(case)
    with open(os.path.join(here, "prompts.json"), "w") as f:
        json.dump({"embeddings": EMBEDDINGS, "prompts": out}, f, ensure_ascii=True, separators=(",", ":"))


main()
