"""The names under which ComfyUI saves pictures.

    python testdata/golden/saving.py PATH-OF-COMFYUI
    made: saving.json
"""

import json
import os
import sys
import tempfile

here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, sys.argv[1])
sys.argv = sys.argv[:1]
import folder_paths

# Prefixes, and the files that are there.
cases = [
    ("a", []),
    ("a", ["a_00041_.png"]),
    ("a", ["a_00003_.png", "a_00001_.png"]),
    ("a", ["a_00041.png"]),
    ("a", ["a_7"]),
    ("a", ["a_00041_x.webp"]),
    ("a", ["a_12345678_.png"]),
    ("a", ["a_9223372036854775807_.png"]),
    ("a", ["a_99999999999999999999999_.png", "a_00005_.png"]),
    ("a", ["a_-3_.png", "a_x_.png", "a__.png", "a_"]),
    ("a", ["b_00041_.png", "ab_00041_.png", "A_00041_.png"]),
    ("a_00007", ["a_00007_00002_.png", "a_00009_.png"]),
    ("a", ["a_00007_00012_.png"]),
    ("a.b", ["a.b_00002_.png", "axb_00007_.png"]),
    ("a(", ["a(_00002_.png"]),
    ("sub/a", ["a_00041_.png", "sub/a_00002_.png"]),
    ("sub//deep/./a", ["sub/deep/a_00008_.png"]),
    ("sub/x/../a", ["sub/a_00002_.png"]),
    ("sub/", []),
    ("sub", ["sub/a_00004_.png"]),
    ("%width%x%height%", ["640x480_00003_.png"]),
    ("%width%/a", []),
    ("日本 é", ["日本 é_00002_.png"]),
    ("100%", ["100%_00002_.png"]),
    ("%unknown%", []),
    ("a%batch_num%", []),
    ("a ", ["a _00002_.png"]),
    (".hidden", []),
]

out = []
for prefix, there in cases:
    with tempfile.TemporaryDirectory() as root:
        root = os.path.realpath(root)
        for name in there:
            os.makedirs(os.path.dirname(os.path.join(root, name)), exist_ok=True)
            open(os.path.join(root, name), "w").close()
        folder, name, counter, subfolder, _ = folder_paths.get_save_image_path(prefix, root, 640, 480)
        # As SaveImage makes names of it.
        out.append({"prefix": prefix, "there": there, "subfolder": subfolder, "name": f"{name.replace('%batch_num%', '0')}_{counter:05}_.png"})
with open(os.path.join(here, "saving.json"), "w") as f:
    json.dump(out, f, indent=1, ensure_ascii=False)
    f.write("\n")
