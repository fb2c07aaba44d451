"""Machine code apart from the compiler that made it, by llvmlite, which Numba is built on.

A known kernel so starts without importing Numba.

A file holds a SHA-256 digest, the name of the function, a newline, and an object file. The digest is of the key under
which the file is kept and of all that follows, so that no file passes for another.
"""

import functools
import hashlib
from importlib.metadata import version
from typing import Any

import llvmlite.binding as llvm


@functools.cache
def target() -> str:
    """What machine code depends on beside its source: the processor and the compilers' versions."""
    features = llvm.get_host_cpu_features().flatten()
    return " ".join((llvm.get_host_cpu_name(), features, version("numba"), version("llvmlite")))


def _machine() -> llvm.TargetMachine:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.Target.from_triple(llvm.get_process_triple()).create_target_machine(
        cpu=llvm.get_host_cpu_name(),
        features=llvm.get_host_cpu_features().flatten(),
        opt=3,
        jit=True,
        codemodel="jitdefault",
    )


def pack(key: str, ir: str, name: str) -> bytes:
    """The file of one function of an LLVM module, to be kept under a key."""
    module = llvm.parse_assembly(ir)
    for function in module.functions:  # so that only what it needs stays, without Numba's ways to raise an error
        if not function.is_declaration and function.name != name:
            function.linkage = "internal"
    machine = _machine()
    passes = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=1))
    passes.getModulePassManager().run(module, passes)
    content = name.encode() + b"\n" + machine.emit_object(module)
    return _digest(key, content) + content


def _digest(key: str, content: bytes) -> bytes:
    return hashlib.sha256(key.encode() + b"\n" + content).digest()


def load(key: str, file: bytes) -> tuple[Any, int]:
    """The engine that keeps a packed function alive, and the function's address.

    Raises:
        ValueError: for a damaged file, or another key's.
    """
    digest, content = file[:32], file[32:]
    if _digest(key, content) != digest:
        raise ValueError("the kernel's file is damaged")
    name, code = content.split(b"\n", 1)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _machine())
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    address = engine.get_function_address(name.decode())
    if not address:
        raise ValueError("the kernel's file lacks its function")
    return engine, address
