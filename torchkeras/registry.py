"""One table from names, classes, callables and config dictionaries to objects, of every kind."""

from __future__ import annotations

import contextlib
import difflib
import functools
import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np

from torchkeras import eras

T = TypeVar("T")

# kind -> name -> class or function
_tables: dict[str, dict[str, Any]] = {}
# built-in class or function -> the Keras module that a config names, such as 'keras.layers'
_modules: dict[Any, str] = {}
# 'Package>Name' or 'Name' -> the user's object, and the names of registered user objects
_custom: dict[str, Any] = {}
_custom_names: dict[Any, str] = {}
# owner -> old argument name -> new name, or a function from (old value) to {name: value}
_renamed: dict[str, dict[str, Any]] = {}
# kind -> old name of a class -> the name it has now
_former: dict[str, dict[str, str]] = {}
# how many unnamed objects of a kind there are so far
_uses: dict[str, int] = {}


def snake_case(name: str) -> str:
    """Return ``'batch_normalization'`` for ``'BatchNormalization'``, as Keras names objects."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def auto_name(prefix: str) -> str:
    """Return the next free name of a kind: ``dense``, ``dense_1``, … (from 1 in Keras 1 and 2)."""
    count = _uses.get(prefix, 0)
    _uses[prefix] = count + 1
    number = count + eras.value("names.start")
    return f"{prefix}_{number}" if number else prefix


def reset_names() -> None:
    """Start the numbering of names again."""
    _uses.clear()


def register(
    kind: str, *aliases: str, module: str | None = None, named: bool = True
) -> Callable[[T], T]:
    """Put a built-in class or function into the table of a kind.

    Args:
        kind: such as ``'layer'``, ``'activation'``, ``'optimizer'``.
        aliases: further names; a class answers to its own name and to its snake case, a function to
            its own.
        named: whether it answers to names; a base class does not.
        module: the module that Keras' configs name; ``'keras.<kinds>'`` unless given.
    """

    def add(thing: T) -> T:
        names = [thing.__name__, *aliases] if named else []
        if inspect.isclass(thing):
            names += [snake_case(thing.__name__)] if named else []
            _read_constructor(thing)
        table = _tables.setdefault(kind, {})
        for name in names:
            # A function keeps its name when a class has the same in snake case (losses, metrics).
            if not inspect.isclass(thing) or name not in table or name in aliases:
                table[name] = thing
        _modules[thing] = module or f"keras.{kind}{'es' if kind.endswith('s') else 's'}"
        return thing

    return add


def known(kind: str) -> dict[str, Any]:
    """Return a copy of the table of a kind: name -> class or function."""
    return dict(_tables.get(kind, {}))


def is_builtin(thing: Any) -> bool:
    """Tell whether a class or function is one of torchkeras' own."""
    try:
        return thing in _modules
    except TypeError:
        return False


def is_own(cls: type) -> bool:
    """Tell whether a class is written in this package."""
    return cls.__module__.partition(".")[0] == __name__.partition(".")[0]


# --------------------------------------------------------------------------------- arguments


def rename_arguments(table: dict[str, dict[str, Any]]) -> None:
    """Take over old argument names (``compat`` hands its tables here).

    Args:
        table: owner (``'Dense'``, ``'Layer'``, ``'Model.fit'``) -> old name -> the new name, or a
            function from the old value to a dictionary of new arguments. A tuple of names has a
            function that takes all their values, ``None`` where not given: several old arguments
            that became one.
    """
    for owner, names in table.items():
        _renamed.setdefault(owner, {}).update(names)


def rename_classes(kind: str, names: dict[str, str]) -> None:
    """Take over old names of classes, as they stand in configs (``compat`` hands them here).

    Args:
        kind: such as ``'layer'``.
        names: the old name -> the name in the table of the kind.
    """
    _former.setdefault(kind, {}).update(names)


def old_arguments(owner: str) -> list[str]:
    """Return the argument names of older versions that a class, method or function takes."""
    found = _renamed.get(owner, {})
    return sorted({n for key in found for n in (key if isinstance(key, tuple) else (key,))})


