"""What printed kernels call beside arithmetic, written so that loops over it vectorise; and what their threads share.

The exponential of float32 follows the usual reduction `exp(x) = 2^k exp(r)`, `|r| <= ln(2)/2`, with exp(r) by its
Taylor series to degree 7, whose remainder is below 1e-8 there. float64 uses the C library.
"""

import math
from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import intrinsic, overload, register_jitable

_LOG2_E = np.float32(1 / math.log(2))
_LN2_HIGH = np.float32(0.693359375)  # few digits, so that its multiples by an exponent are exact
_LN2_LOW = np.float32(math.log(2) - 0.693359375)
_TAYLOR = tuple(np.float32(1 / math.factorial(n)) for n in range(8))
_C2, _C3, _C4, _C5, _C6, _C7 = _TAYLOR[2:]
_ONE, _ZERO, _HALF, _TWO = (np.float32(v) for v in (1, 0, 0.5, 2))
_LOWEST, _HIGHEST = np.float32(-104.0), np.float32(89.0)  # below float32's least and above its greatest number
_INLINE: Any = {"error_model": "numpy", "forceinline": True}
_SATURATED = np.float32(10.0)  # where tanh is 1


@register_jitable
def _power_of_two(k):
    return np.int32((k + 127) << 23).view(np.float32)


@register_jitable
def _reduced(x):
    """`k` and `exp(r) - 1` of the reduction of x."""
    k = np.floor(x * _LOG2_E + _HALF)
    r = (x - k * _LN2_HIGH) - k * _LN2_LOW
    series = _C2 + r * (_C3 + r * (_C4 + r * (_C5 + r * (_C6 + r * _C7))))
    return np.int32(k), r + r * r * series


def exp(x):
    """`e^x`."""
    return math.exp(x)


def tanh(x):
    """The hyperbolic tangent."""
    return math.tanh(x)


@overload(exp, jit_options=_INLINE)
def _exp_of(x):
    if x != types.float32:
        return lambda x: math.exp(x)

    def exp(x):
        bounded = _LOWEST if x < _LOWEST else (_HIGHEST if x > _HIGHEST else x)
        bounded = bounded if x == x else _ZERO  # no integer stands for NaN
        k, m = _reduced(bounded)
        half = k >> 1  # 2^k in two factors: one alone overflows where the result does not
        y = (_ONE + m) * _power_of_two(half) * _power_of_two(k - half)
        return y if x == x else x

    return exp


@overload(tanh, jit_options=_INLINE)
def _tanh_of(x):
    if x != types.float32:
        return lambda x: math.tanh(x)

    def tanh(x):
        a = abs(x)
        bounded = a if a < _SATURATED else _SATURATED  # also for NaN
        k, m = _reduced(_TWO * bounded)
        scale = _power_of_two(k)
        t = (scale - _ONE) + scale * m  # exp(2a) - 1
        y = t / (t + _TWO)
        y = y if x >= _ZERO else -y
        return y if x == x else x

    return tanh


@njit(**_INLINE)
def sigmoid(x):
    """`1 / (1 + e^-x)`."""
    one = type(x)(1)
    return one / (one + exp(-x))


@njit(**_INLINE)
def sign(x):
    """-1, 0 or 1; 0 for NaN."""
    one = type(x)(1)
    return one if x > 0 else (-one if x < 0 else type(x)(0))


@njit(**_INLINE)
def maximum(a, b):
    """The greater, NaN where one is."""
    return a if a > b or a != a else b


@njit(**_INLINE)
def minimum(a, b):
    """The lesser, NaN where one is."""
    return a if a < b or a != a else b


@njit(**_INLINE)
def lerp(a, b, weight):
    """From a, weight 0, to b, weight 1."""
    one, half = type(a)(1), type(a)(0.5)
    return a + weight * (b - a) if abs(weight) < half else b - (b - a) * (one - weight)


@njit(**_INLINE)
def remainder(a, b):
    """The remainder of a division that rounds down: it has b's sign."""
    rest = np.fmod(a, b)
    return rest + b if (rest < 0 and b > 0) or (rest > 0 and b < 0) else rest


@intrinsic
def pointers(_typing, numbers, kind):
    """The same memory, in which there are pointers to numbers of a kind."""
    found = types.CPointer(types.CPointer(kind.dtype))

    def build(context, builder, _signature, arguments):
        return builder.bitcast(arguments[0], context.get_value_type(found))

    return found(numbers, kind), build


@intrinsic
def taken(_typing, numbers, place, amount):
    """The number at a place, which grows by an amount at once: no other thread is given it again."""

    def build(_context, builder, _signature, arguments):
        array, place, amount = arguments
        return builder.atomic_rmw("add", builder.gep(array, [place]), amount, "monotonic")

    return types.int64(numbers, types.int64, types.int64), build
