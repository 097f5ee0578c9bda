"""After install(), every path of Keras means torchkeras."""

import importlib
import pickle
import sys
import types
import warnings

import pytest

import torchkeras
from torchkeras import eras
from torchkeras.compat import finder, install, load_ipython_extension, modules

TOPS = ("keras", "tf_keras", "tensorflow")


@pytest.fixture(autouse=True)
def imports_as_before():
    """Start with neither Keras nor an alias loaded, and put back what was there."""
    path = list(sys.meta_path)
    before = {
        name: module for name, module in sys.modules.items() if name.partition(".")[0] in TOPS
    }
    for name in before:
        del sys.modules[name]
    yield
    sys.meta_path[:] = path
    for name in [name for name in sys.modules if name.partition(".")[0] in TOPS]:
        del sys.modules[name]
    sys.modules.update(before)


@pytest.fixture
def installed():
    install()


def run(source):
    """Run lines of a user's script, and return its names."""
    names = {"__name__": "script"}
    exec(compile(source, "/home/user/script.py", "exec"), names)
    return names


@pytest.mark.usefixtures("installed")
class TestPaths:
    def test_names_are_torchkeras_own(self):
        names = run(
            """
import keras
import keras.layers.core as core
import tensorflow.keras as tfk
import tf_keras
from keras.layers import Dense
from keras.layers.core import Activation, Dense as CoreDense, Flatten
from keras.models import Sequential
from tensorflow import keras as keras_2
from tensorflow.keras.layers import Dense as TfDense
from tensorflow.python.keras.engine.sequential import Sequential as Sequential_2
"""
        )
        assert names["Dense"] is torchkeras.layers.Dense
        assert names["CoreDense"] is names["TfDense"] is names["Dense"]
        assert names["Flatten"] is torchkeras.layers.Flatten
        assert names["core"].Reshape is torchkeras.layers.Reshape
        assert names["Sequential"] is names["Sequential_2"] is torchkeras.models.Sequential
        assert names["keras"].Sequential is torchkeras.Sequential
        assert names["keras"] is names["tfk"] is names["tf_keras"] is names["keras_2"]
        assert names["keras"].layers is sys.modules["keras.layers"]

    @pytest.mark.parametrize(
        "statement, name, expected",
        [
            ("from keras.objectives import hinge as x", "losses", "hinge"),
            ("from keras.engine.topology import Layer as x", "layers", "Layer"),
            ("from keras.engine import InputSpec as x", "layers", "InputSpec"),
            ("from keras.engine.training import Model as x", "models", "Model"),
            ("from keras.utils.np_utils import to_categorical as x", "utils", "to_categorical"),
            ("from keras.utils import np_utils; x = np_utils.normalize", "utils", "normalize"),
            ("from keras.src.layers.core.dense import Dense as x", "layers", "Dense"),
            ("from keras.layers.normalization import BatchNormalization as x", "layers",
             "BatchNormalization"),
            ("from keras.api._v2.keras.layers import Dropout as x", "layers", "Dropout"),
            ("from tensorflow.contrib.keras.python.keras.layers import Dense as x", "layers",
             "Dense"),
            ("from tensorflow.compat.v1.keras.layers import Dense as x", "layers", "Dense"),
            ("import tensorflow as tf; x = tf.compat.v1.keras.layers.Dense", "layers", "Dense"),
            ("import tensorflow as tf; x = tf.keras.optimizers.Adam", "optimizers", "Adam"),
            ("from keras.optimizers import adam as x", "optimizers", "Adam"),
            ("from keras.src.optimizers.adam import Adam as x", "optimizers", "Adam"),
            ("from keras.constraints import maxnorm as x", "constraints", "MaxNorm"),
            ("from keras.regularizers import l1l2 as x", "regularizers", "l1_l2"),
            ("from keras.regularizers import WeightRegularizer as x", "regularizers", "L1L2"),
            ("from keras.saving import register_keras_serializable as x", "utils",
             "register_keras_serializable"),
        ],
    )  # fmt: skip
    def test_old_paths(self, statement, name, expected):
        assert run(statement)["x"] is getattr(getattr(torchkeras, name), expected)

    def test_every_path_with_its_module_can_be_imported(self):
        there = [path for path in modules.MODULES if modules.is_there(path)]
        assert {"layers.core", "objectives", "engine.topology", "utils.np_utils"} <= set(there)
        for path in there:
            name = f"keras.{path}" if path else "keras"
            module = importlib.import_module(name)
            assert module is importlib.import_module(name.replace("keras", "tf_keras", 1))

    def test_every_path_has_its_parent(self):
        parents = {path.rpartition(".")[0] for path in modules.MODULES}
        assert parents <= set(modules.MODULES)

    def test_star_import_brings_names_and_no_modules(self):
        names = run("from keras.layers import *\nfrom keras.losses import *")
        assert names["Dense"] is torchkeras.layers.Dense
        assert not [n for n, thing in names.items() if isinstance(thing, types.ModuleType)]

    def test_importing_a_path_leaves_torchkeras_as_it_is(self):
        core, losses = torchkeras.layers.core, torchkeras.losses
        run("import keras.layers.core, keras.objectives, keras.losses.losses")
        assert torchkeras.layers.core is core
        assert torchkeras.losses is losses
        assert not hasattr(torchkeras, "objectives")

    def test_reload_keeps_the_module(self):
        keras = importlib.import_module("keras")
        assert importlib.reload(keras) is keras

    def test_model_made_under_the_alias_survives_pickle(self):
        names = run(
            "import keras\n"
            "model = keras.models.Sequential([keras.layers.Dense(2, input_shape=(3,))])\n"
        )
        again = pickle.loads(pickle.dumps(names["model"]))
        assert type(again) is torchkeras.Sequential
        for a, b in zip(again.get_weights(), names["model"].get_weights()):
            assert (a == b).all()

    def test_dir_lists_names_and_modules(self):
        keras = importlib.import_module("keras")
        assert {"Sequential", "layers", "objectives"} <= set(dir(keras))
        assert "applications" not in dir(keras) or hasattr(keras, "applications")
        assert {"maxnorm", "max_norm"} <= set(dir(keras.constraints))


