"""Folders that ComfyUI adds for documents in the format of extra_model_paths.yaml.

    python testdata/golden/folders.py COMFYUI
    made: folders.json

COMFYUI is a checkout of ComfyUI, whose loader runs with PyYAML. Each document has the folders that are added in their
order, as category, path and whether it goes first, or null when ComfyUI fails. "@" is the document's own folder.
"""

import json
import os
import random
import sys
import tempfile

sys.path.insert(0, sys.argv[1])
sys.argv = sys.argv[:1]
from comfy.cli_args import args

args.cpu = True
import folder_paths
from utils import extra_config

here = os.path.dirname(os.path.abspath(__file__))
VALUES = [
    "yes", "Yes", "YES", "yEs", "no", "No", "NO", "true", "True", "tRue", "false", "False", "FALSE", "on", "On", "off", "OFF", "y", "n", "Y", "N",
    "1", "0", "-0", "+0", "00", "0_0", "010", "08", "0x0", "0x10", "0xG", "0b0", "0b10", "0o0", "0:0", "1:30", "1.0", "0.0", "-0.0", ".0", ".5", "0.0e+5",
    "0e0", "1e3", ".inf", "-.inf", ".nan", "~", "null", "Null", "nULL", "''", '""', "'no'", '"0"', "x", "[]", "[0]", "{}", "{a: b}", "2001-01-01", "2001-1-1",
    "2001-01-01 10:00:00", "!!str no", "!!str", "!!bool no", "!!bool yes", "!!int 0", "!!int 3", "! no", "!x y", "-", "-x", "=", "<<", "a b", "a#b", "a # b", "C:\\models",
    "$WEIR_A/x", "${WEIR_A}/x", "$WEIR_AB/x", "${WEIR_A", "${}", "$", "$$WEIR_A", "~/x", "~", "'~'", "'~/'", "~x/y", "x/~", "../up", "./a/./b//c/..", "/abs/x", "/abs/../x", "''", "a\\b",
    "'it''s'", '"a\\x41\\u00e9\\n"', "é/ü", "'a: b'", "a: b", "@x", "`x", "%x", "&x y", "*x", "|", ">", "? x", "x:", ":x", "x,y", "[x, y]",
]
DOCUMENTS = [
    "", "# only comments\n", "---\n", "...\n", "null\n", "a\n", "[a]\n", "5\n", "a:\n", "a: {}\n", "a: []\n", "a: ''\n", "a: x\n", "a: [x]\n", "a: 0\n", "\ufeffa:\n  vae: x\n",
    "a:\n\tvae: x\n", "a:\n  vae:\tx\n", "a:\n  vae: x\t\n", "a: {vae: x}\n---\nb: {vae: y}\n", "---\na: {vae: x}\n...\n", "%YAML 1.1\n---\na: {vae: x}\n",
    "a:\n  loras: |\n    x\n    y\n", "a:\n  loras: |\n    x\n\n      y\n    z \n", "a:\n  loras: |-\n    x\n    y\n", "a:\n  loras: |+\n    x\n\n\n", "a:\n  loras: >\n    x\n    y\n\n    z\n",
    "a:\n  loras:\n    x\n    y\n", "a:\n  loras: x\n    y\n", 'a:\n  loras: "x\\ny"\n', "a:\n  loras: |2\n      x\n    y\n", "a:\n  loras: |\n  vae: x\n", "a:\n  loras: |\n    # x\n    y # z\n",
    "a:\n  vae: x\na:\n  vae: y\nb:\n  vae: z\n", "a: {vae: x}\nb: {vae: z}\na: {vae: y}\n", "a: {vae: x, loras: l, vae: y}\n", "a: {base_path: p, vae: x, base_path: q}\n", "a: {is_default: yes, is_default: no, vae: x}\n",
    "a: {vae: x, is_default: true, base_path: p}\n", "a: &a {vae: x}\nb: *a\n", "a: &a {base_path: p, vae: x}\nb:\n  <<: *a\n  vae: y\n  loras: l\n",
    "a: &a {base_path: p, vae: x}\nb:\n  vae: y\n  loras: l\n  <<: *a\n", "a: &a {vae: x}\nb: &b {loras: y}\nc: {<<: [*a, *b], clip: z}\n", "a: &a {vae: x}\nc: {<<: *a, '<<': z}\n", "a: {<<: x}\n", "a: {<<: [x]}\n",
    "a: &a {vae: x, <<: *a}\n", "a: &a {vae: x, more: *a}\n", "<<: {a: {vae: x}}\nb: {vae: y}\n", "a: *x\n", "a: {vae: &p x, loras: *p}\n", "a: {base_path: &p x, vae: *p}\nb: {base_path: *p, vae: *p}\n",
    "5: {vae: x}\n", "yes: {vae: x}\n", "? [a]\n: {vae: x}\n", "? {a: b}\n: {vae: x}\n", "a: {? [b] : x}\n", "a: {? vae : x}\n", "? a\n: vae: x\n", "a: {'vae': x, \"loras\": y}\n",
    "a:\n  base_path:\n  vae: x\n", "a:\n  is_default:\n  vae: x\n", "a: {unet: x, clip: y, diffusion_models: z, mine: w}\n", "a:\n    base_path: /abs\n    is_default: 1\n    loras: |\n        x\n        /y\n        ../z\n",
    "a:\n  vae: x\n b: y\n", "a:\n- x\n", "a:\n  - vae: x\n", "a: {vae: x\n", "a: 'x\n", "a: {vae: x}}\n", "a: {vae: x y: z}\n", "a:\r\n  vae: x\r\n  loras: |\r\n    p\r\n    q\r\n", "a:\r  vae: x\r", "a: {vae: x} # c\n#d\n",
    "a: {vae: [x, y]}\n", "a: {vae: {x: y}}\n", "a:\n  vae: x\n\n\n\n  loras: y", "a : {vae : x}\n", "{a: {vae: x}}\n", "{a: {vae: x}, b: {vae: y},}\n", "a: {vae}\n", "a: {vae:}\n", "a: {vae: }\n", "a:\n  vae: x\u0007\n", "a:\n  vae: 'x\n\n    y'\n",
    'a: "\\',
]


