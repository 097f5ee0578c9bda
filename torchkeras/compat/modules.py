"""Every module path that any Keras had, and the modules that stand there: `keras.layers.core`, …

One table maps an old path to the torchkeras modules that hold what was found there.  What stands
at a path is a thin module: names are looked up in the torchkeras modules, so that
`keras.layers.Dense` *is* `torchkeras.layers.Dense`, and nothing of torchkeras is changed by having
aliases.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import importlib.util
import types
from collections.abc import Callable
from typing import Any

from torchkeras import eras

# Where Keras was found; longer paths first.  Each means the root of Keras.
ROOTS = (
    "tensorflow.contrib.keras.python.keras",
    "tensorflow.contrib.keras.api.keras",
    "tensorflow.contrib.keras",
    "tensorflow.python.keras.api._v1.keras",
    "tensorflow.python.keras.api._v2.keras",
    "tensorflow.python.keras.api.keras",
    "tensorflow.python.keras",
    "tensorflow.compat.v1.keras",
    "tensorflow.compat.v2.keras",
    "tensorflow._api.v1.keras",
    "tensorflow._api.v2.keras",
    "tensorflow.keras",
    "tf_keras.api._v1.keras",
    "tf_keras.api._v2.keras",
    "tf_keras.api",
    "tf_keras.src",
    "tf_keras",
    "keras._tf_keras.keras",
    "keras._tf_keras",
    "keras.api._v1.keras",
    "keras.api._v1",
    "keras.api._v2.keras",
    "keras.api._v2",
    "keras.api",
    "keras.src",
    "keras",
)

# The torchkeras modules (the first that has a name wins) <- the paths below `keras` that mean them.
_ROWS: dict[str, str] = {
    "activations": "activations activations.activations",
    "backend": """backend backend.common backend.config backend.load_backend backend.cntk_backend
        backend.numpy_backend backend.tensorflow_backend backend.theano_backend backend_config
        legacy.backend""",
    "callbacks": """callbacks callbacks.backup_and_restore callbacks.backup_and_restore_callback
        callbacks.callback callbacks.callback_list callbacks.callbacks callbacks.csv_logger
        callbacks.early_stopping callbacks.history callbacks.lambda_callback
        callbacks.learning_rate_scheduler callbacks.model_checkpoint callbacks.monitor_callback
        callbacks.orbax_checkpoint callbacks.progbar_logger callbacks.reduce_lr_on_plateau
        callbacks.remote_monitor callbacks.swap_ema_weights callbacks.tensorboard
        callbacks.tensorboard_v1 callbacks.tensorboard_v2 callbacks.terminate_on_nan
        callbacks_v1""",
    "config": "config",
    "constraints": "constraints constraints.constraints",
    "distillation": "distillation distillation.distillation_loss distillation.distiller",
    "distribution": "distribution distribution.distribution_lib",
    "dtype_policies dtypes": """dtype_policies dtype_policies.dtype_policy
        dtype_policies.dtype_policy_map""",
    "mixed_precision dtypes": """mixed_precision mixed_precision.dtype_policy
        mixed_precision.experimental mixed_precision.loss_scale
        mixed_precision.loss_scale_optimizer mixed_precision.policy""",
    "export": "export export.export_lib export.onnx export.saved_model export.tfsm_layer",
    "compat.initializations initializers": "initializations",
    "initializers": """initializers initializers.constant_initializers
        initializers.initializer initializers.initializers initializers.initializers_v1
        initializers.initializers_v2 initializers.random_initializers""",
    "layers": """layers layers.activation layers.activations layers.advanced_activations
        layers.attention layers.convolutional layers.convolutional_recurrent layers.core
        layers.cudnn_recurrent layers.dense_attention layers.einsum_dense layers.embeddings
        layers.experimental layers.experimental.preprocessing layers.input_spec layers.kernelized
        layers.layer layers.legacy_rnn layers.local layers.locally_connected layers.merge
        layers.merging layers.multi_head_attention layers.noise layers.normalization layers.pooling
        layers.preprocessing layers.recurrent layers.recurrent_v2 layers.regularization
        layers.reshaping layers.rnn layers.serialization layers.wrappers legacy
        legacy.layers""",
    "layers models graph": """engine engine.base_layer engine.base_layer_utils engine.base_layer_v1
        engine.functional engine.input_layer engine.input_spec engine.keras_tensor engine.network
        engine.node engine.sequential engine.topology""",
    "losses": "legacy.losses losses losses.loss losses.losses objectives",
    "metrics": """metrics metrics.accuracy_metrics metrics.base_metric metrics.confusion_metrics
        metrics.correlation_metrics metrics.f_score_metrics metrics.hinge_metrics
        metrics.iou_metrics metrics.metric metrics.metrics metrics.probabilistic_metrics
        metrics.py_metric metrics.reduction_metrics metrics.regression_metrics""",
    "losses utils": "utils.losses_utils",
    "metrics utils": "metrics.metrics_utils utils.metrics_utils",
    "models": """engine.training engine.training_v1 legacy.models models models.cloning
        models.functional models.model models.sequential models.variable_mapping""",
    "models layers": "layers.containers",
    "graph": "backend.common.keras_tensor ops.function ops.node ops.operation",
    "ops": """ops ops.core ops.einops ops.linalg ops.math ops.nn ops.numpy ops.operation_utils
        ops.symbolic_arguments""",
    "ops.image": "ops.image",
    "optimizers": """optimizer_v1 optimizer_v2 optimizers optimizers.base_optimizer
        optimizers.experimental optimizers.legacy optimizers.legacy_learning_rate_decay
        optimizers.loss_scale_optimizer optimizers.optimizer optimizers.optimizer_experimental
        optimizers.optimizer_v1 optimizers.optimizer_v2""",
    "optimizers.schedules optimizers": """optimizers.schedules
        optimizers.schedules.learning_rate_schedule""",
    "preprocessing": """legacy.preprocessing preprocessing preprocessing.dataset_utils
        preprocessing.image_dataset preprocessing.text_dataset preprocessing.timeseries""",
    "preprocessing.image": "legacy.preprocessing.image preprocessing.image",
    "preprocessing.sequence": "legacy.preprocessing.sequence preprocessing.sequence",
    "preprocessing.text": "legacy.preprocessing.text preprocessing.text",
    "quantizers": "quantizers quantizers.quantizers",
    "random": "random random.random random.seed_generator",
    "rematerialization": "backend.common.remat",
    "regularizers": "regularizers regularizers.regularizers",
    # The names of the user's own objects are the registry's.
    "saving registry": """engine.saving legacy.saving legacy.saving.legacy_h5_format
        legacy.saving.serialization saving saving.hdf5_format saving.legacy saving.model_config
        saving.object_registration saving.save saving.saving_api saving.saving_lib
        saving.saving_utils saving.serialization_lib""",
    "training": """engine.compile_utils engine.data_adapter engine.training_arrays
        engine.training_generator engine.training_utils trainers trainers.compile_utils
        trainers.data_adapters trainers.epoch_iterator trainers.trainer""",
    "stateless": "backend.common.stateless_scope",
    "tree": "tree tree.tree_api utils.nest utils.tree",
    "utils": """utils utils.all_utils utils.audio_dataset
        utils.audio_dataset_utils utils.bounding_boxes utils.conv_utils utils.data_utils
        utils.dataset_utils utils.dtype_utils utils.feature_space utils.file_utils
        utils.generic_utils utils.image_dataset utils.image_dataset_utils utils.image_utils
        utils.io_utils utils.layer_utils utils.legacy
        utils.model_visualization utils.multi_gpu_utils utils.naming utils.np_utils
        utils.numerical_utils utils.progbar utils.python_utils utils.rng_utils utils.sequence_utils
        utils.summary_utils utils.text_dataset utils.text_dataset_utils utils.tf_utils
        utils.timeseries_dataset utils.timeseries_dataset_utils utils.torch_utils
        utils.traceback_utils utils.training_utils utils.vis_utils utils.visualize_util""",
    "variable": "backend.common.name_scope backend.common.variables",
    "visualization": "visualization",
    "wrappers": """wrappers wrappers.scikit_learn wrappers.sklearn_wrapper""",
}
# Modules of the same name here and there.
_SAME = """applications applications.audio_conv_utils applications.convnext applications.densenet
    applications.efficientnet applications.efficientnet_v2 applications.imagenet_utils
    applications.inception_resnet_v2 applications.inception_v3 applications.mobilenet
    applications.mobilenet_v2 applications.mobilenet_v3 applications.music_tagger_crnn
    applications.nasnet applications.regnet applications.resnet applications.resnet50
    applications.resnet_rs applications.resnet_v2 applications.vgg16 applications.vgg19
    applications.xception datasets datasets.boston_housing datasets.california_housing
    datasets.cifar datasets.cifar10 datasets.cifar100 datasets.fashion_mnist datasets.imdb
    datasets.mnist datasets.reuters"""
# Folders of Keras' source since 2.6, and the files in them: what scripts import that went by an
# editor's suggestion.
_FILES: dict[str, str] = {
    "layers.activation": "elu leaky_relu prelu relu softmax thresholded_relu",
    "layers.activations": "activation elu leaky_relu prelu relu softmax",
    "layers.attention": """additive_attention attention base_dense_attention grouped_query_attention
        multi_head_attention""",
    "layers.convolutional": """base_conv base_conv_transpose base_depthwise_conv base_separable_conv
        conv1d conv1d_transpose conv2d conv2d_transpose conv3d conv3d_transpose depthwise_conv1d
        depthwise_conv2d separable_conv1d separable_conv2d""",
    "layers.core": """activation activity_regularization dense dropout einsum_dense embedding
        flatten identity input_layer lambda_layer masking permute repeat_vector reshape
        reversible_embedding spatial_dropout tf_op_layer wrapper""",
    "layers.locally_connected": "locally_connected1d locally_connected2d",
    "layers.merging": "add average base_merge concatenate dot maximum minimum multiply subtract",
    "layers.normalization": """batch_normalization batch_normalization_v1 group_normalization
        layer_normalization rms_normalization spectral_normalization unit_normalization""",
    "layers.pooling": """average_pooling1d average_pooling2d average_pooling3d base_global_pooling
        base_pooling global_average_pooling1d global_average_pooling2d global_average_pooling3d
        global_max_pooling1d global_max_pooling2d global_max_pooling3d max_pooling1d max_pooling2d
        max_pooling3d""",
    "layers.preprocessing": """category_encoding center_crop discretization hashed_crossing hashing
        image_preprocessing index_lookup integer_lookup mel_spectrogram normalization
        random_brightness random_contrast random_crop random_flip random_rotation
        random_translation random_zoom rescaling resizing string_lookup text_vectorization""",
    "layers.regularization": """activity_regularization alpha_dropout dropout gaussian_dropout
        gaussian_noise spatial_dropout spatial_dropout1d spatial_dropout2d spatial_dropout3d""",
    "layers.reshaping": """cropping1d cropping2d cropping3d flatten permute repeat_vector reshape
        up_sampling1d up_sampling2d up_sampling3d zero_padding1d zero_padding2d zero_padding3d""",
    "layers.rnn": """abstract_rnn_cell base_rnn base_wrapper bidirectional cell_wrappers conv_lstm1d
        conv_lstm2d conv_lstm3d cudnn_gru cudnn_lstm gru gru_v1 lstm lstm_v1 rnn simple_rnn
        stacked_rnn_cells time_distributed""",
    "optimizers": """adadelta adafactor adagrad adam adamax adamw ftrl lamb lion muon nadam rmsprop
        sgd""",
    "optimizers.legacy": """adadelta adagrad adam adamax ftrl gradient_descent nadam optimizer
        optimizer_v2 rmsprop sgd""",
    "optimizers.optimizer_experimental": """adadelta adafactor adagrad adam adamax adamw ftrl nadam
        optimizer rmsprop sgd""",
    "optimizers.optimizer_v2": """adadelta adagrad adam adamax ftrl gradient_descent nadam
        optimizer_v2 rmsprop""",
    "optimizer_v2": """adadelta adagrad adam adamax ftrl gradient_descent learning_rate_schedule
        nadam optimizer_v2 rmsprop""",
}


def _read_table() -> dict[str, tuple[str, ...]]:
    table: dict[str, tuple[str, ...]] = {"": ("torchkeras",)}
    for targets, paths in _ROWS.items():
        found = tuple(f"torchkeras.{target}" for target in targets.split())
        table.update((path, found) for path in paths.split())
    table.update((path, (f"torchkeras.{path}",)) for path in _SAME.split())
    for folder, files in _FILES.items():
        table.update((f"{folder}.{file}", table[folder]) for file in files.split())
    return table


# Path below `keras` ('' is Keras itself) -> the torchkeras modules that hold what was found there.
MODULES: dict[str, tuple[str, ...]] = _read_table()

# `keras.__version__` where an era names only the first numbers of a version.
_VERSIONS = {"1": "1.2.2", "2": "2.2.4", "tf2": "2.15.0", "3": "3.15.1"}


def keras_version() -> str:
    """Return what ``keras.__version__`` says: the version whose defaults are in force."""
    current = eras.version()
    for era, version in eras.ERAS.items():
        if version == current:
            return _VERSIONS[era]
    return ".".join(map(str, current))


# Layers that were called otherwise, in scripts and in configs.
LAYERS: dict[str, str] = {
    "AtrousConv1D": "Conv1D",
    "AtrousConv2D": "Conv2D",
    "AtrousConvolution1D": "Conv1D",
    "AtrousConvolution2D": "Conv2D",
    "Deconv2D": "Conv2DTranspose",
    "Deconv3D": "Conv3DTranspose",
    "Deconvolution2D": "Conv2DTranspose",
    "Deconvolution3D": "Conv3DTranspose",
}

# Path -> old name -> the name it has now in the same module, or the thing itself.
NAMES: dict[str, dict[str, str | Callable]] = {
    "": {"version": keras_version},
    "backend": {
        "get_variable_shape": "int_shape",
        "lesser": "less",
        "lesser_equal": "less_equal",
    },
    "constraints": {"maxnorm": "MaxNorm", "nonneg": "NonNeg", "unitnorm": "UnitNorm"},
    "layers": LAYERS,
    "optimizers": {
        "sgd": "SGD",
        "rmsprop": "RMSprop",
        "adagrad": "Adagrad",
        "adadelta": "Adadelta",
        "adam": "Adam",
        "adamax": "Adamax",
        "nadam": "Nadam",
    },
    "regularizers": {
        "ActivityRegularizer": "L1L2",
        "L1L2Regularizer": "L1L2",
        "WeightRegularizer": "L1L2",
        "activity_l1": "L1",
        "activity_l2": "L2",
        "activity_l1l2": "l1_l2",
        "l1l2": "l1_l2",
    },
    "utils": {"plot": "plot_model"},
}


_MISSING = object()


def is_folder(name: str) -> bool:
    """Tell whether a module name only stands on the way to a root of Keras."""
    return name not in ROOTS and any(root.startswith(f"{name}.") for root in ROOTS)


def path_of(name: str) -> str | None:
    """Return the path below ``keras`` that a full module name means, or ``None``.

    ``'tensorflow.keras.layers'`` gives ``'layers'``, ``'keras.src'`` gives ``''``; a mere folder on
    the way to a root, ``'tensorflow.contrib'``, gives ``None``.
    """
    if is_folder(name):
        return None
    for root in ROOTS:
        if name == root:
            return ""
        if name.startswith(root + "."):
            return name[len(root) + 1 :]
    return None


@functools.cache
def _exists(module: str) -> bool:
    """Tell whether torchkeras has a module, by its full name."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def is_there(path: str) -> bool:
    """Tell whether a path is one that Keras had, and torchkeras has what belongs there."""
    return any(_exists(target) for target in MODULES.get(path, ()))


