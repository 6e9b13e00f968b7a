"""The classes of ComfyUI's nodes, with their widgets, and those of the packs people use most.

    python testdata/golden/classes.py COMFYUI
    made: ../../catalog/comfyui.txt ../../catalog/packs.txt

COMFYUI is a checkout of ComfyUI, whose classes are asked for their inputs. The
names of newer classes come from the English translations in the package
comfyui-frontend-package, the pages of comfyui-embedded-docs and the templates of
comfyui-workflow-templates-json, those of packs from the lists in the wheel of
comfyui-manager, which pip downloads.

A line of comfyui.txt is a class and its widgets in the order in which files of
the user interface keep their values: [name, type, default]. The type ends with
! for a number that has a second widget, which changes it after a run, with ^ for
a text with {choices}, with > for an input that has lost its widget and with ~ for
a button. The widgets that a choice brings follow as {choice: widgets}. The word output after them marks a class that is run for its effect.

A line of packs.txt is a pack, a pattern of its classes' names or nothing, and
its classes.
"""

import glob
import importlib.machinery
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from unittest import mock

here = os.path.dirname(os.path.abspath(__file__))
catalog = os.path.join(here, "../../catalog")
MANAGER = "4.3"
STARS = 150  # a pack with fewer is no pack that people use most

# Widgets of the user interface's own extensions.
EXTENSIONS = {"SaveGLB": [["image", "LOAD_3D", ""]], "Preview3D": [["image", "LOAD_3D", ""]], "Preview3DAnimation": [["image", "LOAD_3D", ""]], "CustomCombo": [["index", "INT", 0]]}
WIDGETS = {"BOUNDING_BOX", "BOUNDING_BOXES", "COLORS", "CURVE", "RANGE", "INT", "FLOAT", "BOOLEAN", "STRING", "COMBO", "COLOR", "MARKDOWN", "WEBCAM", "LOAD_3D", "LOAD_3D_ANIMATION", "AUDIO_RECORD"}
NUMBERS = {"INT": 0, "FLOAT": 0, "BOOLEAN": False, "STRING": ""}


def widgets(inputs, prefix=""):
    out = []
    for kind in ("required", "optional"):
        button = False
        for name, spec in (inputs.get(kind) or {}).items():
            options = spec[1] if len(spec) > 1 and isinstance(spec[1], dict) else {}
            type, default = spec[0], options.get("default")
            if isinstance(type, (list, tuple)):
                options = {"options": list(type), **options}
                type = "COMBO"
            type = getattr(type, "value", type)
            name = prefix + name
            if type == "COMFY_DYNAMICCOMBO_V3":
                cases = {o["key"]: widgets(o["inputs"], name + ".") for o in options["options"]}
                out.append([name, "COMBO", next(iter(cases), None), cases])
                continue
            if type not in WIDGETS:
                continue
            choices = options.get("options")
            if default is None and type == "COMBO" and choices:
                default = choices[0]
            if default is None:
                default = NUMBERS.get(type)
            control = options.get("control_after_generate")
            if control is None:
                control = type == "INT" and name in ("seed", "noise_seed")
            if options.get("forceInput"):
                type += ">"
            elif control:
                type += "!"
            elif options.get("dynamicPrompts"):
                type += "^"
            try:
                json.dumps(default)
            except TypeError:
                default = None
            out.append([name, type] if default is None else [name, type, default])
            button = button or any(options.get(k) for k in ("image_upload", "video_upload", "audio_upload", "file_upload"))
        if button:
            out.append(["upload", "BUTTON~"])
    return out


