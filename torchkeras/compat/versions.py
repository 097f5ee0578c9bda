"""Which Keras a script is written for, read from its spellings and imports.

Eras are those of :mod:`torchkeras.eras`: 1 (Keras 1.2), 2 (Keras 2.0 to 2.2), tf2 (tf.keras 2), 3.
Each thing found in a script (an import, a call's argument, a key of the history) rules out the eras
that did not have it:

- ``MODULES``: a module path that only some versions had, such as ``keras.layers.core`` (1, 2) or
  ``keras.ops`` (3);
- ``NAMES``: a name taken from Keras, such as ``keras.layers.Merge`` (1) or ``CuDNNLSTM`` (2);
- ``ARGUMENTS``: an argument of a call to something taken from Keras, such as
  ``Dense(output_dim=…)`` (1), ``SGD(lr=…)`` (1, 2, tf2) or ``SGD(learning_rate=…)`` (tf2, 3);
- ``METHODS``: a method's argument, or a method, such as ``fit(nb_epoch=…)`` (1) or
  ``fit_generator`` (1, 2, tf2);
- ``Convolution2D(32, 3, 3)``, rows and columns apart (1);
- ``history['acc']`` where ``metrics`` say 'accuracy' (1, 2), and ``history['accuracy']`` (tf2, 3).

Of the eras left, the first in this order is it: 3, 2, tf2, 1 for a script that imports ``keras``;
tf2, 3 for ``tensorflow.keras``; tf2 for ``tf_keras``. A script that contradicts itself (one written
to run with several versions does) is taken as if only its imports were known; one that imports no
Keras, or cannot be parsed, is of era 3.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from torchkeras.compat import modules

Eras = frozenset[str]


def _eras(text: str) -> Eras:
    return frozenset(text.split())


_1, _2, _3 = _eras("1"), _eras("2"), _eras("3")
_OLD, _BEFORE_3, _SINCE_2, _SINCE_TF2 = map(_eras, ("1 2", "1 2 tf2", "2 tf2 3", "tf2 3"))

_PREFERENCE = {
    "keras": ("3", "2", "tf2", "1"),
    "tensorflow": ("tf2", "3"),
    "tf_keras": ("tf2",),
}

# The eras that had a module <- its path below `keras`. What is taken from it counts, since a name
# of Keras 1 may be a module of Keras 2 (`from keras.layers import merge`).
MODULES: dict[Eras, str] = {
    _1: "initializations utils.visualize_util",
    _OLD: """layers.advanced_activations layers.convolutional layers.convolutional_recurrent
        layers.core layers.embeddings layers.local layers.noise layers.normalization
        layers.pooling layers.recurrent layers.wrappers objectives engine.topology""",
    _2: """layers.cudnn_recurrent layers.merge legacy.interfaces legacy.layers
        utils.multi_gpu_utils""",
    _BEFORE_3: """engine utils.data_utils utils.generic_utils utils.io_utils utils.layer_utils
        utils.np_utils utils.vis_utils wrappers.scikit_learn""",
    _3: "distribution dtype_policies ops quantizers random tree",
}
# The eras that had a name <- its path below `keras`.
NAMES: dict[Eras, str] = {
    _1: """layers.AtrousConvolution1D layers.AtrousConvolution2D layers.Highway layers.MaxoutDense
        layers.Merge layers.TimeDistributedDense regularizers.ActivityRegularizer
        regularizers.WeightRegularizer regularizers.activity_l1 regularizers.activity_l1l2
        regularizers.activity_l2 regularizers.l1l2""",
    _2: "layers.CuDNNGRU layers.CuDNNLSTM utils.multi_gpu_model",
    _SINCE_2: """layers.Add layers.Average layers.Concatenate layers.Conv2DTranspose layers.Maximum
        layers.Multiply layers.Softmax layers.Subtract layers.add layers.concatenate
        layers.multiply""",
    _SINCE_TF2: """layers.LayerNormalization layers.MultiHeadAttention layers.Rescaling
        layers.TextVectorization losses.BinaryCrossentropy losses.CategoricalCrossentropy
        losses.MeanSquaredError losses.SparseCategoricalCrossentropy utils.set_random_seed""",
    _3: "Variable utils.PyDataset",
}

_RECURRENT = "GRU LSTM SimpleRNN"
_CONVOLUTIONS = """AtrousConvolution1D AtrousConvolution2D Conv1D Conv2D Conv3D Convolution1D
    Convolution2D Convolution3D Deconvolution2D SeparableConvolution2D"""
_POOLING = """AveragePooling1D AveragePooling2D AveragePooling3D MaxPooling1D MaxPooling2D
    MaxPooling3D"""
_WEIGHTED = f"Dense {_RECURRENT} {_CONVOLUTIONS}"
_OPTIMIZERS = "SGD RMSprop Adagrad Adadelta Adam Adamax Nadam"
# (what is called, its arguments) -> the eras that had them.
ARGUMENTS: dict[tuple[str, str], Eras] = {
    (f"Dense {_RECURRENT}", "output_dim"): _1,
    (f"{_WEIGHTED} Embedding", "init W_regularizer W_constraint"): _1,
    (_WEIGHTED, "b_regularizer b_constraint bias"): _1,
    (_RECURRENT, "inner_init inner_activation U_regularizer dropout_W dropout_U consume_less"): _1,
    (_CONVOLUTIONS, "nb_filter nb_row nb_col filter_length border_mode subsample dim_ordering"): _1,
    (_POOLING, "pool_length border_mode dim_ordering"): _1,
    ("BatchNormalization", "mode beta_init gamma_init"): _1,
    ("Dropout SpatialDropout1D SpatialDropout2D GaussianDropout", "p"): _1,
    ("GaussianNoise", "sigma"): _1,
    ("Model", "input output"): _1,
    ("merge", "mode"): _1,
    (f"Dense {_RECURRENT}", "units kernel_initializer kernel_regularizer use_bias"): _SINCE_2,
    (_CONVOLUTIONS, "filters kernel_size padding strides data_format"): _SINCE_2,
    (_POOLING, "padding data_format"): _SINCE_2,
    ("Dropout", "rate"): _SINCE_2,
    ("Model", "inputs outputs"): _SINCE_2,
    (_OPTIMIZERS, "lr decay"): _BEFORE_3,
    (_OPTIMIZERS, "learning_rate"): _SINCE_TF2,
}

# (methods, an argument or '' for the method itself) -> the eras that had it.
METHODS: dict[tuple[str, str], Eras] = {
    ("fit fit_generator", "nb_epoch"): _1,
    ("fit_generator", "samples_per_epoch nb_val_samples nb_worker max_q_size pickle_safe"): _1,
    ("fit fit_generator", "epochs"): _SINCE_2,
    ("fit_generator", "steps_per_epoch validation_steps"): _SINCE_2,
    ("fit_generator evaluate_generator predict_generator predict_classes", ""): _BEFORE_3,
    ("fit", "workers use_multiprocessing max_queue_size"): _eras("2 tf2"),
}


def era_of(source: str | bytes) -> str:
    """Return the era that a script is written for.

    Args:
        source: the script's text.

    Returns:
        ``'1'``, ``'2'``, ``'tf2'`` or ``'3'``.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return "3"
    script = _Script(tree)
    if not script.tops:
        return "3"
    top = next(name for name in ("tensorflow", "tf_keras", "keras") if name in script.tops)
    candidates = _PREFERENCE[top]
    left = frozenset(candidates)
    for found in script.evidence():
        left &= found
    return next((era for era in candidates if era in left), candidates[0])


