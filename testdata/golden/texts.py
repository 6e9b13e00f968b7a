"""Nodes that work on texts, as ComfyUI runs them.

    python testdata/golden/texts.py COMFYUI
    made: texts.json

COMFYUI is a checkout of ComfyUI. A case is a class, its inputs and its result, or
null where there is an error.
"""

import importlib.util
import itertools
import json
import os
import sys

here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, sys.argv[1])
sys.argv = ["x", "--cpu"]
import comfy.options

comfy.options.enable_args_parsing()
spec = importlib.util.spec_from_file_location("nodes_string", os.path.join(sys.path[0], "comfy_extras/nodes_string.py"))
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)

texts = ["", "Hello World", "  two\nlines\t \x1f\u2003", "ÄÖÜ straße ﬁne ŉ ǆ", "ΟΔΥΣΣΕΥΣ ΣΑΣ. they're 3rd o'NEIL", "日本語 emoji 🙂👩‍👩‍👧 done", "İstanbul ıI", "ⅷ ⓐ ʰello"]
cases = []


def node(name, **inputs):
    cls = getattr(module, name)
    try:
        out = cls.execute(**inputs).args[0]
    except Exception:
        out = None
    cases.append([name, inputs, out])


for t in texts:
    for mode in ["UPPERCASE", "lowercase", "Capitalize", "Title Case"]:
        node("CaseConverter", string=t, mode=mode)
    for mode in ["Both", "Left", "Right"]:
        node("StringTrim", string=t, mode=mode)
    node("StringLength", string=t)
    for a, b in [(0, 3), (2, -1), (-4, 99), (5, 2), (-99, 4)]:
        node("StringSubstring", string=t, start=a, end=b)
    for c in [True, False]:
        node("StringContains", string=t, substring="S", case_sensitive=c)
        node("StringContains", string=t, substring="ß", case_sensitive=c)
        for mode in ["Starts With", "Ends With", "Equal"]:
            node("StringCompare", string_a=t, string_b=t[:3].upper(), mode=mode, case_sensitive=c)
    node("StringReplace", string=t, find="l", replace="[L]")
    node("StringReplace", string=t, find="", replace="-")
    node("StringConcatenate", string_a=t, string_b="b", delimiter=", ")

prompt = 'A cat --no dogs, birds\n---\nsecond part\n```json\n{"bbox": [1, -2, 3, 44], "lighting": "soft \\"x\\"", "palette": ["#fff"]}\n```\n'
patterns = ["", "o", "(o)(r)?", r"(?P<first>\w+) (?P<second>\w+)", r"(?P<a>.)(?P=a)", r"^\w+", r"\w+$", r"\s*\Z", r"(?sm)^(.*?)^---$(.*)", r"(?s)(?<=\n---\n)([\s\S]*)$",
            r"^(.+?)(?=\s+--no)", r"(?<=--no\s)(.+)$", r"```(?:json)?\s*\n?", r"\n?```\s*$", "{outfit}", "[^{]", r'"bbox":\s*\[\s*(-?\d+)\s*,\s*(-?\d+)', r"\{[^{}]*\}", "x*", "l{,1}", "l{1,2}", "[[]", "[]a]", "[^]a]+",
            "(unclosed", "(?<bad>x)", "a{2,1}", "(?P<n>a)(?P<n>b)", "(?P=no)", r"\1", "(a)|b", r"(?i)HELLO", "[a-z-[aeiou]]", r"\d+", ".", "é|ß", "(?#note)l", r"\bw", "(?:(l)|(o))+", "*", "|", "$"]
strings = [prompt, "Hello World", "", "abab\nßé", "axxb", "[a]"]
for s, p in itertools.product(strings, patterns):
    for flags in [dict(case_insensitive=True, multiline=False, dotall=False), dict(case_insensitive=False, multiline=True, dotall=True)]:
        node("RegexMatch", string=s, regex_pattern=p, **flags)
        if s in (prompt, "Hello World", "axxb"):
            for mode in ["First Match", "All Matches", "First Group", "All Groups"]:
                node("RegexExtract", string=s, regex_pattern=p, mode=mode, group_index=1, **flags)
    node("RegexReplace", string=s, regex_pattern=p, replace="<\\g<0>>")
node("RegexExtract", string=prompt, regex_pattern=patterns[16], mode="First Group", group_index=2, case_insensitive=True, multiline=False, dotall=False)
node("RegexExtract", string=prompt, regex_pattern=patterns[16], mode="First Group", group_index=3, case_insensitive=True, multiline=False, dotall=False)
node("RegexExtract", string=prompt, regex_pattern=patterns[16], mode="All Groups", group_index=0, case_insensitive=True, multiline=False, dotall=False)
for r in [r"\2-\1", r"\g<second>, \g<1>", r"\n\t\\\a", r"\3", r"\g<no>", r"\q", "\\", r"\07x\101", r"\0", r"\.", r"\g1", r"\g<1", r"\11"]:
    node("RegexReplace", string="Hello World", regex_pattern=patterns[3], replace=r)
for count in [0, 1, 2]:
    node("RegexReplace", string="a-b-c-d", regex_pattern="-", replace="+", count=count)

for s, k in [('{"a": 1}', "a"), ('{"a": 1.50}', "a"), ('{"a": 1e20, "b": -0, "c": 1e5, "d": 0.00001, "e": 123456789012345678901234567890, "f": 1e15, "g": -0.0}', "a")]:
    for k in "abcdefg":
        node("JsonExtractString", json_string=s, key=k)
nested = json.dumps({"l": [1, "x'y", 'q"', "both'\"", None, True, {"k": [0.1, "é\n\t\x07\u200b🙂\\"]}], "n": None, "t": True, "s": "plain 'text'", "o": {}, "": "empty"})
for k in ["l", "n", "t", "s", "o", "", "missing"]:
    node("JsonExtractString", json_string=nested, key=k)
for s in ["", "[1]", "{", "{'a': 1}", '{"a": 1} x', '  {"a": "b"}\n', '{"a": 1, "a": 2}', "null"]:
    node("JsonExtractString", json_string=s, key="a")

print(len(cases), sum(c[2] is None for c in cases))
with open(os.path.join(here, "texts.json"), "w") as f:
    json.dump(cases, f, separators=(",", ":"))
