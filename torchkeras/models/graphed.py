"""Models made of symbolic inputs and outputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from torchkeras import dtypes, graph, tree
from torchkeras.graph import Graph, KerasTensor
from torchkeras.layers import Input, InputLayer, Layer
from torchkeras.layers.spec import shape_of_rank
from torchkeras.layers.structures import flat_shapes
from torchkeras.variable import as_tensor


class Graphed:
    """The half of a model that runs a graph; at rest in a model that was given none."""

    _graph: Graph | None = None
    # The outputs as the model was given them; the graph's may have losses beside them.
    _outputs: Any = None
    _symbolic_losses: tuple[KerasTensor, ...] = ()
    # What is computed beside the outputs and reported: names and tensors.
    _symbolic_metrics: tuple[tuple[str, KerasTensor], ...] = ()

    def _set_graph(self, inputs: Any, outputs: Any) -> None:
        """Become the model that computes some symbolic outputs from some symbolic inputs."""
        for what, given in (("inputs", inputs), ("outputs", outputs)):
            for leaf in tree.leaves(given):
                if not isinstance(leaf, KerasTensor):
                    raise ValueError(
                        f"Model {self.name!r}: {what} must be symbolic tensors, as Input(…) and "
                        f"layers called on them give; received {leaf!r} of type "
                        f"{type(leaf).__name__}."
                    )
            if not any(True for _ in tree.leaves(given)):
                raise ValueError(f"Model {self.name!r} needs {what}; received {given!r}.")
        inputs, outputs = _from_inputs(self.name, inputs, outputs)
        self.__dict__["_outputs"] = outputs
        self.__dict__["_graph"] = Graph(inputs, outputs)
        self._own_operations()
        self.__dict__["_build_shape"] = None
        self.__dict__["built"] = True
        self.train(self.training)

    def _own_operations(self) -> None:
        """Register the graph's layers as modules, numbered as in ``nn.Sequential``.

        Their names would make the ``state_dict`` of equal models differ. The graph calls its own
        layers: another module written into ``_modules`` itself is not called (``setattr`` raises).
        """
        for index, layer in enumerate(self._graph_layers()):
            self._modules[str(index)] = layer
        self.__dict__["_anchor"] = None

    def _graph_layers(self) -> list[Layer]:
        return [one for one in self._graph.operations if isinstance(one, Layer)]

    @property
    def operations(self) -> list[Any]:
        """The layers and the torch functions of the graph, in Keras' order.

        Raises:
            AttributeError: for a model that is not made of symbolic tensors.
        """
        return list(self._needed_graph("operations").operations)

    def _needed_graph(self, wanted: str) -> Graph:
        if self._graph is None:
            raise AttributeError(
                f"Model {self.name!r} is not made of symbolic inputs and outputs, so it has no "
                f"{wanted}."
            )
        return self._graph

    @property
    def input(self) -> Any:
        """The symbolic inputs, in the structure that the model was given."""
        return super().input if self._graph is None else self._graph.inputs

    @property
    def output(self) -> Any:
        """The symbolic outputs, in the structure that the model was given."""
        return super().output if self._graph is None else self._outputs

    @property
    def inputs(self) -> list[KerasTensor]:
        """The symbolic inputs, in a list.

        Raises:
            AttributeError: for a model that is not made of symbolic tensors.
        """
        return tree.flatten(self._needed_graph("inputs").inputs)

    @property
    def outputs(self) -> list[KerasTensor]:
        """The symbolic outputs, in a list.

        Raises:
            AttributeError: for a model that is not made of symbolic tensors.
        """
        self._needed_graph("outputs")
        return tree.flatten(self._outputs)

    @property
    def input_names(self) -> list[str]:
        """The names of the inputs, as dictionaries of data name them."""
        return [name for name, _ in self._named_inputs()]

    @property
    def output_names(self) -> list[str]:
        """The names of the outputs: of the layers that they come from, or a dictionary's keys.

        In structures within structures they are paths, such as ``'pair/left'``.
        """
        return list(_paths(self._outputs))

    def _named_inputs(self) -> Iterator[tuple[str, KerasTensor]]:
        inputs = self._needed_graph("inputs").inputs
        if isinstance(inputs, Mapping):
            keys = [key for key in tree.keys(inputs) for _ in tree.leaves(inputs[key])]
            yield from zip(keys, tree.leaves(inputs))
        else:
            yield from ((tensor.source.name, tensor) for tensor in tree.leaves(inputs))

    @property
    def input_shape(self) -> Any:
        """The shape of the input; of several, a list of shapes."""
        if self._graph is None:
            return super().input_shape
        return _one_or_all([tensor.shape for tensor in self.inputs])

    @property
    def output_shape(self) -> Any:
        """The shape of the output; of several, a list of shapes."""
        if self._graph is None:
            return super().output_shape
        return _one_or_all([tensor.shape for tensor in self.outputs])

    # -------------------------------------------------------------------------------- running

    def call(self, inputs: Any, mask: Any = None) -> Any:
        """Run the graph.

        Args:
            inputs: a tensor for each symbolic input: in their structure, in a list, or in a
                dictionary by the inputs' names.
            mask: the inputs' masks.
        """
        if self._graph is None:
            raise TypeError(
                f"{type(self).__name__} defines no call(inputs): write one, or give the model "
                "symbolic inputs and outputs."
            )
        tensors = self._flat_inputs(inputs)
        if mask is not None:
            for index, one in enumerate(tree.leaves(mask)):
                if one is not None and getattr(tensors[index], "_keras_mask", None) is not one:
                    # A view, since the tensor may be the caller's.
                    tensors[index] = tensors[index].view_as(tensors[index])
                    tensors[index]._keras_mask = one
        outputs = self._graph(*tensors)
        if self._has_extras:
            outputs, (losses, values) = outputs
            for loss in losses:
                self._penalize(loss if loss.dim() == 0 else loss.mean())
            for (name, _), value in zip(self._symbolic_metrics, values):
                super().add_metric(value, name)
        return outputs[0] if isinstance(outputs, (list, tuple)) and len(outputs) == 1 else outputs

    def _flat_inputs(self, inputs: Any) -> list[torch.Tensor]:
        """Return a tensor for each symbolic input, of its rank and dtype.

        Raises:
            ValueError: when there are more, fewer or others than the model takes.
        """
        expected = self._graph.inputs
        if isinstance(expected, KerasTensor) and isinstance(inputs, torch.Tensor):
            return [self._fitting(inputs, expected)]
        named = list(self._named_inputs())
        if isinstance(inputs, Mapping):
            missing = [name for name, _ in named if name not in inputs]
            if missing:
                raise ValueError(
                    f"Model {self.name!r} has the inputs {[name for name, _ in named]}; received a "
                    f"dictionary without {missing[0]!r}, its keys are {sorted(inputs)}."
                )
            if isinstance(expected, Mapping):
                found = [leaf for name in tree.keys(expected) for leaf in tree.leaves(inputs[name])]
            else:
                found = [inputs[name] for name, _ in named]
        else:
            found = tree.flatten(inputs)
        if len(found) != len(named):
            raise ValueError(
                f"Model {self.name!r} takes {len(named)} inputs, {[name for name, _ in named]}; "
                f"received {len(found)}."
            )
        return [self._fitting(part, tensor) for part, (_, tensor) in zip(found, named)]

    def _fitting(self, tensor: Any, expected: KerasTensor) -> torch.Tensor:
        """Give an input the dtype of the symbolic one, and a last axis of 1 more or less."""
        if not isinstance(tensor, torch.Tensor):
            try:
                tensor = as_tensor(tensor, device=self._device())
            except (TypeError, ValueError) as error:
                raise ValueError(
                    f"Model {self.name!r}: its input {expected.name!r} takes an array of numbers; "
                    f"received {type(tensor).__name__}: {error}"
                ) from None
        if tensor.dim() != len(expected.shape):
            shape = shape_of_rank(tensor.shape, expected.shape)
            if len(shape) != len(expected.shape):
                raise ValueError(
                    f"Model {self.name!r}: its input {expected.name!r} has the shape "
                    f"{expected.shape}; received a tensor of shape {tuple(tensor.shape)}."
                )
            tensor = tensor.reshape(shape)
        for size, known in zip(tensor.shape, expected.shape):
            if known is not None and size != known:
                raise ValueError(
                    f"Model {self.name!r}: its input {expected.name!r} has the shape "
                    f"{expected.shape}; received a tensor of shape {tuple(tensor.shape)}."
                )
        wanted = dtypes.to_torch(expected.dtype)
        return tensor if tensor.dtype is wanted else self._converted(tensor, wanted)

    def _converted(self, tensor: torch.Tensor, wanted: torch.dtype) -> torch.Tensor:
        # After model.double() the weights', not the symbolic input's, is the floats' dtype.
        if wanted.is_floating_point and tensor.dtype is self.dtype_policy.torch_dtype:
            return tensor
        converted = tensor.to(wanted)
        if getattr(tensor, "_keras_mask", None) is not None:
            converted._keras_mask = tensor._keras_mask
        return converted

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """Return the specs of the outputs for symbolic inputs."""
        if self._graph is None or type(self).call is not Graphed.call:
            return super().compute_output_spec(*args, **kwargs)
        outputs = self._outputs
        given = self._symbolic_inputs(args[0])
        if [one.shape for one in given] != [tensor.shape for tensor in self.inputs]:
            outputs = self._graph.again(*given)
            outputs = outputs[0] if self._has_extras else outputs
        outputs = tree.map_structure(lambda one: graph.Spec(one.shape, one.dtype), outputs)
        return outputs[0] if isinstance(outputs, (list, tuple)) and len(outputs) == 1 else outputs

    def _symbolic_inputs(self, inputs: Any) -> list[KerasTensor]:
        named = list(self._named_inputs())
        if isinstance(inputs, Mapping) and not isinstance(self._graph.inputs, Mapping):
            inputs = [inputs.get(name) for name, _ in named]
        found = tree.flatten(inputs)
        if len(found) != len(named):
            raise ValueError(
                f"Model {self.name!r} takes {len(named)} inputs, {[name for name, _ in named]}; "
                f"received {len(found)}."
            )
        for one, (name, expected) in zip(found, named):
            fits = len(one.shape) == len(expected.shape) and all(
                a is None or b is None or a == b for a, b in zip(one.shape, expected.shape)
            )
            same = shape_of_rank(one.shape, expected.shape)
            if not fits and (same == one.shape or len(same) != len(expected.shape)):
                raise ValueError(
                    f"Model {self.name!r}: its input {name!r} has the shape {expected.shape}; "
                    f"received one of shape {one.shape}."
                )
        return found

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Return the outputs' shapes for the inputs'."""
        if self._graph is None or type(self).call is not Graphed.call:
            return super().compute_output_shape(input_shape)
        flat = flat_shapes(input_shape)
        if len(flat) != len(self.inputs):
            raise ValueError(
                f"Model {self.name!r} takes {len(self.inputs)} inputs; received "
                f"{len(flat)} shapes: {input_shape!r}."
            )
        given = [KerasTensor(shape, one.dtype) for shape, one in zip(flat, self.inputs)]
        specs = self.compute_output_spec(tree.pack_like(self._graph.inputs, given))
        return tree.map_structure(lambda spec: spec.shape, specs)

    def get_build_config(self) -> dict[str, Any] | None:
        """Return what ``build`` needs: nothing for a graph, which Keras writes as no shape."""
        return super().get_build_config() if self._graph is None else {"input_shape": None}

    def add_loss(self, loss: Any, inputs: Any = None) -> None:
        """Add scalars to what training lowers.

        Args:
            loss: symbolic tensors that follow from the model's inputs, as Keras 1 and 2 allowed
                for; within ``call``, tensors; or callables without arguments.
            inputs: what the loss depends on, as Keras 1 and 2 asked for; of no effect.
        """
        symbolic = [one for one in tree.leaves(loss) if isinstance(one, KerasTensor)]
        if not symbolic:
            super().add_loss(loss)
            return
        self._needed_graph("symbolic losses")
        self.__dict__["_symbolic_losses"] = (*self._symbolic_losses, *symbolic)
        self._extend_graph()
        super().add_loss([])

    def add_metric(self, value: Any, name: str | None = None, aggregation: str = "mean") -> None:
        """Report the mean of a value over the epoch, as Keras 2 did.

        Args:
            value: a symbolic tensor that follows from the model's inputs; within ``call``, a
                tensor.
            name: that it is reported by.
            aggregation: must be ``'mean'``.

        Raises:
            ValueError: for another aggregation, without a name, or for one that is taken.
        """
        if not isinstance(value, KerasTensor):
            super().add_metric(value, name, aggregation)
            return
        self._needed_graph("symbolic metrics")
        self._make_added_metric(name, aggregation)
        if name in dict(self._symbolic_metrics):
            raise ValueError(f"add_metric: model {self.name!r} has a metric {name!r} already.")
        self.__dict__["_symbolic_metrics"] = (*self._symbolic_metrics, (name, value))
        self._extend_graph()

    @property
    def _has_extras(self) -> bool:
        return bool(self._symbolic_losses or self._symbolic_metrics)

    def _extend_graph(self) -> None:
        """Let the graph compute the symbolic losses and metrics beside the outputs."""
        values = [value for _, value in self._symbolic_metrics]
        outputs = (self._outputs, (list(self._symbolic_losses), values))
        self.__dict__["_graph"] = Graph(self._graph.inputs, outputs)
        self._own_operations()


