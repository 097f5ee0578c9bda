"""Models as Keras 2.3.1 wrote them in JSON, in the form that its source describes."""

import json


def text_of(class_name, config, version="2.3.1"):
    """What ``to_json`` of Keras 2 gives."""
    return json.dumps(
        {
            "class_name": class_name,
            "config": config,
            "keras_version": version,
            "backend": "tensorflow",
        }
    )


def entry(name, *shape):
    """An ``InputLayer`` among a model's layers."""
    config = {"batch_input_shape": [None, *shape], "dtype": "float32", "sparse": False}
    return in_graph("InputLayer", {**config, "name": name}, [])


def dense(name, units, activation="linear", **others):
    """The class and config of a ``Dense``."""
    config = {
        **{"name": name, "trainable": True},
        **others,
        "dtype": "float32",
        "units": units,
        "activation": activation,
        "use_bias": True,
        "kernel_initializer": {
            "class_name": "VarianceScaling",
            "config": {
                "scale": 1.0,
                "mode": "fan_avg",
                "distribution": "uniform",
                "seed": None,
            },
        },
        "bias_initializer": {"class_name": "Zeros", "config": {}},
        "kernel_regularizer": None,
        "bias_regularizer": {"class_name": "L1L2", "config": {"l1": 0.0, "l2": 0.25}},
        "activity_regularizer": None,
        "kernel_constraint": None,
        "bias_constraint": None,
    }
    return {"class_name": "Dense", "config": config}


def in_graph(class_name, config, calls):
    """A layer of a functional model: each call is a list of (layer, call, output)."""
    nodes = [[[*place, {}] for place in call] for call in calls]
    return {
        "name": config["name"],
        "class_name": class_name,
        "config": config,
        "inbound_nodes": nodes,
    }


def dense_in_graph(name, units, calls, activation="linear"):
    """A ``Dense`` of a functional model."""
    return in_graph("Dense", dense(name, units, activation)["config"], calls)


def named(name, **others):
    """The config of a layer that has little to say."""
    return {"name": name, "trainable": True, "dtype": "float32", **others}


def sequential():
    """A ``Sequential`` of 4 inputs."""
    layers = [
        dense("first", 5, "relu", batch_input_shape=[None, 4]),
        {"class_name": "Dropout", "config": named("drop", rate=0.5, noise_shape=None, seed=None)},
        {
            "class_name": "BatchNormalization",
            "config": named(
                "norm",
                axis=-1,
                momentum=0.99,
                epsilon=0.001,
                center=True,
                scale=True,
                beta_initializer={"class_name": "Zeros", "config": {}},
                gamma_initializer={"class_name": "Ones", "config": {}},
                moving_mean_initializer={"class_name": "Zeros", "config": {}},
                moving_variance_initializer={"class_name": "Ones", "config": {}},
                beta_regularizer=None,
                gamma_regularizer=None,
                beta_constraint=None,
                gamma_constraint=None,
            ),
        },
        dense("last", 2, "softmax"),
    ]
    config = {"name": "sequential_1", "layers": layers, "build_input_shape": [None, 4]}
    return text_of("Sequential", config)


def functional():
    """Two inputs; a model and a ``Sequential`` called twice each, numbered from 1; two outputs."""
    inner = {
        "name": "inner",
        "layers": [
            entry("inner_x", 3),
            dense_in_graph("up", 4, [[("inner_x", 0, 0)]], "tanh"),
            dense_in_graph("down", 3, [[("up", 0, 0)]]),
        ],
        "input_layers": [["inner_x", 0, 0]],
        "output_layers": [["down", 0, 0]],
    }
    chain = {
        "name": "chain",
        "layers": [dense("link", 3, batch_input_shape=[None, 3])],
        "build_input_shape": [None, 3],
    }
    layers = [
        entry("a", 3),
        entry("b", 3),
        in_graph("Model", inner, [[("a", 0, 0)], [("b", 0, 0)]]),
        in_graph("Sequential", chain, [[("inner", 1, 0)], [("inner", 2, 0)]]),
        in_graph("Add", named("sum"), [[("chain", 1, 0), ("chain", 2, 0)]]),
        in_graph("Concatenate", named("both", axis=-1), [[("sum", 0, 0), ("inner", 2, 0)]]),
        dense_in_graph("out", 1, [[("both", 0, 0)]], "sigmoid"),
    ]
    config = {
        "name": "model_1",
        "layers": layers,
        "input_layers": [["a", 0, 0], ["b", 0, 0]],
        "output_layers": [["out", 0, 0], ["chain", 2, 0]],
    }
    return text_of("Model", config)