class _Script:
    """What a script takes from Keras, and what it does with it."""

    def __init__(self, tree: ast.AST):
        self.nodes = list(ast.walk(tree))
        # Name in the script -> full name of what it stands for; all full names that are imported.
        self.names: dict[str, str] = {}
        self.imported: list[str] = []
        for node in self.nodes:
            if isinstance(node, ast.Import):
                self._read_import(node)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                self._read_from(node)
        used = [self._full_name(node) for node in self.nodes if isinstance(node, ast.Attribute)]
        taken = [name for name in (*self.imported, *used) if name]
        # Which package Keras is taken from.
        self.tops = {name.partition(".")[0] for name in taken if modules.path_of(name) is not None}
        self.paths = {modules.path_of(name) for name in taken} - {None}

    def _read_import(self, node: ast.Import) -> None:
        for item in node.names:
            self.imported.append(item.name)
            name = item.asname or item.name.partition(".")[0]
            self.names[name] = item.name if item.asname else name

    def _read_from(self, node: ast.ImportFrom) -> None:
        self.imported.append(node.module)
        for item in node.names:
            self.imported.append(f"{node.module}.{item.name}")
            self.names[item.asname or item.name] = f"{node.module}.{item.name}"

    def _full_name(self, node: ast.AST) -> str | None:
        """Return ``'tensorflow.keras.layers.Dense'`` for ``tf.keras.layers.Dense``."""
        parts = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if not isinstance(node, ast.Name) or node.id not in self.names:
            return None
        return ".".join([self.names[node.id], *reversed(parts)])

    def evidence(self) -> Iterator[Eras]:
        """Yield, for each thing that tells, the eras that had it."""
        for table, is_module in ((MODULES, True), (NAMES, False)):
            for eras, paths in table.items():
                for path in paths.split():
                    if any(self._is_path(found, path, is_module) for found in self.paths):
                        yield eras
        for node in self.nodes:
            if isinstance(node, ast.Call):
                yield from self._of_call(node)
        yield from self._of_history()

    @staticmethod
    def _is_path(found: str, path: str, is_module: bool) -> bool:
        if is_module:
            return found.startswith(path + ".")
        # A name counts wherever in its family it was: keras.layers.core.Merge.
        family, _, name = path.rpartition(".")
        return found.rpartition(".")[2] == name and found.startswith(family)

    def _of_call(self, node: ast.Call) -> Iterator[Eras]:
        arguments = {keyword.arg for keyword in node.keywords}
        path = modules.path_of(self._full_name(node.func) or "")
        if path is not None:
            called = path.rpartition(".")[2]
            for (names, old), eras in ARGUMENTS.items():
                if called in names.split() and arguments.intersection(old.split()):
                    yield eras
            sizes = node.args[1:3]
            is_pair = any(isinstance(size, (ast.Tuple, ast.List)) for size in sizes)
            if called == "Convolution2D" and len(sizes) == 2 and not is_pair:
                yield _1
        elif isinstance(node.func, ast.Attribute):
            for (methods, old), eras in METHODS.items():
                if node.func.attr in methods.split() and (
                    not old or arguments.intersection(old.split())
                ):
                    yield eras

    def _of_history(self) -> Iterator[Eras]:
        """Read the keys of ``….history[…]``: they tell how accuracy was named."""
        metrics = {
            constant.value
            for node in self.nodes
            if isinstance(node, ast.keyword) and node.arg == "metrics"
            for constant in ast.walk(node.value)
            if isinstance(constant, ast.Constant)
        }
        for node in self.nodes:
            if not (isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant)):
                continue
            if not (isinstance(node.value, ast.Attribute) and node.value.attr == "history"):
                continue
            key = str(node.slice.value).removeprefix("val_")
            if key == "acc" and "accuracy" in metrics and "acc" not in metrics:
                yield _OLD
            if key == "accuracy" and "accuracy" in metrics:
                yield _SINCE_TF2
