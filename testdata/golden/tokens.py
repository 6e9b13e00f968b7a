"""Tokens of many texts from the tokenizers that ComfyUI uses, and of weighted prompts from its tokenizers of families.

    python testdata/golden/tokens.py COMFYUI
    made: tokens.json.gz

COMFYUI is a checkout of ComfyUI. "t5" is its t5_tokenizer/tokenizer.json in the library tokenizers, "qwen" its
qwen25_tokenizer in transformers, "tekken" its own bpe_tokenizer.py with a vocabulary that is trained here, and each of
MODELS is sentencepiece 0.2.3 with a model that is trained here. Each has the ids of the texts in TEXTS, or of every fourth
one. Tables of replacements, which models share, are beside them.
"""

import base64
import gzip
import io
import json
import logging
import os
import random
import sys
import tempfile
import unicodedata

here = os.path.dirname(os.path.abspath(__file__))
comfy_dir = sys.argv[1]
sys.path.insert(0, comfy_dir)
sys.argv = sys.argv[:1]
from comfy.cli_args import args

args.cpu = True
import sentencepiece
import torch
from safetensors.torch import save_file
from sentencepiece import sentencepiece_model_pb2 as pb
from tokenizers import Tokenizer, pre_tokenizers, trainers
from tokenizers.models import BPE
from tokenizers.normalizers import NFC
from transformers import Qwen2Tokenizer

import comfy.text_encoders.flux as flux
import comfy.text_encoders.lt as lt
import comfy.text_encoders.pixart_t5 as pixart
import comfy.text_encoders.qwen_image as qwen_image
import comfy.text_encoders.sd3_clip as sd3
import comfy.text_encoders.wan as wan
import comfy.text_encoders.z_image as z_image
from comfy.text_encoders.bpe_tokenizer import from_tekken_json
from comfy.text_encoders.spiece_tokenizer import SPieceTokenizer

logging.disable(logging.CRITICAL)
encoders = os.path.join(comfy_dir, "comfy", "text_encoders")

