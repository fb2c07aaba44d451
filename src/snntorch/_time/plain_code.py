"""Whether a module's code does the same at every call, as far as its attributes are the same.

Python may do anything at a call: count, draw, print, read a file. A forward is plain where it reaches nothing but its
arguments, modules, constants and functions that are plain too. PyTorch's code and this package's are taken to be.
"""

import builtins
import dis
import enum
import functools
from collections.abc import Collection, Iterator, Sequence
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple

import torch
from torch import nn

_KNOWN = {"torch", "snntorch", "math", "typing", "collections", "functools", "itertools", "operator", "einops"}
_BUILTINS = {
    getattr(builtins, name)
    for name in "range len zip enumerate isinstance issubclass int float bool complex str tuple list dict set "
    "frozenset min max sum abs round reversed sorted any all map filter super getattr hasattr type slice divmod pow "
    "repr format callable next iter object staticmethod classmethod property".split()
}  # fmt: skip
CONSTANTS = int, float, complex, str, bytes, type(None), type(...), torch.dtype, torch.device, enum.Enum, torch.layout
_BY_NAME = {"getattr", "attrgetter", "methodcaller", "__dict__"}
_CALLED = {"forward", *(f"__{name}__" for name in "call getattr getattribute getitem iter len contains bool".split())}


class Reads(NamedTuple):
    """What a piece of code reads by name, and whether it sets attributes of its first argument."""

    globals: frozenset[str]
    attributes: frozenset[str]
    sets: bool


def attributes_read(modules: Sequence[nn.Module]) -> set[str] | None:
    """The attributes that the modules' forwards read, with all that they call; None where one is not plain.

    What the modules themselves hold under these names may change: whoever asks is to compare it.
    """
    held = {id(m): vars(m) for m in modules}
    places: dict[int, Any] = held | {id(base): vars(base) for m in modules for base in type(m).__mro__[:-1]}
    names, checked = set(_CALLED), set[FunctionType]()
    before, of_package = set[str](), dict[int, bool]()  # names and places that were looked at
    while len(names) > len(before) or len(places) > len(of_package):
        fresh, before = names - before, set(names)
        for key, place in list(places.items()):
            looked_at = key in of_package
            if not looked_at:
                of_package[key] = _known(place.get("__module__"))
            for name in (fresh if looked_at else before) & place.keys():
                for value in _functions(place[name]):
                    if key in held:
                        asked = callable(value) and not isinstance(value, nn.Module)
                    else:
                        asked = not of_package[key] or isinstance(value, FunctionType)
                    if asked and not _check(value, names, checked, places):
                        return None
        if not names.isdisjoint(_BY_NAME):  # names that are made
            own = [place for key, place in places.items() if not of_package.get(key)]
            names |= {name for place in own for name in place if not name.startswith("__")}
    return names


def _functions(value: Any) -> Iterator[Any]:
    """What runs where an attribute is read, or its value."""
    if isinstance(value, property):
        yield from (f for f in (value.fget, value.fset) if f is not None)
    else:
        yield getattr(value, "__func__", value)


def _check(value: Any, names: set[str], checked: set[FunctionType], places: dict[int, Any]) -> bool:
    """Whether a value that code reaches can't change, nor do anything else from call to call."""
    if isinstance(value, CONSTANTS):
        return True
    if isinstance(value, tuple | frozenset):
        return all(_check(v, names, checked, places) for v in value)
    if isinstance(value, ModuleType):
        if not _known(value.__name__):
            places[id(value)] = vars(value)
        return True
    if isinstance(value, FunctionType):
        return _known(value.__module__) or value in checked or _check_function(value, names, checked, places)
    if isinstance(value, MethodType):
        return isinstance(value.__self__, nn.Module) and _check(value.__func__, names, checked, places)
    if isinstance(value, functools.partial):
        return _check((value.func, *value.args, *value.keywords.values()), names, checked, places)
    if isinstance(value, type):
        harmless = issubclass(value, nn.Module | torch.autograd.Function | BaseException) or hasattr(value, "_fields")
        return harmless or _known(value.__module__) or value in _BUILTINS
    if isinstance(value, BuiltinFunctionType):
        of_torch = value.__module__ is None and _known(type(value.__self__).__module__, ("torch", "snntorch"))
        return value in _BUILTINS or of_torch or _known(value.__module__)  # a deque's `popleft` is of no module
    return (
        callable(value) and not isinstance(value, nn.Module) and _known(type(value).__module__, ("torch", "snntorch"))
    )


def _check_function(function: FunctionType, names: set, checked: set, places: dict) -> bool:
    reads = _reads(function.__code__)
    if reads is None or (reads.sets and not _is_method(function)):  # of a module, whose attributes are compared
        return False
    checked.add(function)
    names |= reads.attributes | (reads.globals & {"getattr"})
    held = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    held += [cell.cell_contents for cell in function.__closure__ or () if cell != CellType()]
    held += [function.__globals__.get(name, getattr(builtins, name, None)) for name in reads.globals]
    return all([_check(value, names, checked, places) for value in held])


def _is_method(function: FunctionType) -> bool:
    return "." in function.__qualname__.rpartition("<locals>.")[2]


def _known(name: str | None, packages: Collection[str] = _KNOWN) -> bool:
    return name is not None and name.partition(".")[0] in packages


@functools.lru_cache(4096)
def _reads(code: CodeType) -> Reads | None:
    """What code reads by name; None where it sets more than variables and attributes of its first argument."""
    globals_: set[str] = set()
    attributes: set[str] = set()
    own, sets = code.co_varnames[:1], False
    before: Any = None
    for instruction in dis.get_instructions(code):
        name, argument = instruction.opname, instruction.argval
        if name == "STORE_ATTR":
            loaded = before.argval[-1:] if isinstance(before.argval, tuple) else (before.argval,)
            if "LOAD_FAST" not in before.opname or loaded != own:  # one of Python 3.13 stores another first
                return None
            sets = True
        elif name in ("STORE_GLOBAL", "DELETE_GLOBAL", "DELETE_ATTR", "LOAD_BUILD_CLASS") or (
            name == "STORE_DEREF" and argument in code.co_freevars
        ):
            return None
        elif name == "IMPORT_NAME" and not _known(argument):
            return None
        elif name in ("LOAD_GLOBAL", "LOAD_NAME"):
            globals_.add(argument)
        elif name.startswith(("LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER", "IMPORT_FROM")):
            attributes.add("getattr" if argument in ("__getattr__", "__getattribute__") else argument)
        before = instruction
    for inner in code.co_consts:
        if isinstance(inner, str):  # it may be a name too
            attributes.add(inner)
        elif isinstance(inner, CodeType):
            reads = _reads(inner)
            if reads is None or reads.sets:
                return None
            globals_ |= reads.globals
            attributes |= reads.attributes
    return Reads(frozenset(globals_), frozenset(attributes), sets)
