"""How an operation is declared: a row of a table, or a function of our own.

Both become a public function by one adapter: it turns what it is given into tensors, brings these
to the dtype of Keras, and calls torch's function with the arguments in Keras' order. On symbolic
tensors it asks for one node of the graph, through torch's protocol of overrides.
"""

from __future__ import annotations

import inspect
import itertools
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, NoReturn

import torch
from torch import Tensor
from torch.overrides import handle_torch_function

from torchkeras import config, dtypes
from torchkeras.ops.tensors import prepared, prepared_but_numbers, stand_ins

# keras.ops.<name> -> function, of all modules of operations that were imported.
FUNCTIONS: dict[str, Callable] = {}
# (keras.src.ops.<module>, class name) -> operation.
_BY_CLASS: dict[tuple[str, str], Operation] = {}

_SOURCE = """
def {name}({signature}):
    if {is_other}:
        if found := stand_ins({tensors}):
            return handle_torch_function(itself, found, {passed})
        {prepare}
    {rule}
    try:
        {result}
    except (RuntimeError, IndexError) as error:
        explain({title!r}, {tensors}, error)
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
        spec: returns shape and dtype of what comes out, or a list of such pairs, of a call's
            arguments by name; ``None``, or what returns it, where these are found by trial.
    """

    function: Callable
    class_name: str
    module: str
    names: tuple[str, ...]
    settings: tuple[str, ...]
    is_elementwise: bool = False
    spec: Callable | None = None

    def split(self, args: tuple, kwargs: dict[str, Any]) -> tuple[list, dict, dict]:
        """Tell the settings of a call from its inputs.

        Returns:
            Positional inputs, inputs by name (settings that JSON cannot hold), settings.
        """
        names = list(itertools.takewhile(lambda name: name[0] != "*", self.names))
        pairs = list(itertools.zip_longest(names[: len(args)], args))
        inputs = [value for name, value in pairs if name not in self.settings]
        given = {**{name: value for name, value in pairs if name in self.settings}, **kwargs}
        settings = {name: given[name] for name in self.settings if _is_plain(given.get(name, ...))}
        if settings.get("data_format", ...) is None:  # that of now, not of a later call
            settings["data_format"] = config.image_data_format()
        named = {name: value for name, value in given.items() if name not in settings}
        return inputs, *(_described(one) for one in (named, settings))

    def settings_of(self, written: dict[str, Any]) -> dict[str, Any]:
        """Return the settings that a config holds, beside the name."""
        return {name: written[name] for name in self.settings if name in written}

    def joined(self, args: Iterable[Any], named: dict[str, Any]) -> tuple[list, dict]:
        """Put a node's inputs and settings together for a call of the function.

        Args:
            args: positional inputs.
            named: settings, and inputs by name.

        Raises:
            TypeError: for more inputs than the function takes.
        """
        named, args = dict(named), list(args)
        names = [name for name in self.names if not name.startswith("**")]
        if names and names[-1].startswith("*"):
            first = [named.pop(name) if name in named else args.pop(0) for name in names[:-1]]
            return [*first, *args], named
        free = [name for name in names if name not in self.settings and name not in named]
        if len(args) > len(free):
            raise TypeError(f"{self.class_name} takes {len(free)} inputs; received {len(args)}.")
        return [], {**dict(zip(free, args)), **named}


def _is_plain(value: Any) -> bool:
    """Tell whether a config may hold a value."""
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (str, int, float, bool, torch.dtype, type))