BLOCKS = [
    (0x20, 0x7F), (0xA0, 0x100), (0x100, 0x250), (0x250, 0x2B0), (0x2B0, 0x300), (0x370, 0x400), (0x400, 0x530), (0x531, 0x590), (0x591, 0x5F5), (0x600, 0x700), (0x700, 0x750),
    (0x780, 0x7B2), (0x900, 0x980), (0x980, 0xA00), (0xA01, 0xA77), (0xB80, 0xC00), (0xC00, 0xC80), (0xD00, 0xD80), (0xE01, 0xE5C), (0xE81, 0xEE0), (0xF00, 0xFDB), (0x1000, 0x10A0),
    (0x10A0, 0x1100), (0x1100, 0x1200), (0x1200, 0x1380), (0x13A0, 0x13FE), (0x1780, 0x17FA), (0x1E00, 0x2000), (0x2000, 0x2070), (0x2070, 0x20A0), (0x20A0, 0x20C1), (0x2100, 0x2190), (0x2190, 0x2300), (0x2460, 0x2600),
    (0x2600, 0x27C0), (0x3000, 0x3040), (0x3041, 0x3100), (0x3130, 0x3190), (0x3200, 0x3400), (0x4E00, 0x9FA6), (0xAC00, 0xD7A4), (0xF900, 0xFA6E), (0xFB00, 0xFB50), (0xFB50, 0xFE00), (0xFE10, 0xFE70), (0xFF01, 0xFFEF),
    (0x10330, 0x1034B), (0x12000, 0x1236F), (0x13000, 0x1342F), (0x1D400, 0x1D800), (0x1F300, 0x1F650), (0x1F680, 0x1F6D0), (0x20000, 0x2A6D7),
]
PIECES = [
    " ", "  ", "   ", "\t", "\n", "\r\n", "\n\n", "\r", "\v", "\f", "\x85", "\u00a0", "\u1680", "\u2002", "\u2003", "\u2009", "\u200a", "\u200b", "\u200c", "\u200d", "\u2028", "\u2029", "\u202f", "\u205f", "\u3000", "\u2060", "\ufeff", "\u00ad",
    "\x00", "\x01", "\x07", "\x1b", "\x1c", "\x1f", "\x7f", "\x80", "\x9f", "\u200e", "\u202e", "\ufffd", "\uffff", "\ue000", "\U000e0041", "\ufe0f", "\ufe0e",
    "👨‍👩‍👧‍👦", "👍🏽", "🏳️‍🌈", "🇩🇪", "🇯🇵🇫🇷", "❤️", "1️⃣", "🧑🏿‍🚀", "😀", "🫠", "☺", "e\u0301", "n\u0303", "o\u0308\u0304", "z" + "\u0316" * 8, "\u0301", "각", "\u1100\u1161\u11a8", "क्षि", "நி", "ﷺ", "ﬁ", "ſ", "İ", "ẞ", "Å", "Ω", "K", "½", "①", "㍿", "㌀", "Ⅷ", "²", "ＡＢＣ", "ｶﾞ", "▁", "▁▁", "▁a",
    "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|image_pad|>", "<|vision_start|>", "<think>", "</think>", "<tool_call>", "<|im_start", "im_end|>", "<extra_id_0>", "<extra_id_12>", "<extra_id_100>", "</s>", "<s>", "<pad>", "<unk>", "＜pad＞", "[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]",
    "<start_of_turn>", "<end_of_turn>", "<image_soft_token>", "<0x0A>", "<custom>", "it's", "IT'S", "we'LL", "I'm", "they've", "don't", "'s", "'S", "'ſ", "'re'", "''", "o'clock", "'d've", "’s", "1", "12", "123", "1234", "12345678", "3.14", "1,000,000", "٣٤٥", "५६", "1st", "v2.0", "!", "...", "?!", "--", "—", "(", ")", "(word:1.2)", "{}", "[]", "\\", "/", "_", "$%&", "\"", "“”", "¿", "、", "。", "：", "a", "A", "cat", "Cat", "photograph",
    "masterpiece, best quality", "A cinematic photo of an astronaut riding a horse on Mars.", "naïve façade", "Übergröße", "Привет, мир", "日本語のテキスト", "中文提示词", "한국어 문장", "مرحبا بالعالم", "שלום", "สวัสดีชาวโลก", "नमस्ते दुनिया", "Γειά σου", "https://example.com/?q=a&b=c#d", "def f(x):\n    return x", "snake_case", "CamelCase", "x" * 40, "aaaaaaaa", "ababababab", "-" * 30, " " * 20,
]
FIXED = [
    "", " ", "  ", "\n", "\x00", "a", " a", "a ", " a ", "  a  b  ", "a\n\n\nb", "\u3000a\u3000", "▁", "▁▁", " ▁ ", "é", "e\u0301", "\u0301", "<pad>", " <pad> ", "<pad>a", "a<pad>b", "<pad> a", "</s></s>", "<extra_id_0> x <extra_id_1>", "<|im_start|>user\nA cat.<|im_end|>\n<|im_start|>assistant\n",
    "[SYSTEM_PROMPT]You are.[/SYSTEM_PROMPT][INST]A cat[/INST]", "<start_of_turn>user\nhi<end_of_turn>\n", "z" + "\u0316" * 40, "a" * 500, "日" * 200, "👍" * 50, "<" * 60, "[" * 60, " " * 100 + "x", "\n" * 40, "0" * 50, "a" + " " * 33 + "b", "a b" * 60,
]


def character(rng, block):
    while True:
        c = chr(rng.randrange(*block))
        if unicodedata.category(c) not in ("Cn", "Cs", "Co"):
            return c


def texts():
    rng = random.Random(41)
    out = list(FIXED)
    for block in BLOCKS:
        for _ in range(12):
            out.append("".join(" " if rng.random() < 0.15 else character(rng, block) for _ in range(rng.randint(1, 40))))
    while len(out) < 1500:
        out.append("".join(rng.choice(PIECES) for _ in range(rng.randint(1, 14))))
    while len(out) < 2000:
        out.append("".join(rng.choice(PIECES) if rng.random() < 0.6 else character(rng, rng.choice(BLOCKS)) for _ in range(rng.randint(1, 30))))
    return out


TEXTS = texts()

