"""The symbolic graph: tensors that are not there yet, what makes them, and the plan that runs."""

from torchkeras.graph.function import Function, Operation
from torchkeras.graph.node import Node, connect, enter, nodes_of
from torchkeras.graph.operation import HOMES, TorchCall, record, records
from torchkeras.graph.plan import Graph, layers_changed
from torchkeras.graph.tensor import KerasTensor, Spec, is_symbolic

__all__ = [
    "HOMES",
    "Function",
    "Graph",
    "KerasTensor",
    "Node",
    "Operation",
    "Spec",
    "TorchCall",
    "connect",
    "enter",
    "is_symbolic",
    "layers_changed",
    "nodes_of",
    "record",
    "records",
]