def _described(given: dict[str, Any]) -> dict[str, Any]:
    kinds = (torch.dtype, type)
    return {n: dtypes.name_of(v) if isinstance(v, kinds) else v for n, v in given.items()}


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
        is_public: whether they are ``keras.ops.<name>``, beside ``keras.ops.<home>.<name>``.

    Attributes:
        prefix: what errors write before a function's name.
        names: of all that was declared, for ``__all__``.
    """

    prefix = "ops"

    def __init__(
        self, home: str, module: str, is_elementwise: bool = False, is_public: bool = True
    ):
        self.home = f"keras.src.ops.{home}"
        self.module = module
        self.is_elementwise = is_elementwise
        self.is_public = is_public
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
            space: dict[str, Any] = {}
            exec(f"def {head}: pass", space)
            signature = inspect.signature(space[head.partition("(")[0]])
            given = {**options, **(own[0] if own else {})}
            self.declare(head.partition("(")[0], signature, function, sentence, **given)

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
        signature = inspect.signature(function)
        kinds = {p.name: str(p.annotation) for p in signature.parameters.values()}
        options = {
            "tensors": [name for name, kind in kinds.items() if kind in _TENSORS],
            "lists": [name for name, kind in kinds.items() if kind == "list[Tensor]"],
            "numbers": "Operand" in kinds.values(),
            **options,
        }
        made = self.declare(function.__name__, signature, function, function.__doc__, **options)
        made.__wrapped__ = function
        return made

    def declare(
        self,
        name: str,
        signature: inspect.Signature,
        function: Callable,
        doc: str | None,
        *,
        tensors: Sequence[str] | str | None = None,
        lists: Sequence[str] | str = (),
        numbers: bool = False,
        rule: Callable | None = None,
        to: torch.dtype | None = None,
        keras: str | None = None,
        inputs: str = "",
        is_elementwise: bool | None = None,
        spec: Callable | None = None,
    ) -> Callable:
        """Make a public function and enter it.

        Args:
            name: Keras'.
            signature: Keras' arguments, and defaults that Python can read as it writes them.
            function: what computes; called with all arguments in this order, those behind a star
                by name.
            doc: one sentence on what it does.
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
            spec: takes a call's arguments by name, symbolic tensors among them, and returns shape
                and dtype of what comes out, or a list of such pairs where several tensors do; or
                ``None`` for a call whose shapes are found by trial, as all are unless given.
        """
        parameters = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
        names = tuple(str(p.replace(default=p.empty)) for p in parameters)
        lists = lists.split() if isinstance(lists, str) else lists
        if tensors is None:
            tensors = [p.name for p in parameters if p.default is p.empty and p.name not in lists]
        tensors = tensors.split() if isinstance(tensors, str) else tensors
        # Numbers that may be tensors, of a function that makes its own of them.
        loose = [] if tensors or lists else inputs.split()
        title = f"{self.prefix}.{name}"
        source = _source(title, parameters, tensors, lists, loose, rule is not None, to is not None)
        space = dict(_SPACE, __name__=self.module, computes=function, rule=rule, to=to)
        space["prepared"] = prepared_but_numbers if numbers else prepared
        # A file of this package, so that warnings go to the line of the user.
        exec(compile(source, f"{__file__}:{name}", "exec"), space)
        made = space["itself"] = space[name]  # an argument may have the function's name
        made.__module__, made.__doc__ = self.module, doc
        known = {*tensors, *lists, *inputs.split()}
        settings = tuple(n for n in names if n[0] != "*" and n not in known)
        class_name = _camel(name) if keras is None else keras
        is_elementwise = self.is_elementwise if is_elementwise is None else is_elementwise
        operation = Operation(made, class_name, self.home, names, settings, is_elementwise, spec)
        made._operation = operation
        if class_name:
            _BY_CLASS[self.home, class_name] = operation
        self._enter(name, made)
        return made

    def alias(self, **names: Callable) -> None:
        """Enter further public names of functions, ``new=function``."""
        for name, function in names.items():
            if operation_of(function) is not None:
                _BY_CLASS.setdefault((self.home, _camel(name)), operation_of(function))
            self._enter(name, function)

    def _enter(self, name: str, function: Callable) -> None:
        if self.is_public:
            FUNCTIONS[name] = function
        self.names.append(name)
        setattr(sys.modules[self.module], name, function)

    def plain(self, function: Callable) -> Callable:
        """Decorate a function that takes symbolic tensors as they are, or none at all."""
        self.alias(**{function.__name__: function})
        return function


Operand = Any  # a tensor or a Python number; Table.own reads the annotation by its name
_TENSORS = ("Tensor", "Tensor | None", "Operand")


# How an argument is handed on.
_PASSED = {
    inspect.Parameter.POSITIONAL_OR_KEYWORD: "{0}",
    inspect.Parameter.VAR_POSITIONAL: "*{0}",
    inspect.Parameter.KEYWORD_ONLY: "{0}={0}",
    inspect.Parameter.VAR_KEYWORD: "**{0}",
}


def _source(
    title: str,
    parameters: Sequence[inspect.Parameter],
    tensors: Sequence[str],
    lists: Sequence[str],
    loose: Sequence[str],
    has_rule: bool,
    is_cast: bool,
) -> str:
    """Write the public function of an operation."""
    single = [p for p in parameters if p.name in tensors and p.kind is not p.VAR_POSITIONAL]
    starred = [p.name for p in parameters if p.name in tensors and p.kind is p.VAR_POSITIONAL]
    checks = ["True"] if lists or starred or loose else []
    for p in single:
        is_open = "" if p.default is p.empty else f"{p.name} is not None and "
        checks.append(f"({is_open}type({p.name}) is not Tensor)")
    one_by_one = ", ".join(p.name for p in single) + ","
    prepare = [f"{one_by_one} = prepared(({one_by_one}))"] if single else []
    prepare += [f"{given} = prepared({given})" for given in [*lists, *starred]]
    operands = [p.name for p in single] + [*lists, *loose, *(f"*{given}" for given in starred)]
    passed = ", ".join(_PASSED[p.kind].format(p.name) for p in parameters)
    ruled = one_by_one if len(single) > 1 else one_by_one[:-1]
    return _SOURCE.format(
        name=title.rpartition(".")[2],
        title=title,
        signature=str(inspect.Signature(parameters))[1:-1],
        is_other=" or ".join(checks) or "False",
        tensors=", ".join(operands) or "()",
        passed=passed,
        prepare="\n        ".join(prepare) or "pass",
        rule=f"{ruled} = rule({one_by_one})" if has_rule else "",
        result=f"return computes({passed})" + ".to(to)" * is_cast,
    )


def _camel(name: str) -> str:
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))


def _explain(title: str, *given: Any) -> NoReturn | None:
    """Say for which shapes torch failed; what is no error of the arguments goes on as it is."""
    *tensors, error = given
    if type(error) not in (RuntimeError, IndexError, torch.linalg.LinAlgError):
        return
    shapes = [_shown(tensor) for tensor in tensors if tensor is not None]
    text = re.split(r"\n|Exception raised from", str(error))[0]
    raise ValueError(f"{title} failed on {', '.join(shapes)}: {text}") from error


def _shown(thing: Any) -> str:
    if isinstance(thing, Tensor):
        return f"{dtypes.name_of(thing.dtype)} of shape {tuple(thing.shape)}"
    if isinstance(thing, (list, tuple)):
        return f"[{', '.join(map(_shown, thing))}]"
    return repr(thing)


# What the public functions read beside their own.
_SPACE = {
    "Tensor": Tensor,
    "handle_torch_function": handle_torch_function,
    "stand_ins": stand_ins,
    "explain": _explain,
}