def reads_arguments(owner: str) -> Callable[[T], T]:
    """Decorate a method so that it takes old argument names and the era's defaults."""

    def decorate(function: T) -> T:
        parameters = list(inspect.signature(function).parameters.values())
        positional = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
        names = {p.name for p in parameters}
        is_open = any(p.kind is p.VAR_KEYWORD for p in parameters)

        @functools.wraps(function)
        def read(self, *args, **kwargs):
            order = eras.order(owner) if args else None
            if order is not None and len(args) <= len(order):
                given = dict(zip(order, args, strict=False))
                twice = given.keys() & kwargs.keys()
                if twice:
                    raise TypeError(f"{owner} got multiple values for argument {min(twice)!r}")
                args, kwargs = (), given | kwargs
            if not names.issuperset(kwargs):
                kwargs = _translate(owner, type(self), names, is_open, kwargs)
            for name, default in eras.defaults(owner).items():
                if name not in kwargs and name not in positional[: len(args) + 1]:
                    kwargs[name] = default
            return function(self, *args, **kwargs)

        return read

    return decorate


def _read_constructor(cls: type) -> None:
    if "__init__" in cls.__dict__:
        cls.__init__ = reads_arguments(cls.__name__)(cls.__init__)


def _translate(
    owner: str, cls: type, names: set[str], is_open: bool, given: dict[str, Any]
) -> dict[str, Any]:
    """Rename the old arguments of one call; refuse those that nobody knows."""
    old = _renamed.get(owner, {})
    for together, join in old.items():
        if isinstance(together, tuple) and not names.issuperset(given.keys() & set(together)):
            rest = {name: item for name, item in given.items() if name not in together}
            given = {**rest, **join(*map(given.get, together))}
    kwargs, unknown = {}, []
    for name, item in given.items():
        new = name if name in names else old.get(name, name)
        renamed = new(item) if callable(new) else {new: item}
        for new_name, new_item in renamed.items():
            if new_name in kwargs or (new_name != name and new_name in given):
                raise TypeError(
                    f"{owner}: {name!r} is an old name of {new_name!r}, and both were given."
                )
            if not is_open and new_name not in names:
                unknown.append(name)
            kwargs[new_name] = new_item
    if unknown:
        raise ValueError(_unknown_arguments(owner, cls, names, unknown))
    return kwargs


def _unknown_arguments(owner: str, cls: type, names: set[str], unknown: list[str]) -> str:
    """Say which arguments are unknown, and which known ones they resemble."""
    if "." in owner:
        title, candidates = owner, set(names)
    else:
        title, candidates = cls.__name__, set()
        for base in cls.__mro__:
            init = base.__dict__.get("__init__")
            if init is not None and base is not object:
                candidates |= set(inspect.signature(init).parameters)
    candidates -= {"self", "args", "kwargs"}
    shown, near = ", ".join(map(repr, unknown)), _nearest(unknown[0], candidates)
    return f"Unrecognized keyword arguments passed to {title}: {shown}.{near}"


def _nearest(name: str, candidates: Any) -> str:
    """Return ' Did you mean …?' or, with nothing near, the known names."""
    close = difflib.get_close_matches(str(name), sorted(candidates), n=3, cutoff=0.6)
    if close:
        return f" Did you mean {' or '.join(repr(c) for c in close)}?"
    return f" Known: {', '.join(sorted(candidates))}."


# --------------------------------------------------------------------------------- configs


class Configurable:
    """Base of everything with a config: ``get_config`` is derived from the constructor.

    Names come from the signature of the nearest built-in class, values from the live attributes.  A
    user's subclass that writes no ``get_config`` gets the arguments it was constructed with.
    Attributes that a signature and a config do not share are declared per class:

    Attributes:
        config_without: arguments that the config leaves out.
        config_also: further attributes that the config carries.
        config_unless: arguments that the config carries where they are not these defaults.
    """

    config_without: tuple[str, ...] = ()
    config_also: tuple[str, ...] = ()
    config_unless: dict[str, Any] = {}

    def __new__(cls, *args: Any, **kwargs: Any):
        instance = super().__new__(cls)
        if writes_no_config(cls):
            instance.__dict__["_captured"] = (args, kwargs)
        return instance

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that make this object again, as plain Python values."""
        cls = type(self)
        captured = self.__dict__.get("_captured")
        if captured is not None:
            names = _captured_arguments(cls, *captured)
            return {name: serialize_value(item) for name, item in names.items()}
        builtin = next((base for base in cls.__mro__ if base in _modules), None)
        names = _config_names(builtin) if builtin else ()
        config = {name: serialize_value(getattr(self, name)) for name in names}
        unless = self.config_unless.items()
        defaults = {name for name, default in unless if config.get(name) == default}
        return {name: item for name, item in config.items() if name not in defaults}

    @classmethod
    def from_config(cls, config: dict[str, Any]):
        """Make an object from what :meth:`get_config` returned."""
        return cls(**config)


@functools.cache
def _config_names(cls: type) -> tuple[str, ...]:
    parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    return tuple(n for n in [*names, *cls.config_also] if n not in cls.config_without)


@functools.cache
def writes_no_config(cls: type) -> bool:
    """Tell whether a user's class writes its own ``__init__`` and leaves ``get_config`` to us."""
    own: set[str] = set()
    for base in cls.__mro__:
        if base in _modules:
            break
        own.update(base.__dict__)
    return "__init__" in own and "get_config" not in own


