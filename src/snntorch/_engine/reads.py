"""What a step reads beside its arguments: names of its module, variables around it, attributes of its object.

A step is traced once for all that it reads. So its key is what it consists of: its code, and the values that the names
in it mean now, through the functions that it calls. It holds none of the objects themselves.
"""

import dis
import enum
import functools
import types
import weakref
from collections.abc import Hashable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any, NamedTuple

import torch

# Packages whose contents nobody changes while they are used; random numbers are none of them.
_FIXED = ("torch", "snntorch", "abc", "builtins", "cmath", "functools", "itertools", "math", "numpy", "operator",
          "typing")  # fmt: skip
_LOOKS_ELSEWHERE = ("__import__", "eval", "exec", "globals", "input", "locals", "open", "vars")
_WRITES = ("STORE_GLOBAL", "STORE_ATTR", "DELETE_GLOBAL", "DELETE_ATTR", "IMPORT_NAME")
_AROUND = {staticmethod: "__func__", classmethod: "__func__", property: "fget"}  # a function
_PLAIN = (bool, int, str, bytes, complex, type(None), type(...), torch.dtype, torch.device)
_OF_DATACLASSES = ("__init__", "__repr__", "__eq__", "__hash__", "__lt__", "__le__", "__gt__", "__ge__", "__setattr__",
                   "__delattr__", "__replace__", "__getstate__", "__setstate__")  # fmt: skip


class Changing(Exception):
    """Something may change unseen."""


class Read(NamedTuple):
    """Where a name is looked up, the name, and the attributes that are then read."""

    where: str  # "global", "around", "self", or "elsewhere" for what can't be followed
    name: str
    attributes: tuple[str, ...]


class Key:
    """What objects consist of, to be remembered by.

    Attributes:
        lasting: whether each object is the same for ever, so that it may stand for itself.
    """

    def __init__(self) -> None:
        self.lasting = True
        self._inside: set[int] = set()  # functions and classes that are being looked into

    def of(self, value: Any) -> Hashable:
        """The key of a value.

        Raises:
            Changing: where there is none.
        """
        kind = type(value)
        if kind is float:
            return kind, value.hex()  # 0.0 is not -0.0
        if kind in _PLAIN or isinstance(value, enum.Enum):
            return kind, value
        if kind is tuple:
            return kind, *map(self.of, value)
        if kind is types.FunctionType:
            return self._of_function(value)
        if kind is types.MethodType:
            function, owner = value.__func__, value.__self__
            if _is_fixed(function.__module__):  # such as the `apply` of an `autograd.Function`
                return function, self.of(owner)
            self.lasting = False
            return self._of_function(function, owner)
        if kind in _AROUND:
            return self.of(getattr(value, _AROUND[kind]))
        if kind is functools.partial:
            return self.of(value.func), self.of(value.args), self.of(tuple(value.keywords.items()))
        if isinstance(value, type):
            return self._of_class(value)
        if kind is types.BuiltinFunctionType:
            owner = value.__self__ if isinstance(value.__self__, type) else None
            if _is_fixed(value.__module__ or getattr(owner, "__module__", None)):
                return value
        if is_dataclass(value) and kind.__dataclass_params__.frozen:  # type: ignore[attr-defined]
            return self._of_class(kind), *(self.of(getattr(value, f.name)) for f in fields(value))
        raise Changing

    def _of_function(self, function: types.FunctionType, me: Any = None) -> Hashable:
        if me is None and _is_ours(function):
            return function
        if id(function) in self._inside:
            return "again"
        self._inside.add(id(function))
        try:
            read = _reads(function, me is not None)
            self.lasting &= not read and function.__closure__ is None
            defaults = (function.__defaults__ or (), tuple((function.__kwdefaults__ or {}).items()))
            return _Same(function.__code__), *(self._now(r, function, me) for r in read), self.of(defaults)
        finally:
            self._inside.discard(id(function))

    def _of_class(self, kind: type) -> Hashable:
        """A class and what it and those that it inherits from consist of."""
        content: list[Hashable] = [_Same(kind)]
        if id(kind) in self._inside:
            return "again"
        self._inside.add(id(kind))
        try:
            for part in kind.__mro__:
                if not _is_fixed(part.__module__):
                    self.lasting = False
                    content += [self.of(value) for name, value in vars(part).items() if _counts(name, value)]
        finally:
            self._inside.discard(id(kind))
        return tuple(content)

    def _now(self, read: Read, function: types.FunctionType, me: Any) -> Hashable:
        """What is read now."""
        if read.where == "elsewhere":
            raise Changing
        if read.where == "self":
            value = me
        elif read.where == "around":
            try:
                value = (function.__closure__ or ())[function.__code__.co_freevars.index(read.name)].cell_contents
            except ValueError:  # not bound yet
                raise Changing from None
        elif read.name in function.__globals__:
            value = function.__globals__[read.name]
        else:
            return None  # Python's own
        for name in read.attributes:
            if _is_fixed_module(value, name):
                return None
            if isinstance(value, torch.Tensor):
                raise Changing
            try:
                value = getattr(value, name)
            except AttributeError:
                raise Changing from None
        return self.of(value)