@pytest.mark.usefixtures("installed")
class TestWhatIsNotThere:
    @pytest.fixture(autouse=True)
    def without_some(self, monkeypatch):
        table = {"missing": ("torchkeras.missing",), "missing.part": ("torchkeras.missing.part",),
                 "old_missing": ("torchkeras.missing",)}  # fmt: skip
        for path, targets in table.items():
            monkeypatch.setitem(modules.MODULES, path, targets)

    @pytest.mark.parametrize(
        "statement, error, message",
        [
            ("import keras.missing", ModuleNotFoundError, "torchkeras has no keras.missing yet"),
            ("from keras.missing import part", ModuleNotFoundError, "no keras.missing yet"),
            ("from keras import missing", ImportError, "torchkeras has no keras.missing yet"),
            ("import keras.old_missing", ModuleNotFoundError, "it belongs to torchkeras.missing"),
            ("import keras; keras.missing", AttributeError, "torchkeras has no keras.missing yet"),
            ("import keras.nonsense", ModuleNotFoundError, "No module named 'keras.nonsense'"),
            ("from keras.layers import LSTMM", ImportError, "torchkeras has no keras.layers.LSTMM"),
            ("from keras.layers import Dnse", ImportError, "Did you mean 'Dense'"),
            ("from keras.layers.core import Dnse", ImportError, "no keras.layers.core.Dnse"),
            ("from keras.layers import *; LSTMM", NameError, "LSTMM"),
            ("import keras; keras.layers.LSTMM", AttributeError, "no keras.layers.LSTMM"),
            ("import keras; keras.layers._private", AttributeError, "keras.layers"),
        ],
    )  # fmt: skip
    def test_is_said(self, statement, error, message):
        with pytest.raises(error, match=message) as raised:
            run(statement)
        assert type(raised.value) is error

    def test_hasattr_is_false(self):
        layers = importlib.import_module("keras.layers")
        assert not hasattr(layers, "LSTMM")