def _captured_arguments(cls: type, args: tuple, kwargs: dict) -> dict[str, Any]:
    signature = inspect.signature(cls.__init__)
    bound = signature.bind(None, *args, **kwargs)
    names = {}
    for parameter in list(signature.parameters.values())[1:]:
        if parameter.name not in bound.arguments:
            continue
        item = bound.arguments[parameter.name]
        if parameter.kind is parameter.VAR_KEYWORD:
            names.update(item)
        elif parameter.kind is parameter.VAR_POSITIONAL:
            raise TypeError(
                f"{cls.__name__} takes *{parameter.name}: its config cannot be derived. "
                "Write get_config() and from_config()."
            )
        else:
            names[parameter.name] = item
    return names


def serialize_value(item: Any) -> Any:
    """Return a config's form of a value: objects as dictionaries or names, the rest as it is."""
    if isinstance(item, Configurable) or is_builtin(item) or inspect.isroutine(item):
        return serialize(item)
    if isinstance(item, np.generic):
        return item.item()
    if isinstance(item, list):
        return [serialize_value(part) for part in item]
    if isinstance(item, tuple):
        return tuple(serialize_value(part) for part in item)
    if isinstance(item, dict):
        return {key: serialize_value(part) for key, part in item.items()}
    # A callable that is no class, such as a torch module, has a config or is refused.
    if hasattr(item, "get_config") or (callable(item) and not inspect.isclass(item)):
        return serialize(item)
    return item


def serialize(thing: Any) -> Any:
    """Return Keras 3's serialized form of an object: a name for a function, else a dictionary."""
    if thing is None or isinstance(thing, str):
        return thing
    if inspect.isroutine(thing) or inspect.isclass(thing):
        if is_builtin(thing):
            return thing.__name__
        name = _custom_names.get(thing, thing.__name__)
        return {
            "module": "builtins",
            "class_name": "function",
            "config": name,
            "registered_name": "function",
        }
    cls = type(thing)
    if not hasattr(thing, "get_config"):
        raise TypeError(
            f"{cls.__name__} has no get_config(), so it cannot be part of a config. Write one, or "
            "pass a registered object."
        )
    # Keras gives a name to what its public modules do not have.
    is_public = is_builtin(cls) and not _modules[cls].startswith("keras.src")
    registered = None if is_public else _custom_names.get(cls, cls.__name__)
    config = {
        "module": _modules.get(cls, None if cls.__module__ == "__main__" else cls.__module__),
        "class_name": cls.__name__,
        "config": thing.get_config(),
        "registered_name": registered,
    }
    build = thing.get_build_config() if hasattr(thing, "get_build_config") else None
    if build is not None:
        config["build_config"] = build
    if hasattr(thing, "get_compile_config"):
        config["compile_config"] = thing.get_compile_config()
    return config


# ------------------------------------------------------------------------------------- look-up


def find(kind: str, name: str, custom_objects: dict[str, Any] | None = None) -> Any:
    """Return the class or function of a name: the user's own first, then the built-in ones.

    Raises:
        ValueError: when the name is unknown, with the nearest known names.
    """
    for table in (custom_objects or {}, _custom, _tables.get(kind, {})):
        if name in table:
            return table[name]
    for registered, thing in _custom.items():
        if registered.partition(">")[2] == name:
            return thing
    if name in _former.get(kind, {}):
        return find(kind, _former[kind][name])
    label = kind.replace("_", " ")
    near = _nearest(name, _tables.get(kind, {}))
    raise ValueError(f"Unknown {label} {name!r}.{near}")


def _article(kind: str) -> str:
    """Return 'a layer', 'an optimizer', …"""
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind.replace('_', ' ')}"


