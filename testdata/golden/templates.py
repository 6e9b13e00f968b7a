"""Workflows of the user interface and what the official one sends to its server for them.

    python testdata/golden/templates.py SENT
    made: templates.json.gz

SENT is a folder of files in the API format, as comfyui-frontend-package 1.58.1
exports them from templates with the node definitions of ComfyUI 0.3.64, each
with the name of its template. The templates come from the wheel of
comfyui-workflow-templates-json, which pip downloads. Positions, sizes and
colours are left out.
"""

import glob
import gzip
import json
import os
import subprocess
import sys
import tempfile
import zipfile

here = os.path.dirname(os.path.abspath(__file__))
VERSION = "0.1.123"  # of comfyui-workflow-templates 0.11.97
DRAWN = {"pos", "size", "color", "bgcolor", "flags", "order", "bounding", "boundingRect", "boundingBox", "localized_name", "groups", "extra", "shape", "models", "config"}

KEPT = {"widgets_values", "widgets_values_named", "properties"}


def plain(v):
    if isinstance(v, dict):
        return {k: x if k in KEPT else plain(x) for k, x in v.items() if k not in DRAWN}
    return [plain(x) for x in v] if isinstance(v, list) else v


folder = tempfile.mkdtemp()
subprocess.check_call([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder, "comfyui-workflow-templates-json==" + VERSION])
with zipfile.ZipFile(glob.glob(folder + "/*.whl")[0]) as z:
    out = {}
    for path in sorted(glob.glob(os.path.join(sys.argv[1], "*.json"))):
        name = os.path.basename(path)
        drawn = json.loads(z.read("comfyui_workflow_templates_json/templates/" + name))
        with open(path, encoding="utf-8") as f:
            out[name] = {"drawn": plain(drawn), "sent": {k: {"class_type": n["class_type"], "inputs": n["inputs"]} for k, n in json.load(f).items()}}
with open(os.path.join(here, "templates.json.gz"), "wb") as f:
    f.write(gzip.compress(json.dumps(out, ensure_ascii=False, separators=(",", ":")).encode(), mtime=0))