def _paths(structure: Any, path: str = "") -> Iterator[str]:
    """Yield the names of symbolic outputs, in the order of ``tree.flatten``."""
    is_inside = bool(path)
    if isinstance(structure, Mapping):
        for key in tree.keys(structure):
            part = structure[key]
            if tree.is_nested(part):
                yield from _paths(part, f"{path}{key}/")
            else:
                yield f"{path}{key}"
    elif isinstance(structure, (list, tuple)):
        for index, part in enumerate(structure):
            if tree.is_nested(part):
                yield from _paths(part, f"{path}{index}/")
            else:
                yield f"{path}{part.source.name}"
    else:
        yield f"{path}{structure.source.name}" if is_inside else structure.source.name


def _one_or_all(shapes: list[Any]) -> Any:
    return shapes[0] if len(shapes) == 1 else shapes


def _from_inputs(name: str, inputs: Any, outputs: Any) -> tuple[Any, Any]:
    """Put an ``Input`` where a model begins in the middle of a graph; copy what follows."""
    given = tree.flatten(inputs)
    if len(set(map(id, given))) != len(given):
        raise ValueError(f"Model {name!r}: each input may be given once; received {given}.")
    if all(isinstance(one.source, InputLayer) for one in given):
        return inputs, outputs
    fresh = [
        one
        if isinstance(one.source, InputLayer)
        else Input(batch_shape=one.shape, dtype=one.dtype, name=_clone_name(one))
        for one in given
    ]
    cut = Graph(inputs, outputs)
    entries = {(one._node, one._index): new for one, new in zip(given, fresh)}
    return tree.pack_like(inputs, fresh), cut.repeated(entries)


def _clone_name(tensor: KerasTensor) -> str | None:
    if tensor.source is None:
        return None
    return f"{tensor.source.name}_clone{f'_{tensor._index}' if tensor._index else ''}"