# Settings of sentencepiece's trainer, like those of UMT5, of Gemma and of what else there is.
MODELS = {
    "umt5": dict(model_type="unigram", vocab_size=3000, byte_fallback=True, character_coverage=0.98, normalization_rule_name="nmt_nfkc", pad_id=0, eos_id=1, unk_id=2, bos_id=-1, user_defined_symbols=["<custom>"]),
    "gemma": dict(model_type="bpe", vocab_size=1800, byte_fallback=True, character_coverage=0.98, normalization_rule_name="identity", add_dummy_prefix=False, remove_extra_whitespaces=False, split_digits=True, pad_id=0, eos_id=1, bos_id=2, unk_id=3,
                  user_defined_symbols=["<start_of_turn>", "\n", "\n\n", "\n\n\n", "▁▁", "▁▁▁", "▁▁▁▁", "<custom>", "<b>", "</b>"]),
    "unknown": dict(model_type="unigram", vocab_size=2500, character_coverage=0.98, normalization_rule_name="nfkc_cf", remove_extra_whitespaces=False),
    "suffix": dict(model_type="unigram", vocab_size=2500, character_coverage=0.98, normalization_rule_name="nfkc_cf", treat_whitespace_as_suffix=True),
    "bpe": dict(model_type="bpe", vocab_size=1800, character_coverage=0.98, normalization_rule_name="nmt_nfkc", allow_whitespace_only_pieces=True),
    "unused_unigram": dict(model_type="unigram", vocab_size=2500, byte_fallback=True, character_coverage=0.98, normalization_rule_name="nmt_nfkc"),
    "unused_bpe": dict(model_type="bpe", vocab_size=1800, byte_fallback=True, character_coverage=0.98, normalization_rule_name="identity"),
}


def train(name, settings):
    """Returns the bytes of a model. In those whose names say so, every seventh piece is unused."""
    out = io.BytesIO()
    # Of the other texts some characters are unknown.
    corpus = [t for t in PIECES + TEXTS[::3] if t.strip() and "\x00" not in t and max(t) < "\u0700"] + PIECES
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(corpus), model_writer=out, num_threads=1, minloglevel=2, hard_vocab_limit=settings["model_type"] == "bpe", **settings)
    m = pb.ModelProto()
    m.ParseFromString(out.getvalue())
    for i, p in enumerate(m.pieces):
        if name.startswith("unused") and p.type == 1 and i % 7 == 0 and len(p.piece) > 1:
            p.type = 5
    return m.SerializeToString()


