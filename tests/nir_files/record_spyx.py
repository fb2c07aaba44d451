"""Record networks of Spyx as NIR files, with an input and the spikes that Spyx gives for it.

Run in an environment of its own, in this directory; the files that it writes are tests' data::

    pip install spyx==1.0.0 nir==1.0.8
    python record_spyx.py
"""

import jax.numpy as jnp
import nir
import numpy as np
from flax import nnx
from spyx.nir import to_nir
from spyx.nn import LIF, RLIF, Sequential, run

T, B = 50, 2
rngs = nnx.Rngs(0)
x = np.random.default_rng(0).random((T, B, 4)).astype(np.float32)
for name, neuron in {"spyx_lif": LIF, "spyx_rlif": RLIF}.items():
    net = Sequential(nnx.Linear(4, 5, use_bias=False, rngs=rngs), neuron((5,), beta=0.75, rngs=rngs))
    net.layers[0].kernel[...] = jnp.abs(net.layers[0].kernel[...])
    out, _ = run(net, jnp.asarray(x))
    graph = to_nir(net, {"input": np.array([4])}, {"output": np.array([5])}, dt=1)
    nir.write(f"{name}.nir", graph)
    np.savez_compressed(f"{name}.npz", x=x, out=np.asarray(out))
    print(name, {key: type(node).__name__ for key, node in graph.nodes.items()}, "mean output", out.mean())