def get(kind: str, identifier: Any, custom_objects: dict[str, Any] | None = None) -> Any:
    """Turn a name, a class, a config dictionary, a callable or an instance into an object.

    Args:
        kind: such as ``'layer'`` or ``'initializer'``.
        identifier: what the user gave; ``None`` stays ``None``.
        custom_objects: names for this look-up only.

    Raises:
        ValueError: when a name is unknown, or the thing is of no use as this kind.
    """
    if identifier is None:
        return None
    if isinstance(identifier, dict):
        return deserialize(kind, identifier, custom_objects)
    if isinstance(identifier, str):
        identifier = find(kind, identifier, custom_objects)
    if inspect.isclass(identifier):
        return identifier()
    if callable(identifier) or isinstance(identifier, Configurable):
        return identifier
    raise ValueError(
        f"Expected {_article(kind)}: a name, a config dictionary, a callable or an "
        f"instance. Received {identifier!r} of type {type(identifier).__name__}."
    )


def deserialize(
    kind: str, config: dict[str, Any] | str, custom_objects: dict[str, Any] | None = None
) -> Any:
    """Make an object from its serialized form, of Keras 3 or of Keras 1 and 2.

    Raises:
        ValueError: when the dictionary is not such a form, or names an unknown class.
    """
    if not isinstance(config, dict):
        return get(kind, config, custom_objects)
    if "class_name" not in config:
        raise ValueError(
            f"A config of {_article(kind)} needs the key 'class_name'; received the keys "
            f"{sorted(config)}."
        )
    inner = config.get("config", {})
    if config["class_name"] == "function":
        return find(kind, inner, custom_objects)
    name = config.get("registered_name") or config["class_name"]
    names = {**_custom, **(custom_objects or {})}
    cls = find(kind, name if name in names else config["class_name"], custom_objects)
    if not hasattr(cls, "from_config"):
        return cls(**inner) if inspect.isclass(cls) else cls
    with custom_object_scope(custom_objects or {}):
        made = cls.from_config(dict(inner))
        build = config.get("build_config")
        if build and hasattr(made, "build_from_config"):
            made.build_from_config(build)
        compilation = config.get("compile_config")
        if compilation and hasattr(made, "compile_from_config"):
            made.compile_from_config(compilation)
    return made


def accessors(kind: str) -> tuple[Callable, Callable, Callable]:
    """Return the three functions that every module of Keras objects has, for one kind.

    Returns:
        ``get(identifier)``, ``serialize(object)`` and ``deserialize(config, custom_objects=None)``.
    """

    def get_one(identifier: Any, custom_objects: dict[str, Any] | None = None) -> Any:
        return get(kind, identifier, custom_objects)

    def deserialize_one(config: Any, custom_objects: dict[str, Any] | None = None) -> Any:
        return deserialize(kind, config, custom_objects)

    get_one.__doc__, deserialize_one.__doc__ = get.__doc__, deserialize.__doc__
    get_one.__name__, deserialize_one.__name__ = "get", "deserialize"
    return get_one, serialize, deserialize_one


# ------------------------------------------------------------------------------- custom objects


def get_custom_objects() -> dict[str, Any]:
    """Return the live table of the user's own names."""
    return _custom


@contextlib.contextmanager
def custom_object_scope(*objects: dict[str, Any] | None) -> Iterator[None]:
    """Make the user's names known for the length of a ``with`` block."""
    before = dict(_custom)
    for table in objects:
        _custom.update(table or {})
    try:
        yield
    finally:
        _custom.clear()
        _custom.update(before)


def register_keras_serializable(
    package: str = "Custom", name: str | None = None
) -> Callable[[T], T]:
    """Decorate a class or function so that configs find it, as ``'package>name'``.

    Raises:
        ValueError: when a class has no ``get_config``.
    """

    def add(thing: T) -> T:
        if inspect.isclass(thing) and not hasattr(thing, "get_config"):
            raise ValueError(f"{thing.__name__} has no get_config(): a registered class needs one.")
        registered = f"{package}>{name or thing.__name__}"
        _custom[registered] = thing
        _custom_names[thing] = registered
        return thing

    return add


def get_registered_name(thing: Any) -> str:
    """Return the name that a user's object is registered under, or its own."""
    return _custom_names.get(thing, thing.__name__)


def get_registered_object(name: str, custom_objects: dict[str, Any] | None = None) -> Any:
    """Return the user's object of a registered name, or ``None``."""
    return {**_custom, **(custom_objects or {})}.get(name)