class TestVersions:
    @pytest.mark.parametrize(
        "keras, version, tensorflow",
        [
            (1, "1.2.2", "1.15.0"),
            (2, "2.2.4", "1.15.0"),
            ("2.3.1", "2.3.1", "1.15.0"),
            ("tf2", "2.15.0", "2.15.0"),
            (3, "3.15.1", "2.18.0"),
        ],
    )
    def test_version_is_that_of_the_era(self, keras, version, tensorflow):
        install(keras)
        names = run("import keras, tensorflow as tf")
        assert names["keras"].__version__ == version
        assert names["keras"].version() == version
        assert names["tf"].__version__ == tensorflow

    def test_install_without_a_version_keeps_the_era(self):
        install(2)
        install()
        assert eras.version() == (2, 2, 4)
        assert sys.meta_path.count(finder._finder) == 1

    def test_unknown_version(self):
        with pytest.raises(ValueError, match="Unknown Keras version 'four'"):
            install("four")

    def test_ipython_extension(self):
        load_ipython_extension(None)
        assert run("import keras")["keras"].layers.Dense is torchkeras.layers.Dense


class TestRealKeras:
    def test_loaded_before_is_replaced_with_a_warning(self):
        real = types.ModuleType("keras")
        sys.modules["keras"] = real
        sys.modules["keras.layers"] = real.layers = types.ModuleType("keras.layers")
        with pytest.warns(UserWarning, match="keras was imported before torchkeras.install()"):
            install()
        assert run("from keras.layers import Dense")["Dense"] is torchkeras.layers.Dense

    def test_second_install_does_not_warn(self):
        install()
        run("import keras.layers, tensorflow.keras.layers")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            install()

    def test_installed_packages_get_torchkeras_too(self, tmp_path, monkeypatch, installed):
        package = tmp_path / "site-packages"
        package.mkdir()
        (package / "builds_on_keras.py").write_text("from keras.layers import Dense\n")
        monkeypatch.syspath_prepend(package)
        module = importlib.import_module("builds_on_keras")
        assert module.Dense is torchkeras.layers.Dense


PROBE = """
import importlib.util

def can_import():
    try:
        import tensorflow
    except ModuleNotFoundError:
        return False
    return True

def has_spec():
    return importlib.util.find_spec("tensorflow") is not None

AT_IMPORT = can_import(), has_spec()
"""


