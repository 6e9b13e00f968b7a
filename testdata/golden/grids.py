"""Makes dtype/grids.bin: the grids of GGUF's IQ types, as the gguf package has them.

The bytes are signed numbers: 256 points of eight for IQ2_XXS, 512 for IQ2_XS, 1024 for IQ2_S, 256 points of four for
IQ3_XXS, 512 for IQ3_S, and 2048 points of eight for IQ1_S and IQ1_M.

    pip install gguf numpy
    python testdata/golden/grids.py
"""

import os

import numpy as np
from gguf import quants

out = b""
for name in ["IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ1_S"]:
    kind = getattr(quants, name)
    kind.init_grid()
    out += kind.grid.astype(np.int8).tobytes()
assert len(out) == 8 * (256 + 512 + 1024) + 4 * (256 + 512) + 8 * 2048
folder = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(folder, "..", "..", "dtype", "grids.bin"), "wb") as f:
    f.write(out)