def absence(path: str, name: str) -> str:
    """Say that torchkeras lacks a name or a module that is looked for at a path of Keras."""
    below = f"{path}.{name}" if path else name
    dotted = f"keras.{below}"
    targets = MODULES.get(below)
    if targets is not None:
        place = "" if targets[0] == f"torchkeras.{below}" else f" (it belongs to {targets[0]})"
        return f"torchkeras has no {dotted} yet{place}."
    things = [found for found in dir(alias(path)) if f"{path}.{found}".lstrip(".") not in MODULES]
    near = difflib.get_close_matches(name, things, n=3, cutoff=0.75)
    hint = f" Did you mean {' or '.join(repr(found) for found in near)}?" if near else ""
    return f"torchkeras has no {dotted} (yet).{hint}"


class Alias(types.ModuleType):
    """What stands at a module path of Keras: it looks names up in the modules of torchkeras.

    Args:
        path: below ``keras``; ``''`` is Keras itself.

    Attributes:
        when_used: called at each use.
    """

    when_used: Callable[[], None]

    def __init__(self, path: str):
        targets = [target for target in MODULES[path] if _exists(target)]
        modules = [importlib.import_module(target) for target in targets]
        super().__init__(f"keras.{path}" if path else "keras", modules[0].__doc__)
        self.__file__ = modules[0].__file__
        self.__path__: list[str] = []
        self._path = path
        self._modules = modules

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            if name == "__version__" and not self._path:
                return keras_version()
            if name == "__all__":
                return [found for found in dir(self) if not isinstance(getattr(self, found), Alias)]
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        self.when_used()
        for module in self._modules:
            found = getattr(module, name, _MISSING)
            if found is not _MISSING and not isinstance(found, types.ModuleType):
                return found
        old = self._old_names().get(name)
        if old is not None:
            return old if callable(old) else getattr(self, old)
        child = f"{self._path}.{name}" if self._path else name
        if is_there(child):
            return alias(child)
        raise AttributeError(absence(self._path, name))

    def __setattr__(self, name: str, value: Any) -> None:
        # What the import system adds for each submodule is found anyway.
        if not isinstance(value, Alias):
            super().__setattr__(name, value)

    def __repr__(self) -> str:
        return f"<module {self.__name__!r} of torchkeras>"

    def _old_names(self) -> dict[str, str | Callable]:
        """Return the old names of the modules that are meant."""
        found: dict[str, str | Callable] = {}
        for module in self._modules:
            found |= NAMES.get(module.__name__.removeprefix("torchkeras").lstrip("."), {})
        return found

    def __dir__(self) -> list[str]:
        names = {name for module in self._modules for name in _public(module)}
        names |= {name for name, old in self._old_names().items() if callable(old) or old in names}
        prefix = f"{self._path}." if self._path else ""
        children = (path[len(prefix) :] for path in MODULES if path.startswith(prefix))
        names |= {name for name in children if name and "." not in name and is_there(prefix + name)}
        return sorted(names)


def _public(module: types.ModuleType) -> list[str]:
    """Return the names that a module of torchkeras offers."""
    listed = getattr(module, "__all__", None)
    if listed is not None:
        return [name for name in listed if not isinstance(vars(module).get(name), types.ModuleType)]
    return [
        name
        for name, thing in vars(module).items()
        if not name.startswith("_") and getattr(thing, "__module__", None) == module.__name__
    ]


@functools.cache
def alias(path: str) -> Alias:
    """Return the module that stands at a path below ``keras``: always the same one."""
    return Alias(path)
