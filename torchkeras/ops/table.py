"""How an operation is declared: a row of a table, or a function of our own.

Both become a public function by one adapter: it turns what it is given into tensors, brings these
to the dtype of Keras, and calls torch's function with the arguments in Keras' order. On symbolic
tensors it asks for one node of the graph, through torch's protocol of overrides.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, NoReturn

import torch
from torch import Tensor
from torch.overrides import handle_torch_function

from torchkeras import dtypes
from torchkeras.ops.tensors import prepared, prepared_but_numbers, stand_ins

# keras.ops.<name> -> function, of all modules of operations that were imported.
FUNCTIONS: dict[str, Callable] = {}
# (keras.src.ops.<module>, class name) -> operation.
_BY_CLASS: dict[tuple[str, str], Operation] = {}

_SOURCE = """
def {name}({signature}):
    if {is_other}:
        if found := stand_ins({tensors}):
            return handle_torch_function({name}, found, {passed})
        {prepare}
    {rule}
    try:
        {result}
    except (RuntimeError, IndexError) as error:
        explain({name!r}, {tensors}, error)
        raise
"""


class Operation(NamedTuple):
    """What a graph's node and a model's config know of a function.

    Args:
        function: the public one.
        class_name: of the class that Keras writes into a config.
        module: of that class, such as ``'keras.src.ops.numpy'``.
        names: of the arguments; one that takes any number has its star.
        settings: names of those that belong to the config; the others are a call's inputs.
        is_elementwise: whether what comes out is of the shape that the inputs broadcast to.
    """

    function: Callable
    class_name: str
    module: str
    names: tuple[str, ...]
    settings: tuple[str, ...]
    is_elementwise: bool = False

    def split(self, args: tuple, kwargs: dict[str, Any]) -> tuple[list, dict, dict]:
        """Tell the settings of a call from its inputs.

        Returns:
            Positional inputs, inputs by name (settings that JSON cannot hold), settings.
        """
        inputs: list[Any] = []
        named: dict[str, Any] = {}
        settings: dict[str, Any] = {}
        names = iter(self.names)
        name = next(names, "*")
        for value in args:
            _put(value, name, self.settings, inputs, named, settings)
            name = name if name.startswith("*") else next(names, "*")
        for name, value in kwargs.items():
            is_setting = name in self.settings and _is_plain(value)
            (settings if is_setting else named)[name] = _described(value)
        return inputs, named, settings

    def settings_of(self, config: dict[str, Any]) -> dict[str, Any]:
        """Return the settings that a config holds, beside the name."""
        return {name: config[name] for name in self.settings if name in config}

    def joined(self, args: Iterable[Any], named: dict[str, Any]) -> tuple[list, dict]:
        """Put a node's inputs and settings together for a call of the function.

        Args:
            args: positional inputs.
            named: settings, and inputs by name.

        Raises:
            TypeError: for more inputs than the function takes.
        """
        named, args = dict(named), list(args)
        star = next((at for at, name in enumerate(self.names) if name.startswith("*")), None)
        if star is not None:
            return [*(named.pop(name) for name in self.names[:star]), *args], named
        free = [name for name in self.names if name not in self.settings and name not in named]
        if len(args) > len(free):
            raise TypeError(f"{self.class_name} takes {len(free)} inputs; received {len(args)}.")
        return [], {**dict(zip(free, args)), **named}


def _put(
    value: Any, name: str, known: tuple[str, ...], inputs: list, named: dict, settings: dict
) -> None:
    if name not in known:
        inputs.append(value)
    elif _is_plain(value):
        settings[name] = _described(value)
    else:
        named[name] = value


def _is_plain(value: Any) -> bool:
    """Tell whether a config may hold a value."""
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (str, int, float, bool, torch.dtype, type))


def _described(value: Any) -> Any:
    return dtypes.name_of(value) if isinstance(value, (torch.dtype, type)) else value


def operation_of(function: Callable) -> Operation | None:
    """Return what is known of a function of ``keras.ops``; ``None`` for any other."""
    return getattr(function, "_operation", None)


def operation_named(module: str, class_name: str) -> Operation | None:
    """Return the operation that a config means; ``None`` where there is none.

    Args:
        module: as the config writes it.
        class_name: likewise.
    """
    from torchkeras import ops  # imported here because it reads this module

    ops.load()
    found = _BY_CLASS.get((module, class_name))
    if found is None and not module.startswith("keras.src.ops."):  # an era's other spelling
        found = next((item for key, item in _BY_CLASS.items() if key[1] == class_name), None)
    return found


class Table:
    """Declares operations for a file: its rows, and functions of its own.

    Args:
        home: the module of ``keras.src.ops`` in which Keras has their classes, such as ``'numpy'``.
        module: the file's ``__name__``, where the functions are put.
        is_elementwise: whether the functions are, unless one says otherwise.

    Attributes:
        names: of all that was declared, for ``__all__``.
    """

    def __init__(self, home: str, module: str, is_elementwise: bool = False):
        self.home = f"keras.src.ops.{home}"
        self.module = module
        self.is_elementwise = is_elementwise
        self.names: list[str] = []

    def rows(self, *rows: tuple, **options: Any) -> None:
        """Declare functions that torch has.

        Args:
            rows: ``("name(arguments)", torch's function, "What it does.")``, arguments in Keras'
                order, which torch's function must take; a fourth entry is a dictionary of options
                of this row alone.
            options: of all rows; see :meth:`declare`.
        """
        for head, function, sentence, *own in rows:
            name, _, signature = head[:-1].partition("(")
            given = {**options, **(own[0] if own else {})}
            self.declare(name, signature, function, sentence, **given)

    def own(self, function: Callable | None = None, **options: Any) -> Callable:
        """Decorate a function of our own; arguments annotated ``Tensor`` are made tensors.

        Further annotations: ``Tensor | None``; ``list[Tensor]``, a list whose elements are;
        ``Operand``, a tensor or a Python number, which stays one beside a tensor.

        Args:
            function: its public name, arguments and docstring are taken.
            options: see :meth:`declare`.
        """
        if function is None:
            return lambda function: self.own(function, **options)
        parameters = inspect.signature(function).parameters.values()
        kinds = {p.name: str(p.annotation) for p in parameters}
        options.setdefault("tensors", [n for n, k in kinds.items() if k in _TENSORS])
        options.setdefault("lists", [n for n, k in kinds.items() if k == "list[Tensor]"])
        options.setdefault("numbers", "Operand" in kinds.values())
        defaults = {
            f"_{p.name}": p.default for p in parameters if p.default is not inspect.Parameter.empty
        }
        signature = ", ".join(_written(p, parameters) for p in parameters)
        return self.declare(
            function.__name__, signature, function, function.__doc__, defaults, **options
        )

    def declare(
        self,
        name: str,
        signature: str,
        function: Callable,
        doc: str | None,
        defaults: dict[str, Any] | None = None,
        *,
        tensors: Iterable[str] | str | None = None,
        lists: Iterable[str] | str = (),
        numbers: bool = False,
        rule: Callable | None = None,
        to: torch.dtype | None = None,
        keras: str | None = None,
        inputs: str | None = None,
        is_elementwise: bool | None = None,
    ) -> Callable:
        """Make a public function and enter it.

        Args:
            name: Keras'.
            signature: Keras' arguments and defaults, as Python writes them.
            function: what computes; called with all arguments in this order, those behind a star
                by name.
            doc: one sentence on what it does.
            defaults: values for names that stand for defaults in the signature.
            tensors: names of arguments that become tensors; those without a default unless given.
            lists: names of arguments that are lists of tensors.
            numbers: whether Python's numbers among the tensors stay numbers.
            rule: takes the tensors and returns them in the dtype to compute in; see
                :mod:`torchkeras.ops.promotion`.
            to: dtype of what comes out; torch's own unless given.
            keras: the class' name in a config; the name in camel case unless given, and ``''``
                where Keras has none.
            inputs: names of further arguments that a config counts among a call's inputs.
            is_elementwise: whether what comes out has the shape that the inputs broadcast to.
        """
        arguments = [argument.partition("=") for argument in _arguments(signature)]
        names = [given.strip() for given, _, _ in arguments]
        if tensors is None:
            tensors = [given for given, sign, _ in arguments if not sign and given not in lists]
        tensors = tensors.split() if isinstance(tensors, str) else list(tensors)
        lists = lists.split() if isinstance(lists, str) else list(lists)
        # Numbers that may be tensors, of a function that makes its own of them.
        loose = (inputs or "").split() if not tensors and not lists else []
        source = _source(
            name, signature, names, tensors, lists, loose, rule is not None, to is not None
        )
        space = {
            "__name__": self.module,
            **(defaults or {}),
            "Tensor": Tensor,
            "function": function,
            "handle_torch_function": handle_torch_function,
            "stand_ins": stand_ins,
            "prepared": prepared_but_numbers if numbers else prepared,
            "explain": _explain,
            "rule": rule,
            "to": to,
        }
        exec(source, space)
        made = space[name]
        made.__module__, made.__doc__ = self.module, doc
        if defaults is not None:
            made.__wrapped__ = function
        known = {*tensors, *lists, *(inputs or "").split()}
        settings = tuple(n for n in names if n[0] != "*" and n not in known)
        class_name = _camel(name) if keras is None else keras
        made._operation = Operation(
            made,
            class_name,
            self.home,
            tuple(n for n in names if n != "*"),
            settings,
            self.is_elementwise if is_elementwise is None else is_elementwise,
        )
        if class_name:
            _BY_CLASS[self.home, class_name] = made._operation
        FUNCTIONS[name] = made
        self.names.append(name)
        setattr(sys.modules[self.module], name, made)
        return made

    def alias(self, **names: Callable) -> None:
        """Enter further public names of functions, ``new=function``."""
        for name, function in names.items():
            FUNCTIONS[name] = function
            if operation_of(function) is not None:
                _BY_CLASS.setdefault((self.home, _camel(name)), operation_of(function))
            self.names.append(name)
            setattr(sys.modules[self.module], name, function)

    def plain(self, function: Callable) -> Callable:
        """Decorate a function that takes symbolic tensors as they are, or none at all."""
        self.alias(**{function.__name__: function})
        return function


Operand = Any  # a tensor or a Python number; Table.own reads the annotation by its name
_TENSORS = ("Tensor", "Tensor | None", "Operand")


def _arguments(signature: str) -> list[str]:
    """Return the arguments of a signature, which has no commas in defaults."""
    return [argument.strip() for argument in signature.split(",")] if signature else []


def _written(parameter: inspect.Parameter, among: Iterable[inspect.Parameter]) -> str:
    """Return an argument as Python writes it, its default by the name that stands for it."""
    text = parameter.name
    if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
        return f"*{text}"
    if parameter.kind is inspect.Parameter.VAR_KEYWORD:
        return f"**{text}"
    if parameter.default is not inspect.Parameter.empty:
        text = f"{text}=_{text}"
    return text


def _source(
    name: str,
    signature: str,
    names: list[str],
    tensors: list[str],
    lists: list[str],
    loose: list[str],
    has_rule: bool,
    is_cast: bool,
) -> str:
    """Write the public function of an operation."""
    starred = [given[1:] for given in names if given.startswith("*") and given[1:2] != "*"]
    checks, prepare = [], []
    single = [given for given in tensors if given not in starred]
    for given in single:
        can_be_none = f"{given}=" in signature.replace(" ", "")
        check = f"type({given}) is not Tensor"
        checks.append(f"({given} is not None and {check})" if can_be_none else check)
    if single:
        prepare.append(f"{', '.join(single)}, = prepared(({', '.join(single)},))")
    for given in [*lists, *(given for given in tensors if given in starred)]:
        checks.insert(0, "True")
        prepare.append(f"{given} = prepared({given})")
    if loose:
        checks.append("True")
    operands = [*single, *lists, *loose, *(f"*{given}" for given in tensors if given in starred)]
    ruled = f"{', '.join(single)}{',' * (len(single) > 1)} = rule({', '.join(single)})"
    passed, is_named = [], False
    for given in names:
        passed.append(f"{given}={given}" if is_named and given[0] != "*" else given)
        is_named = is_named or given.startswith("*")
    passed = [given for given in passed if given != "*"]
    call = f"function({', '.join(passed)})"
    return _SOURCE.format(
        name=name,
        signature=signature,
        is_other=" or ".join(checks) or "False",
        tensors=f"{', '.join(operands)}" if operands else "()",
        passed=", ".join(passed),
        prepare="\n        ".join(prepare) or "pass",
        rule=ruled if has_rule else "",
        result=f"return {call}.to(to)" if is_cast else f"return {call}",
    )


def _camel(name: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))


def _explain(name: str, *given: Any) -> NoReturn | None:
    """Say for which shapes torch failed; what is no error of the arguments goes on as it is."""
    *tensors, error = given
    if type(error) not in (RuntimeError, IndexError):
        return
    shapes = [_shown(tensor) for tensor in tensors if tensor is not None]
    text = re.split(r"\n|Exception raised from", str(error))[0]
    raise ValueError(f"ops.{name} failed on {', '.join(shapes)}: {text}") from error


def _shown(thing: Any) -> str:
    if isinstance(thing, Tensor):
        return f"{dtypes.name_of(thing.dtype)} of shape {tuple(thing.shape)}"
    if isinstance(thing, (list, tuple)):
        return f"[{', '.join(map(_shown, thing))}]"
    return repr(thing)
