"""What kernels printed for Triton call beside its language.

The functions come from the device's own library, which rounds as PyTorch does on it. Triton's interpreter has no such
library, and takes NumPy's.
"""

import math
from typing import Any

import triton
import triton.language as tl
from triton import knobs
from triton.language.extra import libdevice

INTERPRETED = tl.constexpr(knobs.runtime.interpret)


def _function(name: str, of_numpy: str = "") -> Any:
    """A function of the device's library; in the interpreter NumPy's, where that has another name the one of that."""
    if not knobs.runtime.interpret:
        return getattr(libdevice, name)
    import numpy as np

    function = np.vectorize(math.erf) if name == "erf" else getattr(np, of_numpy or name)

    def apply(*blocks: Any) -> Any:
        like = max(blocks, key=lambda block: np.size(block.handle.data))  # the others may be single values
        data = function(*(block.handle.data for block in blocks))
        handle = type(like.handle)(np.asarray(data, like.handle.data.dtype), like.dtype)
        return tl.tensor(handle, like.type)

    return apply


exp, exp2, expm1, log, log2, log10, log1p = map(_function, "exp exp2 expm1 log log2 log10 log1p".split())
sin, cos, tan, sinh, cosh, tanh, erf = map(_function, "sin cos tan sinh cosh tanh erf".split())
asin, acos, atan, atan2 = (_function(f"a{name}", f"arc{name}") for name in ("sin", "cos", "tan", "tan2"))
asinh, acosh, atanh = (_function(f"a{name}", f"arc{name}") for name in ("sinh", "cosh", "tanh"))
fmod, trunc, power, rint = map(_function, ("fmod", "trunc", "pow", "nearbyint"), ("", "", "power", "rint"))


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
    """-1, 0 or 1; 0 for NaN."""
    one = tl.full((), 1, x.dtype)
    return tl.where(x > 0, one, tl.where(x < 0, -one, one - one))


@triton.jit
def maximum(a, b):
    """The greater, NaN where one is."""
    return tl.where((a > b) | (a != a), a, b)


@triton.jit
def minimum(a, b):
    """The lesser, NaN where one is."""
    return tl.where((a < b) | (a != a), a, b)


@triton.jit
def lerp(a, b, weight):
    """From a, weight 0, to b, weight 1."""
    one, half = tl.full((), 1, a.dtype), tl.full((), 0.5, a.dtype)
    return tl.where(tl.abs(weight) < half, a + weight * (b - a), b - (b - a) * (one - weight))


@triton.jit
def remainder(a, b):
    """The remainder of a division that rounds down: it has b's sign."""
    rest = fmod(a, b)
    up = tl.where(rest < 0, tl.where(b > 0, rest + b, rest), rest)  # pyright: ignore[reportOptionalOperand]
    return tl.where(rest > 0, tl.where(b < 0, rest + b, rest), up)  # pyright: ignore[reportOptionalOperand]


@triton.jit
def read(row, lanes, inside, WORDS: tl.constexpr):
    """Values of a row, 0 outside; with `WORDS` halves are taken out of the words of 32 bits around them.

    Less than a word is not loaded ahead of its use. Memory is given in whole words, so that none lies beyond it.
    """
    if WORDS and row.dtype.element_ty.primitive_bitwidth == 16:
        word = tl.load(((row + lanes).to(tl.int64) & -4).to(tl.pointer_type(tl.int32)), inside, 0)
        upper = ((row.to(tl.int64) >> 1).to(tl.int32) + lanes) & 1  # of the row: what waits for the word is one value
        values = (word >> 16 * upper).to(tl.int16).to(row.dtype.element_ty, bitcast=True)
    else:
        values = tl.load(row + lanes, inside, 0)
    return values


@triton.jit
def rounded(x, dtype: tl.constexpr):
    """X in a dtype, rounded to nearest; the interpreter cuts off what bfloat16 has no place for."""
    if INTERPRETED and dtype == tl.bfloat16 and x.dtype == tl.float32:
        bits = x.to(tl.int32, bitcast=True)
        x = (bits + 0x7FFF + (bits >> 16 & 1)).to(tl.float32, bitcast=True)
    return x.to(dtype)


@triton.jit
def part(weight, begin, WIDTH: tl.constexpr, ROWS: tl.constexpr, FEATURES: tl.constexpr):
    """Rows of a square weight from `begin` on, 0 outside."""
    row, column = begin + tl.arange(0, ROWS)[:, None], tl.arange(0, FEATURES)[None, :]
    return tl.load(weight + row * WIDTH + column, (row < WIDTH) & (column < WIDTH), 0)


@triton.jit
def summed(rows, weight, product):
    """The product with a weight, added to a product."""
    if INTERPRETED or rows.shape[0] < 16:  # it takes bits of bfloat16 for integers; tensor cores take sixteen rows
        rows, weight = rows.to(product.dtype), weight.to(product.dtype)
    return tl.dot(rows, weight, product, input_precision="ieee", out_dtype=product.dtype)


@triton.jit
def times(rows, weight, inside, spare, WIDTH: tl.constexpr, CHUNK: tl.constexpr):
    """The product with a weight, in the rows' dtype; their values are 0 outside, and rounded to the weight's dtype.

    Of a weight that fast memory does not hold there is the pointer; its rows are read by chunks, and go with those of
    the values in `spare`. Each thread reads there what others wrote, after one barrier. Two such memories in turn are
    enough: who writes to one again has passed the barrier of the other, where all come when they have read this one.
    """
    left = rounded(tl.where(inside, rows, 0), spare.dtype.element_ty)
    product = tl.zeros(rows.shape, rows.dtype)
    if CHUNK == rows.shape[1]:
        product = summed(left, weight, product)
    else:
        row = tl.arange(0, rows.shape[0])[:, None] * rows.shape[1]
        tl.store(spare + row + tl.arange(0, rows.shape[1])[None, :], left)
        tl.debug_barrier()
        for begin in tl.range(0, WIDTH, CHUNK, num_stages=3):  # pyright: ignore[reportGeneralTypeIssues]
            some = tl.load(spare + row + begin + tl.arange(0, CHUNK)[None, :])
            product = summed(some, part(weight, begin, WIDTH, CHUNK, rows.shape[1]), product)
    return tl.where(inside, product, 0)  # else Triton begins the sum with what is added to it, which rounds otherwise


@triton.jit
def driven(x, product):
    """What a step is given: x and the product of the state that feeds back, rounded as x is, for whoever keeps it."""
    return rounded(x.to(product.dtype) + product, x.dtype).to(product.dtype)