def train_tekken():
    """Returns a small tekken.json, and one for a part of whose vocabulary there is no room."""
    t = Tokenizer(BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.train_from_iterator([x for x in TEXTS if "\x00" not in x], trainers.BpeTrainer(vocab_size=3000, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    runes = {r: b for b, r in bytes_to_runes().items()}
    tokens = [bytes(runes[c] for c in piece) for piece, _ in sorted(t.get_vocab().items(), key=lambda x: x[1])]
    rng = random.Random(5)
    # Pieces out of order, as a vocabulary of ranks may have them: longer ones may come before what they are made of.
    tail = tokens[256:]
    for i in range(0, len(tail) - 8, 8):
        part = tail[i : i + 8]
        rng.shuffle(part)
        tail[i : i + 8] = part
    tokens = tokens[:256] + tail
    special = ["<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[IMG]", "<pad>"]
    return json.dumps(
        {
            "config": {"pattern": "unused", "num_vocab_tokens": len(tokens), "default_vocab_size": len(tokens) - 100 + 20, "default_num_special_tokens": 20, "version": "v11"},
            "vocab": [{"rank": i, "token_bytes": base64.b64encode(b).decode(), "token_str": None} for i, b in enumerate(tokens)],
            "special_tokens": [{"rank": i, "token_str": s, "is_control": True} for i, s in enumerate(special)],
        }
    ).encode()


def ties():
    """Returns small vocabularies of a and b in any order, among whose pieces there are ties, with texts and their ids."""
    rng, out = random.Random(47), []
    for i in range(60):
        pieces = sorted({"".join(rng.choice("ab") for _ in range(rng.randint(2, 4))) for _ in range(rng.randint(3, 9))})
        rng.shuffle(pieces)
        texts = ["".join(rng.choice("ab") for _ in range(rng.randint(3, 16))) for _ in range(20)]
        if i % 3 == 0:
            tokens = [bytes([b]) for b in range(256)] + [p.encode() for p in pieces]
            vocabulary = json.dumps(
                {
                    "config": {"default_vocab_size": len(tokens) + 1, "default_num_special_tokens": 1},
                    "vocab": [{"rank": i, "token_bytes": base64.b64encode(t).decode()} for i, t in enumerate(tokens)],
                    "special_tokens": [{"rank": 0, "token_str": "<s>"}],
                }
            ).encode()
            ids = [from_tekken_json(vocabulary)(t)["input_ids"] for t in texts]
        else:
            m = pb.ModelProto()
            m.pieces.add(piece="<unk>", type=2)
            for p in ["▁", "a", "b"] + pieces:
                m.pieces.add(piece=p, score=-rng.randint(1, 4) / 2, type=rng.choice([1, 1, 1, 1, 4, 5]) if len(p) > 2 else 1)
            m.trainer_spec.model_type = i % 3
            vocabulary = m.SerializeToString()
            s = SPieceTokenizer(vocabulary, add_eos=False)
            ids = [s(t)["input_ids"] for t in texts]
        out.append({"kind": ["tekken", "unigram", "bpe"][i % 3], "vocabulary": base64.b64encode(vocabulary).decode(), "texts": texts, "ids": ids})
    return out


def marks():
    """Returns the first and the last of each run of marks that the library's NFC moves before U+0345."""
    nfc, out = NFC(), []
    for c in range(0x110000):
        if 0xD800 <= c < 0xE000 or nfc.normalize_str("q\u0345" + chr(c)).endswith(chr(c)):
            continue
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def bytes_to_runes():
    from comfy.text_encoders.bpe_tokenizer import _bytes_to_unicode

    return _bytes_to_unicode()


class FromJSON:
    """T5's tokenizer.json as it is: newer versions of transformers make another tokenizer of it."""

    @staticmethod
    def from_pretrained(path, **kwargs):
        return FromJSON(path)

    def __init__(self, path):
        self.tokenizer = Tokenizer.from_file(os.path.join(path, "tokenizer.json"))

    def __call__(self, text):
        return {"input_ids": self.tokenizer.encode(text).ids}

    def get_vocab(self):
        return self.tokenizer.get_vocab()


WEIGHTED = [
    "", " ", "a cat", "(a cat:1.2) on (a mat)", "((deep)) (nested (words:0.5):1.5)", "a (b) c", "(a)(b)", "( a )", "\\(plain\\)", "(esc\\)aped:1.3)", "a\\(b", "(a:1.0)", "x (y:-1) z", "(:1.2)", "()", "a  b (c  d:1.1)", "trailing (space :1.2) ", "(日本:1.3)語", "(a\nb:1.2)\nc",
    "embedding:one", "a embedding:one b", "(embedding:one:1.2) x", "a embedding:none b", "embedding:none, a", "a\nembedding:one\nb", "embedding:three<|im_end|>", "embedding:one[/INST]", "x embedding:one, y", "word " * 150, "(word:1.1) " * 60, "{}", "a {} b", "{0}", "%s", "<|im_start|>user\nown template<|im_end|>\n", "<|start_header_id|>x",
    "<|im_start|>system\nx<|im_end|>\n<|im_start|>user\n(y:1.2)", "[INST]x[/INST]", "<end_of_turn>", "a <end_of_turn> b", "<start_of_turn>user\nx<end_of_turn>\n", "</s> x", "(</s>:1.2)", "<extra_id_0> (a:1.3)",
]
PARTS = ["(", "(", ")", ")", ":1.2)", ":0.5)", ":", "\\(", "\\)", " ", " ", "  ", "\n", ",", "a", "cat", "dog house", "é", "日本語", "👍🏽", "masterpiece, best quality", " embedding:one", "\nembedding:three", " embedding:none", "embedding:", "<|im_end|>", "[INST]", "<end_of_turn>", "</s>", "12345", "it's"]


def prompts():
    rng = random.Random(43)
    return WEIGHTED + ["".join(rng.choice(PARTS) for _ in range(rng.randint(1, 20))) for _ in range(300 - len(WEIGHTED))]


def runs(batches):
    """A prompt's tokens as [token, weight, how many in a row], a vector as minus its number less 1."""
    assert len(batches) == 1
    out = []
    for token, w in batches[0]:
        token = int(token) if not torch.is_tensor(token) else -1 - int(token[0])
        if out and out[-1][:2] == [token, w]:
            out[-1][2] += 1
        else:
            out.append([token, w, 1])
    return out


def weighted(folder, tekken, spiece):
    t5_modules = [flux, sd3, pixart]
    for m in t5_modules:
        m.T5TokenizerFast = FromJSON
    data = {"tekken_model": torch.frombuffer(bytearray(tekken), dtype=torch.uint8)}
    umt5 = {"spiece_model": torch.frombuffer(bytearray(spiece["umt5"]), dtype=torch.uint8)}
    gemma = {"spiece_model": torch.frombuffer(bytearray(spiece["gemma"]), dtype=torch.uint8)}
    made = {
        "flux": flux.T5XXLTokenizer(embedding_directory=folder),
        "sd3": sd3.T5XXLTokenizer(embedding_directory=folder),
        "chroma": pixart.PixArtTokenizer(embedding_directory=folder),
        "wan": wan.WanT5Tokenizer(embedding_directory=folder, tokenizer_data=umt5),
        "z_image": z_image.ZImageTokenizer(embedding_directory=folder),
        "klein": flux.KleinTokenizer(embedding_directory=folder),
        "flux2": flux.Flux2Tokenizer(embedding_directory=folder, tokenizer_data=data),
        "qwen_image": qwen_image.QwenImageTokenizer(embedding_directory=folder),
        "ltx2": lt.LTXAVGemmaTokenizer(embedding_directory=folder, tokenizer_data=gemma),
    }
    out = {name: [] for name in made}
    for prompt in prompts():
        for name, t in made.items():
            try:
                tokens = t.tokenize_with_weights(prompt)
            except IndexError:  # "embedding:" without a name
                out[name].append(None)
                continue
            out[name].append(runs(tokens if isinstance(tokens, list) else next(iter(tokens.values()))))
    return out


def main():
    t5 = Tokenizer.from_file(os.path.join(encoders, "t5_tokenizer", "tokenizer.json"))
    qwen = Qwen2Tokenizer.from_pretrained(os.path.join(encoders, "qwen25_tokenizer"))
    tekken = train_tekken()
    small = from_tekken_json(tekken)
    ids = {
        "t5": [t5.encode(t).ids[:-1] for t in TEXTS],
        "qwen": [qwen(t)["input_ids"] for t in TEXTS],
        "tekken": [small(t)["input_ids"] for t in TEXTS],
    }
    spiece = {name: train(name, settings) for name, settings in MODELS.items()}
    models, charsmaps = {}, {}
    for name, model in spiece.items():
        m = pb.ModelProto()
        m.ParseFromString(model)
        rule = MODELS[name]["normalization_rule_name"]
        charsmaps[rule] = base64.b64encode(m.normalizer_spec.precompiled_charsmap).decode()
        m.normalizer_spec.ClearField("precompiled_charsmap")
        models[name] = {"rule": rule, "model": base64.b64encode(m.SerializeToString()).decode()}
    for name, model in spiece.items():
        s = SPieceTokenizer(model, add_eos=False)
        step = 1 if name == "umt5" else 4
        ids[name] = [s(t)["input_ids"] for t in TEXTS[::step]]
    with tempfile.TemporaryDirectory() as folder:
        for i, (name, rows) in enumerate({"one": 1, "three": 3}.items()):
            save_file({"emb": (10.0 * i + torch.arange(rows)).reshape(rows, 1).repeat(1, 2)}, os.path.join(folder, name + ".safetensors"))
        w = weighted(folder, tekken, spiece)
    out = {
        "texts": TEXTS, "ids": ids, "tekken": base64.b64encode(tekken).decode(), "models": models, "charsmaps": charsmaps,
        "prompts": prompts(), "weighted": w, "marks": marks(), "ties": ties(),
    }
    with open(os.path.join(here, "tokens.json.gz"), "wb") as f:
        f.write(gzip.compress(json.dumps(out, separators=(",", ":")).encode(), 9, mtime=0))


main()