class _Same:
    """Equal where it holds the same object; a function's code lives as long as what was compiled of it."""

    def __init__(self, value: object) -> None:
        self.value = value

    def __hash__(self) -> int:
        return id(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self.value is other.value


def _is_fixed(module: str | None) -> bool:
    parts = (module or "").split(".")
    return parts[0] in _FIXED and "random" not in parts


def _is_fixed_module(value: Any, name: str) -> bool:
    return isinstance(value, types.ModuleType) and _is_fixed(f"{value.__name__}.{name}")


def _is_ours(function: types.FunctionType) -> bool:
    """Whether it is a package's own; what a package makes of the user's functions has them around it."""
    torchs = (function.__module__ or "").startswith("torch.")
    return _is_fixed(function.__module__) and (torchs or function.__closure__ is None)


def _counts(name: str, value: Any) -> bool:
    """Whether something in a class may decide what its functions compute."""
    if isinstance(value, types.MemberDescriptorType | types.GetSetDescriptorType):
        return False
    if name.startswith("__") and name.endswith("__"):
        return isinstance(value, types.FunctionType) and name not in _OF_DATACLASSES
    return True


_known: weakref.WeakKeyDictionary[types.FunctionType, tuple[Read, ...]] = weakref.WeakKeyDictionary()


def _reads(function: types.FunctionType, bound: bool) -> tuple[Read, ...]:
    """What a function and those written inside it read, without repetition; a bound one's first argument is `self`."""
    found = _known.get(function)
    if found is None:
        code = function.__code__
        me = code.co_varnames[0] if bound and code.co_argcount else None
        found = tuple(r for r in dict.fromkeys(_scan(code, set(code.co_freevars), me)) if not _is_known(r, function))
        _known[function] = found
    return found


def _is_known(read: Read, function: types.FunctionType) -> bool:
    """Whether a name means what no one binds anew: what is in a package, or Python's own."""
    if read.where != "global":
        return False
    if read.name not in function.__globals__:
        return True
    value = function.__globals__[read.name]
    if isinstance(value, types.FunctionType):
        return _is_ours(value)
    return bool(read.attributes) and _is_fixed_module(value, read.attributes[0])


def _scan(code: types.CodeType, around: set[str], me: str | None) -> Iterator[Read]:
    instructions = [i for i in dis.get_instructions(code) if i.opname not in ("CACHE", "EXTENDED_ARG")]
    for k, instruction in enumerate(instructions):
        operation, name = instruction.opname, instruction.argval
        if operation in _WRITES or (operation == "STORE_DEREF" and name in around):
            yield Read("elsewhere", name, ())
        attributes = []
        for following in instructions[k + 1 :]:
            if following.opname not in ("LOAD_ATTR", "LOAD_METHOD"):
                break
            attributes.append(following.argval)
        if operation in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield Read("elsewhere" if name in _LOOKS_ELSEWHERE else "global", name, tuple(attributes))
        elif "LOAD_FAST" in operation or "DEREF" in operation:
            names = name if isinstance(name, tuple) else (name,)
            for j, one in enumerate(names):
                read = tuple(attributes) if j == len(names) - 1 else ()
                if one == me:
                    yield Read("self", one, read)
                elif one in around:
                    yield Read("around", one, read)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _scan(constant, around, me if me in constant.co_freevars else None)
