"""Which package compiles kernels for which device."""

import os

# device type -> package. With SNNTORCH_KERNELS=triton Triton's serve the CPU too, where TRITON_INTERPRET=1 runs them:
# for tests.
PACKAGES = {"cpu": os.environ.get("SNNTORCH_KERNELS", "numba"), "cuda": "triton"}