def comfyui(path):
    sys.path.insert(0, path)
    sys.argv = ["main.py", "--cpu", "--base-directory", tempfile.mkdtemp()]
    os.makedirs(os.path.join(sys.argv[-1], "input"))
    for missing in ("torchaudio", "torchaudio.transforms", "torchaudio.functional", "av", "soundfile"):
        try:
            __import__(missing)
        except Exception:
            sys.modules[missing] = mock.MagicMock(__spec__=importlib.machinery.ModuleSpec(missing, None), __path__=[], __version__="2.0")
    import asyncio

    import comfy.options

    comfy.options.enable_args_parsing()
    import utils.install_util  # before the path has another utils
    import nodes
    import server

    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    server.PromptServer(loop)  # classes look for it
    loop.run_until_complete(nodes.init_extra_nodes(init_custom_nodes=False, init_api_nodes=True))
    return {
        name: (widgets(cls.INPUT_TYPES()) + EXTENSIONS.get(name, []), bool(getattr(cls, "OUTPUT_NODE", False)))
        for name, cls in nodes.NODE_CLASS_MAPPINGS.items()
    }


def newer():
    """The classes that the user interface has names or pages for, or templates with."""
    names = set()

    def place(package, path):
        return str(importlib.metadata.distribution(package).locate_file(path))

    for path in glob.glob(place("comfyui-frontend-package", "comfyui_frontend_package/static/assets/nodeDefs-*.js.map")):
        with open(path, encoding="utf-8") as f:
            text = json.load(f)
        for source, content in zip(text["sources"], text["sourcesContent"]):
            if source.endswith("/locales/en/nodeDefs.json"):
                names.update(json.loads(content))
    names.update(os.path.basename(p) for p in glob.glob(place("comfyui-embedded-docs", "comfyui_embedded_docs/docs/*")) if glob.glob(p + "/en.md"))

    def look(v):
        if isinstance(v, dict):
            if v.get("properties", {}) and isinstance(v.get("type"), str) and v["properties"].get("cnr_id") == "comfy-core":
                names.add(v["type"])
            for x in v.values():
                look(x)
        elif isinstance(v, list):
            for x in v:
                look(x)

    for path in glob.glob(place("comfyui-workflow-templates-json", "comfyui_workflow_templates_json/templates/*.json")):
        with open(path, encoding="utf-8") as f:
            look(json.load(f))
    uuid = re.compile("[0-9a-f]{8}-[0-9a-f-]{27}$")
    drawn = {"Reroute", "PrimitiveNode", "Note", "MarkdownNote"}  # never sent
    return {n for n in names - drawn if not uuid.match(n) and not n.startswith("workflow") and "\t" not in n}


def packs(core):
    folder = tempfile.mkdtemp()
    subprocess.check_call([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder, "comfyui-manager==" + MANAGER])
    with zipfile.ZipFile(glob.glob(folder + "/*.whl")[0]) as z:
        classes, stars, listed = (json.loads(z.read("comfyui_manager/" + n)) for n in ("extension-node-map.json", "github-stats.json", "custom-node-list.json"))
    titles = {p["reference"]: p["title"] for p in reversed(listed["custom_nodes"])}
    found = []
    for url, (names, about) in classes.items():
        n = stars.get(url, {}).get("stars", 0)
        if n >= STARS and not url.lower().endswith("/comfyui"):
            title = titles.get(url) or about.get("title_aux") or url.rsplit("/", 1)[1]
            found.append((n, title, about.get("nodename_pattern", ""), names))
    found.sort(key=lambda p: (-p[0], p[1]))
    # A name belongs to the pack with the most stars, so that each is there once.
    seen = set(core)
    for _, title, pattern, names in found:
        names = sorted({c for c in names if c not in seen and "\t" not in c and "\n" not in c and len(c) <= 100})
        seen.update(names)
        if names or pattern:
            yield title.strip(), pattern, names


def main():
    known = comfyui(sys.argv[1])
    names = sorted(set(known) | set(newer()))
    os.makedirs(catalog, exist_ok=True)
    with open(os.path.join(catalog, "comfyui.txt"), "w", encoding="utf-8", newline="\n") as f:
        for name in names:
            line = name
            if name in known:
                inputs, output = known[name]
                line += "\t" + json.dumps(inputs, ensure_ascii=False, separators=(",", ":")) + ("\toutput" if output else "")
            f.write(line + "\n")
    with open(os.path.join(catalog, "packs.txt"), "w", encoding="utf-8", newline="\n") as f:
        for title, pattern, classes in packs(names):
            f.write("\t".join([title, pattern, *classes]) + "\n")


main()
