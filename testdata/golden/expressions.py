"""Formulas as ComfyUI's node evaluates them.

    python testdata/golden/expressions.py COMFYUI
    made: expressions.json

COMFYUI is a checkout of ComfyUI. A case is a formula, the values of its names and
the results, or null where there is an error. Random formulas follow those that
official templates use and those with a point.
"""

import importlib.util
import json
import os
import random
import sys

here = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, sys.argv[1])
sys.argv = ["x", "--cpu"]
import comfy.options

comfy.options.enable_args_parsing()
spec = importlib.util.spec_from_file_location("nodes_math", os.path.join(sys.path[0], "comfy_extras/nodes_math.py"))
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)

fixed = """a
a/2
a * b + 1
max(5, round(a * 24)) + (5 - (max(5, round(a * 24)) % 17)) % 17
max(((a + 15) // 16) * 16, 256)
(a // 32) * 32
a & ~1
a & -8
a > 2048
floor(a/32)*32
(b - c) * (a - 1)
round (a * 24)
(a + b) / 2000
max(4, (int(a) // 16) * 16)
min(a,b)
ceil(a / (81 - 5))
ceil(1.5 * log2(max(a, b))) + 2
a % b if b > 0 else 0
b if b > 0 else a
min(abs(b), 16) * a
4 * ceil((a - b * c + c - 1) / 4) + 1
(a % 4 == 1) and ((b - 1) % 4 == 0)
floor((a - 2) / (b - 1))
-2 ** 2
2 ** -2
2 ** 3 ** 2
(-8) ** (1/3)
0 ** 0
0.0 ** -1
0 ** -1
-7 // 2
-7 % 3
7 % -3
-7.5 // 2
-7.5 % 2
7.5 % -2
6 % 3.0
-6 % 3.0
1e300 * 1e300
1e300 * 1e300 > 1
2 ** 1000
2 ** 1100
2 ** 1100 // 2 ** 1090
10 ** 30
7 / 2
7 // 2
1 << 10
1 << -1
1 << 10001
-9 >> 1
1.5 << 2
True + True
not 0
not a
1 < 2 < 3
1 < 3 < 2
1 == 1.0
10 ** 20 == 1e20
10 ** 20 + 1 > 1e20
a or b
0 or b
0 and b
a in values
5 in values
5 not in values
sum(values)
sum(a, b, c)
min(values)
max(a, b, c)
min(a)
values[0]
values[-1]
values[9]
round(2.5)
round(3.5)
round(-2.5)
round(2.675, 2)
round(1234567, -2)
round(1250, -2)
round(1350, -2)
round(12500.5, -3)
round(5, 2)
round(2.5, 0)
round(1e20)
int(-3.9)
int(True)
float(7)
abs(-7)
abs(-7.5)
sqrt(2)
sqrt(-1)
log(0)
log(100, 10)
log(2 ** 2000)
log2(8)
log10(1000)
sin(1) + cos(1) + tan(1)
pow(2, 0.5)
pow(2, 4001)
pow(2, 10)
ceil(2.1)
floor(-2.1)
ceil(7)
1_000 + 0x1f + 0b11 + 0o17
007
.5 + 5. + 1e3 + 1E-3
1..2
a b
a +
(a
foo(1)
d
''
__import__('os')
a.real
[1, 2]
lambda: 1
1 if a
5 & 3 | 8 ^ 2
~5
~5.0
+a
- - a
1 != 2
2 <= 2 >= 1
(1 if 0 else 2) if 1 else 3
 a
sqrt
values
sqrt(a, b)
sum()
max()
1/3
0.1 + 0.2
2**0.5
1e308 * 10
5 % 0
5 // 0.0
10**400 / 10**399
10**400 / 7""".split("\n")

rng = random.Random(11)


def make(depth):
    if depth == 0 or rng.random() < 0.1:
        return rng.choice(["a", "b", "c", str(rng.randrange(20)), str(rng.randrange(2000) / 16), "True", "values[1]"])
    k = rng.random()
    if k < 0.6:
        return f"{part(depth)} {rng.choice(['+', '-', '*', '/', '//', '%', '+', '-', '*', '<', '>=', '==', '&', '|', '^', 'and', 'or'])} {part(depth)}"
    if k < 0.8:
        f = rng.choice(["round", "abs", "floor", "ceil", "int", "sqrt", "max", "min", "sum"])
        return f"{f}({make(depth - 1)}, {make(depth - 1)})" if f in ("max", "min", "sum") else f"{f}({make(depth - 1)})"
    if k < 0.9:
        return f"{part(depth)} if {part(depth)} else {part(depth)}"
    return rng.choice(["-", "+", "not ", "-"]) + part(depth)


def part(depth):
    t = make(depth - 1)
    return f"({t})" if rng.random() < 0.5 else t


cases = []
for i in range(len(fixed) + 400):
    text = fixed[i] if i < len(fixed) else make(3)
    values = {"a": 2049, "b": 1.5, "c": -7} if i % 2 == 0 else {"a": 5, "b": 16, "c": 2.25}
    try:
        f, n, b = module.MathExpressionNode.execute(text, dict(values)).args
        out = [f, n, b] if -(2**63) <= n < 2**64 else [f, None, b]
    except Exception:
        out = None
    cases.append([text, values, out])
print(sum(c[2] is None for c in cases), "errors of", len(cases))
with open(os.path.join(here, "expressions.json"), "w") as f:
    json.dump(cases, f, separators=(",", ":"))
