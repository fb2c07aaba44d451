"""What kernels printed for Triton call beside its language.

The functions come from the device's own library, which rounds as PyTorch does on it. Triton's interpreter has no such
library, and takes NumPy's.
"""

import math

import numpy as np
import triton
import triton.language as tl
from triton import knobs
from triton.language.extra import libdevice

if knobs.runtime.interpret:

    def _interpreted(function):
        def apply(*blocks):
            data = function(*(block.handle.data for block in blocks))
            handle = type(blocks[0].handle)(np.asarray(data, blocks[0].handle.data.dtype), blocks[0].dtype)
            return tl.tensor(handle, blocks[0].type)

        return apply

    exp, expm1, log, log1p, sin, cos, tanh, rint, power = map(
        _interpreted, (np.exp, np.expm1, np.log, np.log1p, np.sin, np.cos, np.tanh, np.rint, np.power)
    )
    erf = _interpreted(np.vectorize(math.erf))
else:
    exp, expm1, log, log1p = libdevice.exp, libdevice.expm1, libdevice.log, libdevice.log1p
    sin, cos, tanh, erf = libdevice.sin, libdevice.cos, libdevice.tanh, libdevice.erf
    rint, power = libdevice.rint, libdevice.pow


@triton.jit
def div(a, b):
    """`a / b`, rounded to nearest, which Triton's own division of float32 is not."""
    if a.dtype == tl.float32:
        quotient = tl.div_rn(a, b)
    else:
        quotient = a / b
    return quotient


@triton.jit
def sqrt(x):
    """The square root, rounded to nearest."""
    if x.dtype == tl.float32:
        root = tl.sqrt_rn(x)
    else:
        root = tl.sqrt(x)
    return root


@triton.jit
def sigmoid(x):
    """`1 / (1 + e^-x)`."""
    one = tl.full((), 1, x.dtype)
    return div(one, one + exp(-x))


@triton.jit
def sign(x):
    """-1, 0 or 1; NaN stays."""
    one = tl.full((), 1, x.dtype)
    return tl.where(x > 0, one, tl.where(x < 0, -one, x))


@triton.jit
def maximum(a, b):
    """The greater, NaN where one is."""
    return tl.where((a > b) | (a != a), a, b)


@triton.jit
def minimum(a, b):
    """The lesser, NaN where one is."""
    return tl.where((a < b) | (a != a), a, b)