def randomDocument(rng):
    lines = []
    for s in range(rng.randint(1, 3)):
        anchor = rng.choice(["", "", " &s%d" % s])
        lines.append(rng.choice(["a", "b", "comfyui", "'q'", "1"]) + ":" + anchor)
        entries = []
        for _ in range(rng.randint(0, 5)):
            key = rng.choice(["base_path", "is_default", "loras", "vae", "clip", "unet", "mine", "<<"])
            if key == "<<":
                entries.append("  <<: *s%d" % rng.randint(0, 2))
            elif key == "loras" and rng.random() < 0.5:
                entries.append("  loras: " + rng.choice(["|", "|-", ">", ""]) + "\n" + "\n".join("    " + rng.choice(["x", "models/Lora", "../up", "", "  more"]) for _ in range(3)))
            elif key == "is_default":
                entries.append("  is_default: " + rng.choice(["yes", "no", "1", "0", "true", "off", "x"]))
            else:
                entries.append("  " + key + ": " + rng.choice(["x", "y/z", "../w", "/abs", "x y", "$WEIR_A/m", "~/m", "'5'"]))
        lines += entries
    return "\n".join(lines) + "\n"


def main():
    rng = random.Random(11)
    documents = DOCUMENTS + [f"a:\n  {key}: {v}\n  vae: x\n" for v in VALUES for key in ("base_path", "is_default", "loras")]
    documents += [randomDocument(rng) for _ in range(150)]
    os.environ.update(HOME="/home/weir", WEIR_A="/variable/a")
    os.environ.pop("WEIR_AB", None)
    out = []
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "extra_model_paths.yaml")
        for text in documents:
            with open(path, "w", encoding="utf-8", newline="") as f:
                f.write(text)
            added = []
            folder_paths.add_model_folder_path = lambda category, full, first=False: added.append([str(category), full, bool(first)])
            try:
                extra_config.load_extra_path_config(path)
            except Exception as e:
                added = None
            if added is not None:
                for a in added:
                    if a[1] == folder or a[1].startswith(folder + "/"):
                        a[1] = "@" + a[1][len(folder):]
                    elif a[1] == os.path.dirname(folder) or a[1].startswith(os.path.dirname(folder) + "/"):
                        a[1] = "@/.." + a[1][len(os.path.dirname(folder)):]
            out.append({"text": text, "folders": added})
    with open(os.path.join(here, "folders.json"), "w") as f:
        json.dump(out, f, ensure_ascii=True, separators=(",", ":"))


main()