@pytest.mark.usefixtures("installed")
class TestFakeTensorFlow:
    @pytest.fixture
    def installed_package(self, tmp_path, monkeypatch):
        """Give a function that imports an installed package which looks for TensorFlow."""
        folder = tmp_path / "site-packages"
        folder.mkdir()
        for name in ("probe_1", "probe_2"):
            (folder / f"{name}.py").write_text(PROBE)
        monkeypatch.syspath_prepend(folder)
        yield importlib.import_module
        sys.modules.pop("probe_1", None)
        sys.modules.pop("probe_2", None)

    def test_installed_packages_do_not_see_it(self, installed_package):
        first = installed_package("probe_1")
        assert first.AT_IMPORT == (False, False)
        for statement in (
            "import tensorflow as tf; tf.keras.layers.Dense",
            "from tensorflow.keras.layers import Dense",
            "from tensorflow import keras; keras.layers",
            "import tensorflow as tf; tf.random.set_seed(1)",
            "from tensorflow.keras import layers; from tensorflow.keras.models import Sequential",
        ):
            run(statement)
            assert not first.has_spec(), statement
            assert not first.can_import(), statement
        run("import tensorflow")
        assert installed_package("probe_2").AT_IMPORT == (False, False)

    def test_the_users_code_sees_it_each_time(self, installed_package):
        names = run("import tensorflow as a, importlib.util\nimport probe_1, tensorflow as b")
        assert names["a"] is names["b"]
        assert run("import importlib.util as u; x = u.find_spec('tensorflow')")["x"] is not None

    def test_what_it_has(self):
        names = run(
            "import tensorflow as tf, torch\n"
            "tf.random.set_seed(7); a = torch.rand(3)\n"
            "tf.set_random_seed(7); b = torch.rand(3)\n"
            "cpus = tf.config.list_physical_devices('CPU')\n"
            "gpus = tf.config.list_physical_devices('GPU')\n"
            "tf.get_logger().setLevel('ERROR')\n"
        )
        assert (names["a"] == names["b"]).all()
        assert [device.device_type for device in names["cpus"]] == ["CPU"]
        assert len(names["gpus"]) == names["torch"].cuda.device_count()

    @pytest.mark.parametrize(
        "statement, error",
        [
            ("import tensorflow as tf; tf.Session()", AttributeError),
            ("import tensorflow as tf; tf.compat.v1.Session()", AttributeError),
            ("from tensorflow import Session", ImportError),
            ("import tensorflow.estimator", ModuleNotFoundError),
        ],
    )
    def test_what_it_lacks_is_said(self, statement, error):
        with pytest.raises(
            error, match=r"TensorFlow is not installed.*install TensorFlow"
        ) as raised:
            run(statement)
        assert type(raised.value) is error

    def test_a_folder_of_that_name_is_not_tensorflow(self, tmp_path, monkeypatch):
        (tmp_path / "tensorflow").mkdir()
        monkeypatch.syspath_prepend(tmp_path)
        assert run("from tensorflow.keras.layers import Dense")["Dense"] is torchkeras.layers.Dense


class TestRealTensorFlow:
    @pytest.fixture(autouse=True)
    def tensorflow(self, tmp_path, monkeypatch):
        """Install what takes tf.keras from the package keras, as TensorFlow does."""
        package = tmp_path / "site-packages" / "tensorflow"
        (package / "python" / "keras").mkdir(parents=True)
        (package / "__init__.py").write_text(
            "import importlib\n"
            "def constant(x): return x\n"
            "def __getattr__(name):\n"
            "    if name == 'keras':\n"
            "        return importlib.import_module('keras._tf_keras.keras')\n"
            "    raise AttributeError(name)\n"
        )
        (package / "python" / "__init__.py").write_text("")
        (package / "python" / "keras" / "__init__.py").write_text("OWN = True\n")
        (package / "uses_own.py").write_text("from tensorflow.python.keras import OWN\n")
        monkeypatch.syspath_prepend(package.parent)

    def test_keras_in_it_is_torchkeras_and_the_rest_its_own(self, installed):
        names = run(
            "import tensorflow as tf\n"
            "a = tf.keras.layers.Dense\n"
            "from tensorflow.keras.layers import Dense as b\n"
            "from tensorflow.python.keras.layers import Dense as c\n"
            "one = tf.constant(1)\n"
        )
        assert names["a"] is names["b"] is names["c"] is torchkeras.layers.Dense
        assert names["one"] == 1

    def test_its_own_copy_of_keras_is_for_itself(self, installed):
        assert run("import tensorflow.uses_own as own")["own"].OWN

    def test_loaded_before_install(self):
        tf = importlib.import_module("tensorflow")
        install()
        assert tf.keras is importlib.import_module("keras")


def test_functions_of_images_are_found_below_ops_alone():
    install()
    image = importlib.import_module("keras.ops.image")
    assert image.resize is importlib.import_module("keras.src.ops.image").resize
    assert image.resize is torchkeras.ops.image.resize
    assert importlib.import_module("keras").ops.image is image
    assert not hasattr(importlib.import_module("keras.ops"), "resize")
