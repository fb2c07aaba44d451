"""Settings of every test."""

import gc
import os
from collections.abc import Generator, Iterator

import pytest
import torch
from hypothesis import settings

# The first example of a test compiles and warms up, and machines differ: no deadline. `derandomize` keeps runs alike.
settings.register_profile("snntorch", deadline=None, derandomize=True)
settings.load_profile("snntorch")


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call() -> Generator[None, object, object]:
    """With `SNNTORCH_BACKEND=fused`, skip what can't be fused, and say why it can't."""
    try:
        return (yield)
    except RuntimeError as error:
        if os.environ.get("SNNTORCH_BACKEND") == "fused" and str(error).startswith("the backend is fused, but "):
            pytest.skip(str(error))
        raise


def pytest_collectstart() -> None:
    """What a module draws when it is imported does not depend on the modules before it."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def seed() -> None:
    """Draws that do not depend on which tests ran before in the same process."""
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def new_objects_only() -> Iterator[None]:
    """`gc` sees what the module's tests make and nothing older, so that it takes milliseconds in a long run too."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
def one_thread() -> Iterator[None]:
    """For training small nets: threads that wait for a busy core make it many times slower, and change the rounding."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
