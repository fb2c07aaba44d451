"""Between decays per step and NIR's time constants. The equations stand in the package's docstring."""

import warnings

import numpy as np

DT = 1e-4
KEY = "snntorch"


def check_dt(dt: float) -> float:
    """The step as a float; a ValueError unless it is positive and finite."""
    if not 0 < float(dt) < float("inf"):
        raise ValueError(f"dt must be a positive number of seconds, got {dt!r}")
    return float(dt)


def time_constant(decay: np.ndarray, dt: float) -> np.ndarray:
    """`tau = dt / (1 - decay)`, at most 2^60 dt."""
    return dt / np.maximum(1 - np.asarray(decay, np.float64), 2.0**-60)


def decay(tau: np.ndarray, dt: float) -> np.ndarray:
    """`1 - dt / tau`; a ValueError for a time constant shorter than dt, whose decay would be negative."""
    if not (tau >= dt * (1 - 1e-6)).all():
        raise ValueError(f"time constants must be at least dt={dt}, got {tau.min()}; import with a smaller dt")
    return np.maximum(1 - dt / tau, 0)


def snapped(gain: np.ndarray) -> np.ndarray:
    """The gain, exactly 1 where it is 1 to single precision."""
    return np.where(np.isclose(gain, 1, rtol=1e-6, atol=0), 1.0, gain)


def leaky_gain(r: np.ndarray, tau: np.ndarray, dt: float) -> np.ndarray:
    """The gain `r dt / tau` of one time constant; 1 where both are infinite, as for a neuron without leak."""
    unbounded = np.isinf(r) & np.isinf(tau)
    return np.where(unbounded, 1.0, np.where(unbounded, 1.0, r) * dt / tau)


def integrator_gain(r: np.ndarray, dt: float) -> np.ndarray:
    """The gain of IF and I: r, but 1 where r = 1/dt."""
    return snapped(np.where(np.isclose(r * dt, 1, rtol=1e-6, atol=0), 1.0, r))


def whole_steps(delay: np.ndarray, dt: float, name: str) -> np.ndarray:
    """Delays in steps, rounded; warns where that changes them."""
    steps = np.rint(delay / dt)
    if len(changed := delay[~np.isclose(steps * dt, delay, rtol=1e-6, atol=1e-6 * dt)]):
        warnings.warn(
            f"{name}: a delay of {changed[0]:g} s is {changed[0] / dt:g} steps of dt={dt:g} s, and becomes "
            f"{np.rint(changed[0] / dt):g} ({len(changed)} of {delay.size} delays are rounded)",
            UserWarning,
            stacklevel=4,
        )
    return steps
