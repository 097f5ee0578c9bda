"""Everything that a training step may contain gives the same numbers captured as eager."""

import copy
import functools
import operator
import pickle
import threading

import numpy as np
import pytest
import torch
from torch import nn

import torchkeras as keras
from torchkeras import layers


class Hook(keras.callbacks.Callback):
    """Calls functions of the model and of what happened: ``Hook(epoch_end=lambda model, n: …)``."""

    def __init__(self, epoch_end=None, batch_end=None, epoch_begin=None):
        super().__init__()
        if epoch_end is not None:
            self.on_epoch_end = lambda epoch, logs=None: epoch_end(self.model, epoch)
        if epoch_begin is not None:
            self.on_epoch_begin = lambda epoch, logs=None: epoch_begin(self.model, epoch)
        if batch_end is not None:
            self._batch_end = batch_end
            self.__class__ = BatchHook


class BatchHook(Hook):
    """A class of its own: which hooks there are is seen by the class."""

    def on_train_batch_end(self, batch, logs=None):
        self._batch_end(self.model, batch)


def data(samples=43, classes=None, features=4, outputs=3):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(samples, features)).astype("float32")
    if classes:
        return x, rng.integers(0, classes, samples)
    return x, rng.normal(size=(samples, outputs)).astype("float32")


def dense(*middle, **settings):
    """Return a function that makes a compiled model; ``settings`` are compile's."""
    settings = {"optimizer": "adam", "loss": "mse", "metrics": ["mae"], **settings}

    def make(run_eagerly):
        keras.utils.set_random_seed(0)
        inner = [layer() for layer in middle]
        model = keras.Sequential(
            [layers.Input((4,)), layers.Dense(6, activation="tanh"), *inner, layers.Dense(3)]
        )
        given = {key: value() if callable(value) else value for key, value in settings.items()}
        model.compile(**given, run_eagerly=run_eagerly)
        return model

    return make


def state_of(model):
    return [*model.get_weights(), *model.optimizer.get_weights()]


def same(numbers, expected, tolerance=1e-6):
    assert len(numbers) == len(expected)
    for number, wanted in zip(numbers, expected):
        np.testing.assert_allclose(number, wanted, rtol=tolerance, atol=tolerance)


def trained(make, eager, between=None, callbacks=list, fits=2, epochs=3, given=None, **settings):
    """Fit several times; return the model and every number."""
    model = make(eager)
    keras.utils.set_random_seed(1)
    x, y = given or data()
    numbers = []
    for index in range(fits):
        if index and between is not None:
            between(model)
        fitted = model.fit(
            x, y, batch_size=8, epochs=epochs, verbose=0, callbacks=callbacks(), **settings
        )
        numbers += fitted.history.values()
    numbers += model.fit(x, y, batch_size=8, verbose=0).history.values()
    numbers.append(model.evaluate(x, y, batch_size=8, verbose=0))
    numbers.append(model.predict(x, batch_size=8, verbose=0))
    return model, numbers + state_of(model)


def compare(make, kind="captured", tolerance=1e-6, **settings):
    model, numbers = trained(make, False, **settings)
    _, expected = trained(make, True, **settings)
    same(numbers, expected, tolerance)
    report = model.step_report()
    assert report.kind == kind, report
    return model


# ------------------------------------------------------------------------------------ randomness


def outputs_of_steps(seed, layer, eager=False, steps=40):
    """Train a layer on ones with a rate of zero; return the outputs of each step."""
    keras.utils.set_random_seed(seed)
    seen = []

    class Keep(keras.metrics.Metric):
        def update_state(self, y_true, y_pred, sample_weight=None):
            seen.append(y_pred.detach().clone())

        def result(self):
            return 0.0

        def reset_state(self):
            pass

    model = keras.Sequential(
        [layers.Input((64,)), layers.Dense(64, kernel_initializer="identity"), layer()]
    )
    model.compile(keras.optimizers.SGD(0.0), "mse", metrics=[Keep()], run_eagerly=eager)
    ones = np.ones((8 * steps, 64), "float32")
    model.fit(ones, ones, batch_size=8, epochs=2, verbose=0)
    assert model.step_report().kind == ("eager" if eager else "captured")
    return torch.stack(seen[-2 * steps :])


DROPOUTS = {
    "plain": lambda: layers.Dropout(0.25),
    "seeded": lambda: layers.Dropout(0.25, seed=7),
    "shared mask": lambda: layers.Dropout(0.25, noise_shape=(None, 64)),
    "torch's": lambda: nn.Dropout(0.25),
}


@pytest.mark.parametrize("name", DROPOUTS)
def test_dropout_is_fresh_at_each_step(name):
    outputs = outputs_of_steps(0, DROPOUTS[name])
    masks = {step.ne(0).numpy().tobytes() for step in outputs}
    assert len(masks) == len(outputs)
    np.testing.assert_allclose(outputs.ne(0).float().mean(), 0.75, atol=0.01)
    torch.testing.assert_close(outputs.max(), torch.tensor(1 / 0.75))


@pytest.mark.parametrize("name", DROPOUTS)
def test_dropout_repeats_by_seed(name):
    first, again, other = (outputs_of_steps(seed, DROPOUTS[name]) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert torch.equal(first, other) is (name == "seeded")


def test_seeded_dropout_draws_what_it_draws_eagerly():
    compare(dense(lambda: layers.Dropout(0.3, seed=5)))


def test_noise_of_torch_draws_what_it_draws_eagerly():
    class Noise(layers.Layer):
        def call(self, inputs, training=False):
            return inputs + 0.1 * torch.randn_like(inputs) if training else inputs

    compare(dense(Noise))


# ----------------------------------------------------------------------------- layers and losses


def test_statistics_of_batch_norm():
    model = compare(dense(lambda: layers.BatchNormalization(momentum=0.9)))
    assert np.abs(model.layers[1].moving_mean.numpy()).max() > 0.01


def test_batch_norm_of_torch_counts_its_batches():
    model = compare(dense(lambda: nn.BatchNorm1d(6)))
    assert model.layers[1].module.num_batches_tracked == (2 * 3 + 1) * 6


def test_frozen_batch_norm():
    compare(dense(lambda: layers.BatchNormalization(trainable=False)))


@pytest.mark.parametrize("regularizer", ["l1", "l2", "l1_l2"])
def test_regularizers_of_weights_and_outputs(regularizer):
    compare(
        dense(
            lambda: layers.Dense(
                6,
                kernel_regularizer=regularizer,
                bias_regularizer=regularizer,
                activity_regularizer=regularizer,
            )
        )
    )


@pytest.mark.parametrize("constraint", ["max_norm", "non_neg", "unit_norm"])
def test_constraints(constraint):
    model = compare(dense(lambda: layers.Dense(6, kernel_constraint=constraint)))
    if constraint == "non_neg":
        assert model.layers[1].get_weights()[0].min() >= 0


@pytest.mark.parametrize(
    "clipping", [{"clipnorm": 0.05}, {"clipvalue": 0.01}, {"global_clipnorm": 0.05}]
)
def test_clipping(clipping):
    compare(dense(optimizer=lambda: keras.optimizers.SGD(0.1, **clipping)))


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True),
        lambda: keras.optimizers.Adam(0.01, amsgrad=True),
        lambda: keras.optimizers.AdamW(0.01, weight_decay=0.05),
        lambda: keras.optimizers.RMSprop(0.01, centered=True, momentum=0.5),
        lambda: keras.optimizers.Adagrad(0.1),
        lambda: keras.optimizers.Adadelta(1.0),
        lambda: keras.optimizers.Adamax(0.01),
        lambda: keras.optimizers.Nadam(0.01),
    ],
)
def test_optimizers(optimizer):
    compare(dense(optimizer=optimizer))


@pytest.mark.parametrize("loss", ["mse", "mae", "huber", "log_cosh", "cosine_similarity", "msle"])
def test_losses_of_numbers(loss):
    compare(dense(loss=loss))


def classes(activation, loss, units=3, **settings):
    settings = {"optimizer": "adam", "metrics": ["accuracy"], **settings}

    def make(run_eagerly):
        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [
                layers.Dense(8, activation="relu", input_shape=(4,)),
                layers.Dense(units, activation=activation),
            ]
        )
        model.compile(loss=loss, run_eagerly=run_eagerly, **settings)
        return model

    return make


def one_hot(samples=43):
    x, labels = data(samples, classes=3)
    return x, np.eye(3, dtype="float32")[labels]


CLASSIFIERS = {
    "binary": (classes("sigmoid", "binary_crossentropy", 1), data(classes=2)),
    "sparse": (classes("softmax", "sparse_categorical_crossentropy"), data(classes=3)),
    "categorical": (classes("softmax", "categorical_crossentropy"), one_hot()),
    "logits": (
        classes(None, keras.losses.SparseCategoricalCrossentropy(from_logits=True)),
        data(classes=3),
    ),
    "smoothed": (
        classes("softmax", keras.losses.CategoricalCrossentropy(label_smoothing=0.1)),
        one_hot(),
    ),
    "torch's": (classes(None, nn.CrossEntropyLoss()), data(classes=3)),
    "weighted torch's": (
        classes(None, nn.CrossEntropyLoss(torch.tensor([0.2, 1.0, 3.0]))),
        data(classes=3),
    ),
}


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_crossentropies(name):
    make, given = CLASSIFIERS[name]
    # (p - y) / n in the place of torch's backward rounds differently.
    compare(make, given=given, tolerance=1e-5)


@pytest.mark.parametrize("name", ["binary", "sparse"])
def test_class_weights(name):
    make, given = CLASSIFIERS[name]
    compare(make, given=given, tolerance=1e-5, class_weight={0: 0.3, 1: 2.0, 2: 1.0})


@pytest.mark.parametrize("name", ["binary", "sparse", "categorical"])
def test_sample_weights(name):
    make, given = CLASSIFIERS[name]
    weights = np.random.default_rng(1).random(43).astype("float32")
    compare(make, given=given, tolerance=1e-5, sample_weight=weights)


def test_weighted_metrics_and_loss_weights():
    make = dense(loss_weights=[0.3], weighted_metrics=["mae"], metrics=["mse"])
    compare(make, sample_weight=np.random.default_rng(1).random(43).astype("float32"))


def test_sample_weights_in_one_fit_and_none_in_the_next():
    x, y = data()
    weights = np.random.default_rng(1).random(43).astype("float32")
    results = []
    for eager in (False, True):
        model = dense()(eager)
        for weight in (weights, None, weights, weights * 2):
            keras.utils.set_random_seed(1)
            model.fit(x, y, batch_size=8, epochs=2, verbose=0, sample_weight=weight)
        results.append(state_of(model))
    same(*results)


# ------------------------------------------------------------------------------------- batches


@pytest.mark.parametrize("samples", [40, 41, 43, 7])
def test_the_last_short_batch(samples):
    compare(dense(), given=data(samples), epochs=4)


def test_batches_of_one():
    compare(dense(), given=data(17), epochs=4)


def test_batch_sizes_in_turns():
    x, y = data()
    results = []
    for eager in (False, True):
        model = dense(lambda: layers.BatchNormalization())(eager)
        for size in (8, 5, 8, 43, 5):
            keras.utils.set_random_seed(1)
            model.fit(x, y, batch_size=size, epochs=2, verbose=0)
        results.append(state_of(model))
    same(*results)


def test_steps_per_epoch():
    compare(dense(), steps_per_epoch=3, epochs=4)


@pytest.mark.parametrize("shuffle", [True, False, "batch"])
def test_shuffling(shuffle):
    compare(dense(), shuffle=shuffle)


def test_validation_within_fit():
    compare(dense(lambda: layers.BatchNormalization()), validation_split=0.3)


def test_inputs_of_other_dtypes_and_layouts():
    x, y = data()
    results = []
    for eager in (False, True):
        model = dense()(eager)
        keras.utils.set_random_seed(1)
        for given in (x, x.astype("float64"), np.asfortranarray(x), (x * 3).astype("int64"), x):
            model.fit(given, y, batch_size=8, epochs=2, verbose=0)
        results.append(state_of(model))
    same(*results)


# -------------------------------------------------------------------------- the learning rate


RATES = {
    "optimizer.learning_rate": lambda model, rate: setattr(model.optimizer, "learning_rate", rate),
    "optimizer.lr": lambda model, rate: setattr(model.optimizer, "lr", rate),
    "assign": lambda model, rate: model.optimizer.learning_rate.assign(rate),
    "param_groups": lambda model, rate: operator.setitem(
        model.optimizer.param_groups[0], "lr", rate
    ),
    "fill_": lambda model, rate: model.optimizer.param_groups[0]["lr"].fill_(rate),
    "lr.assign": lambda model, rate: model.optimizer.lr.assign(np.float32(rate)),
}


@pytest.mark.parametrize("way", RATES)
def test_learning_rate_at_the_end_of_epochs(way):
    def halve(model, epoch):
        RATES[way](model, 0.05 / 2**epoch)

    compare(dense(), callbacks=lambda: [Hook(epoch_end=halve)])


@pytest.mark.parametrize("way", RATES)
def test_learning_rate_at_each_batch(way):
    def cycle(model, batch):
        RATES[way](model, 0.01 + 0.01 * (batch % 3))

    compare(dense(), callbacks=lambda: [Hook(batch_end=cycle)])


def test_learning_rate_that_decays_with_the_updates():
    from torchkeras import eras

    before = eras.version()
    eras.set_version(2)
    try:
        compare(dense(optimizer=lambda: keras.optimizers.SGD(0.1, decay=0.1)))
    finally:
        eras.set_version(before)


# ------------------------------------------------------------------------------------- weights


def scaled(model, factor=0.9):
    model.set_weights([weight * np.float32(factor) for weight in model.get_weights()])


def assigned(model):
    kernel = model.layers[0].kernel
    kernel.assign(kernel.numpy() * 0.9)


def in_place(model):
    with torch.no_grad():
        model.layers[0].linear.weight.mul_(0.9)


def by_data(model):
    model.layers[0].linear.weight.data.mul_(0.9)


def other_data(model):
    weight = model.layers[0].linear.weight
    weight.data = weight.data * 0.9


def new_parameter(model):
    layer = model.layers[0]
    layer.linear.weight = nn.Parameter(layer.linear.weight.detach() * 0.9)


def loaded(model):
    model.load_state_dict({name: t * 0.9 for name, t in model.state_dict().items()})


def loaded_by_assigning(model):
    state = {name: t * 0.9 for name, t in model.state_dict().items()}
    model.load_state_dict(state, assign=True)


def copied(model):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter * 0.9)


WAYS = [
    scaled,
    assigned,
    in_place,
    by_data,
    other_data,
    new_parameter,
    loaded,
    loaded_by_assigning,
    copied,
]


@pytest.mark.parametrize("change", WAYS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("when", ["epoch_end", "batch_end", "epoch_begin"])
def test_weights_that_callbacks_change(change, when):
    compare(dense(), callbacks=lambda: [Hook(**{when: lambda model, _: change(model)})], fits=1)


@pytest.mark.parametrize("change", WAYS, ids=lambda f: f.__name__)
def test_weights_that_are_changed_between_fits(change):
    compare(dense(), between=change, fits=3)


def test_an_alias_of_a_weight_taken_before_fit():
    results = []
    for eager in (False, True):
        model = dense()(eager)
        alias = model.layers[0].linear.weight.data
        seen = []

        def act(model, epoch, alias=alias, seen=seen):
            seen.append(alias.clone().numpy())
            assert torch.equal(alias, model.layers[0].linear.weight)
            alias.mul_(0.9)

        keras.utils.set_random_seed(1)
        model.fit(*data(), batch_size=8, epochs=4, verbose=0, callbacks=[Hook(epoch_end=act)])
        alias.mul_(0.5)
        model.fit(*data(), batch_size=8, epochs=2, verbose=0)
        assert torch.equal(alias, model.layers[0].linear.weight)
        results.append(state_of(model) + seen)
    same(*results)


def test_weights_read_at_any_moment():
    def read(model):
        layer = model.layers[0]
        return [
            layer.kernel.numpy().copy(),
            layer.linear.weight.detach().clone().numpy().T,
            model.state_dict()["0.linear.weight"].clone().numpy().T,
            model.get_weights()[0],
        ]

    results = []
    for eager in (False, True):
        for when in ("epoch_end", "epoch_begin", "batch_end"):
            model = dense()(eager)
            seen = []

            def look(model, _, seen=seen):
                found = read(model)
                for other in found[1:]:
                    np.testing.assert_array_equal(found[0], other)
                seen.append(found[0])

            keras.utils.set_random_seed(1)
            hook = Hook(**{when: look})
            model.fit(*data(), batch_size=8, epochs=3, verbose=0, callbacks=[hook])
            results.append(seen)
    for one, two in zip(results[:3], results[3:]):
        same(one, two)


def test_weights_read_by_another_thread():
    model = dense()(False)
    x, y = data(400)
    seen, done = [], threading.Event()

    def read():
        while not done.is_set():
            seen.append(model.layers[0].kernel.numpy().copy())
            seen.append(model.get_weights()[0])
            seen.append(model.state_dict()["0.linear.weight"].clone().numpy().T)

    thread = threading.Thread(target=read)
    thread.start()
    try:
        model.fit(x, y, batch_size=8, epochs=5, verbose=0)
    finally:
        done.set()
        thread.join()
    assert np.isfinite(seen).all()
    # Changing as training does, not other memory with something else in it.
    assert np.abs(np.diff(seen, axis=0)).max() < 0.3
    assert np.abs(seen[-1] - seen[0]).max() > 0


# ---------------------------------------------------------------------------- trainable, recompile


@pytest.mark.parametrize("recompile", [True, False])
@pytest.mark.filterwarnings("ignore:.*trainable.*:UserWarning")
def test_trainable_flipped_between_fits(recompile):
    def flip(model):
        before = model.layers[0].get_weights()
        model.layers[0].trainable = not model.layers[0].trainable
        if recompile:
            model.compile("adam", "mse", metrics=["mae"], run_eagerly=model.run_eagerly)
        flips.append(before)

    flips = []
    model = compare(dense(), between=flip, fits=4)
    captured = flips[:3]
    # Without compile the flag has no effect, as in Keras.
    moved = [np.abs(one[0] - two[0]).max() for one, two in zip(captured, captured[1:])]
    assert bool(moved[0] == 0) is recompile
    assert model.layers[0].trainable is False


def test_requires_grad_flipped_between_fits():
    def flip(model):
        weight = model.layers[0].linear.weight
        weight.requires_grad_(not weight.requires_grad)

    compare(dense(), between=flip, fits=4)


def test_compiled_anew_with_another_loss_and_optimizer():
    def compile_again(model):
        model.compile("sgd", "mae", metrics=["mae"], run_eagerly=model.run_eagerly)

    compare(dense(), between=compile_again)


def test_layers_added_and_taken_away():
    def change(model):
        model.pop()
        model.add(layers.Dense(4, activation="tanh"))
        model.add(layers.Dense(3))
        model.compile("adam", "mse", metrics=["mae"], run_eagerly=model.run_eagerly)

    compare(dense(), between=change)


# ------------------------------------------------------------------------------ what models share


def test_a_layer_used_twice():
    def make(run_eagerly):
        keras.utils.set_random_seed(0)
        shared = layers.Dense(6, activation="tanh")
        model = keras.Sequential(
            [layers.Input((4,)), layers.Dense(6), shared, shared, layers.Dense(3)]
        )
        model.compile("adam", "mse", metrics=["mae"], run_eagerly=run_eagerly)
        return model

    compare(make)


def test_tied_parameters():
    def make(run_eagerly):
        keras.utils.set_random_seed(0)
        one, two = nn.Linear(6, 6), nn.Linear(6, 6)
        two.weight = one.weight
        model = keras.Sequential(
            [layers.Dense(6, input_shape=(4,)), one, nn.Tanh(), two, layers.Dense(3)]
        )
        model.compile("adam", "mse", metrics=["mae"], run_eagerly=run_eagerly)
        return model

    compare(make)


def test_parameters_that_share_memory():
    def make(run_eagerly):
        model = dense(lambda: layers.Dense(6), lambda: layers.Dense(6))(run_eagerly)
        model.layers[2].linear.weight.data = model.layers[1].linear.weight.data
        return model

    compare(make)


def test_layers_without_weights():
    compare(
        dense(lambda: layers.Reshape((2, 3)), layers.Flatten, lambda: layers.Activation("relu"))
    )


def test_a_model_without_weights():
    def make(run_eagerly):
        model = keras.Sequential([layers.Input((4,)), layers.Activation("tanh")])
        model.compile("sgd", "mse", metrics=["mae"], run_eagerly=run_eagerly)
        return model

    x, _ = data()
    with pytest.warns(UserWarning, match="no trainable weights"):
        compare(make, given=(x, x))


@pytest.mark.filterwarnings("ignore:.*Gradients do not exist.*:UserWarning")
def test_a_weight_without_gradient():
    class Idle(layers.Layer):
        def build(self, input_shape):
            self.idle = self.add_weight(shape=(3,), initializer="ones", name="idle")

        def call(self, inputs):
            return inputs

    model = compare(dense(Idle))
    assert (model.layers[1].get_weights()[0] == 1).all()


def test_two_models_in_turns():
    results = []
    for eager in (False, True):
        first = dense(lambda: layers.BatchNormalization())(eager)
        second = dense(optimizer="sgd")(eager)
        keras.utils.set_random_seed(1)
        for _ in range(3):
            for model in (first, second):
                model.fit(*data(), batch_size=8, epochs=2, verbose=0)
        results.append(state_of(first) + state_of(second))
    same(*results)


def test_two_models_that_share_a_layer():
    results = []
    for eager in (False, True):
        keras.utils.set_random_seed(0)
        shared = layers.Dense(6, activation="tanh", input_shape=(4,))
        models = [keras.Sequential([shared, layers.Dense(3)]) for _ in range(2)]
        for model, optimizer in zip(models, ("adam", "sgd")):
            model.compile(optimizer, "mse", run_eagerly=eager)
        keras.utils.set_random_seed(1)
        for _ in range(3):
            for model in models:
                model.fit(*data(), batch_size=8, epochs=2, verbose=0)
        results.append(state_of(models[0]) + state_of(models[1]))
        assert models[0].step_report().kind == ("eager" if eager else "captured")
    same(*results)


def test_another_model_with_a_shared_layer_is_trained_by_a_callback():
    results = []
    for eager in (False, True):
        keras.utils.set_random_seed(0)
        shared = layers.Dense(6, activation="tanh", input_shape=(4,))
        outer, inner = (keras.Sequential([shared, layers.Dense(3)]) for _ in range(2))
        for model in (outer, inner):
            model.compile("adam", "mse", run_eagerly=eager)

        def act(model, epoch, inner=inner):
            inner.fit(*data(), batch_size=8, epochs=2, verbose=0)

        keras.utils.set_random_seed(1)
        outer.fit(*data(), batch_size=8, epochs=4, verbose=0, callbacks=[Hook(epoch_end=act)])
        results.append(state_of(outer) + state_of(inner))
    same(*results)


# -------------------------------------------------------------------------- the optimizer's state


def by_weights(model):
    weights = model.optimizer.get_weights()
    model.optimizer.set_weights([weight * 0 for weight in weights[:1]] + weights[1:])


def by_state_dict(model):
    optimizer = model.optimizer
    state = copy.deepcopy(optimizer.state_dict())
    for slots in state["state"].values():
        for name in slots:
            slots[name] = slots[name] * 0.5
    optimizer.load_state_dict(state)


def slots_in_place(model):
    for slots in model.optimizer.state.values():
        for tensor in slots.values():
            tensor.mul_(0.5)


@pytest.mark.parametrize(
    "change", [by_weights, by_state_dict, slots_in_place], ids=lambda f: f.__name__
)
@pytest.mark.parametrize("when", ["between", "epoch_end", "batch_end"])
def test_state_of_the_optimizer_saved_and_restored(change, when):
    if when == "between":
        compare(dense(), between=change, fits=3)
    else:
        compare(dense(), callbacks=lambda: [Hook(**{when: lambda model, _: change(model)})])


def test_going_back_to_a_saved_moment():
    results = []
    for eager in (False, True):
        model = dense()(eager)
        x, y = data()
        model.fit(x, y, batch_size=8, epochs=3, shuffle=False, verbose=0)
        weights, state = model.get_weights(), model.optimizer.get_weights()
        losses = []
        for _ in range(2):
            model.set_weights(weights)
            model.optimizer.set_weights(state)
            fitted = model.fit(x, y, batch_size=8, epochs=3, shuffle=False, verbose=0)
            losses.append(fitted.history["loss"])
        np.testing.assert_array_equal(*losses)
        results += [losses[0]]
    same(*results)


def test_pickled_between_fits():
    results = []
    for eager in (False, True):
        model = dense(lambda: layers.BatchNormalization())(eager)
        keras.utils.set_random_seed(1)
        model.fit(*data(), batch_size=8, epochs=3, verbose=0)
        copy = pickle.loads(pickle.dumps(model))
        for one in (copy, model):
            keras.utils.set_random_seed(2)
            one.fit(*data(), batch_size=8, epochs=3, verbose=0)
        same(state_of(model), state_of(copy))
        assert copy.step_report().kind == ("eager" if eager else "captured")
        results.append(state_of(model))
    same(*results)


def test_train_on_batch_between_fits_and_in_callbacks():
    x, y = data()

    def one(model, *_):
        model.train_on_batch(x[:8], y[:8])

    compare(dense(), between=one, callbacks=lambda: [Hook(epoch_end=one)], fits=3)
    compare(dense(), callbacks=lambda: [Hook(batch_end=one)])


def test_steps_of_torch_between_fits():
    def step(model):
        x, y = (torch.from_numpy(part) for part in data())
        model.optimizer.zero_grad()
        (model(x) - y).square().mean().backward()
        model.optimizer.step()

    compare(dense(), between=step, fits=3)


# -------------------------------------------------------------------------------- dtype, device


def test_another_dtype_between_fits():
    def change(model):
        model.double() if model.get_weights()[0].dtype == np.float32 else model.float()

    compare(dense(), between=change, fits=3)


def test_another_memory_layout_between_fits():
    def change(model):
        weight = model.layers[0].linear.weight
        weight.data = weight.data.t().contiguous().t()

    compare(dense(), between=change, fits=3)


def test_moved_to_memory_of_its_own_between_fits():
    def change(model):
        model.to_empty(device="cpu")
        model.load_state_dict(saved)

    results = []
    for eager in (False, True):
        model = dense()(eager)
        keras.utils.set_random_seed(1)
        model.fit(*data(), batch_size=8, epochs=3, verbose=0)
        saved = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        change(model)
        model.fit(*data(), batch_size=8, epochs=3, verbose=0)
        results.append(model.get_weights())
    same(*results)


@pytest.mark.cuda
def test_moved_to_a_gpu_and_back():
    for device in ("cuda", "cpu"):

        def move(model, device=device):
            keras.config.set_device(device)
            model.to(device)

        try:
            compare(dense(), between=move, fits=2, tolerance=1e-4)
        finally:
            keras.config.set_device(None)


# ------------------------------------------------------------------------- evaluate and predict


@pytest.mark.parametrize(
    "middle", [[], [lambda: layers.BatchNormalization()], [lambda: layers.Dropout(0.5)]]
)
def test_evaluate_and_predict(middle):
    x, y = data()
    captured, eager = (dense(*middle)(eager) for eager in (False, True))
    for change in (1.0, 0.5, 2.0):
        for model in (captured, eager):
            scaled(model, change)
        for size in (8, 8, 5):
            same(*([m.evaluate(x, y, batch_size=size, verbose=0)] for m in (captured, eager)))
            same(*([m.predict(x, batch_size=size, verbose=0)] for m in (captured, eager)))
    same([captured.predict(x, verbose=0)], [captured(x).detach().numpy()])
    parts = captured.step_report().parts
    assert parts["evaluate"].kind == parts["predict"].kind == "captured"


def test_predictions_are_not_overwritten_by_later_ones():
    x, _ = data()
    model = dense()(False)
    for _ in range(3):
        first = model.predict(x, batch_size=8, verbose=0)
        kept = first.copy()
        model.predict(-x, batch_size=8, verbose=0)
        np.testing.assert_array_equal(first, kept)


def test_predict_within_inference_mode_and_outside():
    x, y = data()
    model, eager = dense()(False), dense()(True)
    expected = eager.predict(x, batch_size=8, verbose=0)
    for _ in range(2):
        with torch.inference_mode():
            same([model.predict(x, batch_size=8, verbose=0)], [expected])
        same([model.predict(x, batch_size=8, verbose=0)], [expected])
        with torch.no_grad():
            same([model.predict(x, batch_size=8, verbose=0)], [expected])
    same([model.evaluate(x, y, verbose=0)], [eager.evaluate(x, y, verbose=0)])


def test_fit_where_gradients_are_off():
    with torch.no_grad():
        compare(dense())


def test_weights_replaced_between_predictions():
    x, _ = data()
    for change in WAYS:
        captured, eager = dense()(False), dense()(True)
        for _ in range(3):
            same(*([m.predict(x, batch_size=8, verbose=0)] for m in (captured, eager)))
            change(captured)
            change(eager)


def test_fit_evaluate_and_predict_within_callbacks():
    x, y = data()
    results = []
    for eager in (False, True):
        model = dense(lambda: layers.BatchNormalization())(eager)
        seen = []

        def act(model, epoch, seen=seen):
            seen.append(model.evaluate(x, y, batch_size=8, verbose=0))
            seen.append(model.predict(x, batch_size=8, verbose=0))
            if epoch == 1:
                seen.append(model.fit(x, y, batch_size=8, epochs=2, verbose=0).history["loss"])

        for hook in (Hook(epoch_end=act), Hook(batch_end=act)):
            keras.utils.set_random_seed(1)
            fitted = model.fit(x, y, batch_size=8, epochs=3, verbose=0, callbacks=[hook])
            seen.append(fitted.history["loss"])
        results.append(seen + state_of(model))
    same(*results)


# ------------------------------------------------------------------------------------- threads


def in_threads(*functions):
    errors = []

    def guarded(function):
        try:
            function()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(function,)) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def test_four_threads_predict_with_one_model():
    model = dense(lambda: layers.Dropout(0.5))(False)
    inputs = [data(50 + 10 * index)[0] * (index + 1) for index in range(4)]
    expected = [model(x).detach().numpy() for x in inputs]
    outputs = [[] for _ in inputs]

    def predict(index):
        for _ in range(15):
            outputs[index].append(model.predict(inputs[index], batch_size=8, verbose=0))

    in_threads(*(lambda index=index: predict(index) for index in range(4)))
    for found, wanted in zip(outputs, expected):
        for output in found:
            same([output], [wanted])


def test_two_models_trained_in_two_threads():
    models = [dense(lambda: layers.BatchNormalization())(False) for _ in range(2)]
    expected = dense(lambda: layers.BatchNormalization())(True)

    def train(model):
        model.fit(*data(), batch_size=8, epochs=20, shuffle=False, verbose=0)

    in_threads(*(lambda model=model: train(model) for model in models))
    train(expected)
    for model in models:
        same(state_of(model), state_of(expected))
        assert model.step_report().kind == "captured"


# ---------------------------------------------------------------------------------- exceptions


class Broken(layers.Layer):
    """Raises when it is told to."""

    def __init__(self):
        super().__init__()
        self.left = -1

    def call(self, inputs):
        if self.left == 0:
            raise RuntimeError("broken")
        return inputs


@pytest.mark.parametrize("kind", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("where", ["epoch_begin", "epoch_end", "batch_end"])
def test_errors_in_callbacks_leave_a_usable_model(kind, where):
    def interrupt(model, index):
        if index == 2:
            raise kind

    def stop(model):
        with pytest.raises(kind):
            model.fit(
                *data(), batch_size=8, epochs=4, verbose=0, callbacks=[Hook(**{where: interrupt})]
            )
        assert model.training is False
        alias = model.layers[0].linear.weight
        assert alias.data_ptr() == alias.untyped_storage().data_ptr()

    compare(dense(), between=stop, fits=3)


def test_errors_in_steps_leave_a_usable_model():
    def stop(model):
        model.layers[1].left = 0
        with pytest.raises(RuntimeError, match="broken"):
            model.fit(*data(), batch_size=8, epochs=4, verbose=0)
        model.layers[1].left = -1
        assert torch._C._len_torch_dispatch_stack() == 0

    compare(dense(Broken), between=stop, fits=3)


def test_an_interrupt_while_steps_are_replayed():
    import signal

    x, y = data(400)
    model = dense()(False)
    model.fit(x, y, batch_size=8, epochs=2, verbose=0)
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    try:
        with pytest.raises(KeyboardInterrupt):
            model.fit(x, y, batch_size=8, epochs=100_000, verbose=0)
    finally:
        signal.signal(signal.SIGALRM, before)
    weights, state = model.get_weights(), model.optimizer.get_weights()
    assert all(np.isfinite(weight).all() for weight in weights)
    other = dense()(True)
    other.fit(x[:8], y[:8], verbose=0)
    for one in (model, other):
        one.set_weights(weights)
        one.optimizer.set_weights(state)
        one.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0)
    same(state_of(model), state_of(other))


def test_stop_training_in_the_middle_of_an_epoch():
    def stop(model, batch):
        model.stop_training = batch == 2

    compare(dense(), callbacks=lambda: [Hook(batch_end=stop)], fits=3)


def test_nan_in_the_data_gives_nan_and_no_error():
    make, (x, y) = CLASSIFIERS["binary"]
    x = x.copy()
    x[20] = np.nan
    compare(make, given=(x, y))


# ------------------------------------------------------------------------------ what stays eager


def test_run_eagerly_is_reported():
    model, _ = trained(dense(), True)
    assert model.step_report().kind == "eager"
    assert "run_eagerly" in model.step_report().reason
    assert "run_eagerly" in str(model.step_report())


def test_jit_compile_is_reported(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda model: model)
    model = keras.Sequential([layers.Dense(3, input_shape=(4,))])
    model.compile("sgd", "mse", jit_compile=True)
    model.fit(*data(), verbose=0)
    assert "torch.compile" in model.step_report().reason


def test_no_step_is_reported():
    model = dense()(False)
    assert model.step_report().kind == "none"
    assert str(model.step_report()) == "train: no step yet"


@pytest.mark.parametrize("kind", ["pre", "post", "global"])
def test_hooks_of_the_optimizer(kind):
    from torch.optim.optimizer import register_optimizer_step_post_hook

    calls = []

    def count(*args):
        calls.append(1)

    model = dense()(False)
    model.fit(*data(40), batch_size=8, epochs=2, verbose=0)
    if kind == "pre":
        handle = model.optimizer.register_step_pre_hook(count)
    elif kind == "post":
        handle = model.optimizer.register_step_post_hook(count)
    else:
        handle = register_optimizer_step_post_hook(count)
    model.fit(*data(40), batch_size=8, epochs=2, verbose=0)
    handle.remove()
    assert len(calls) == 10
    assert "hooks" in model.step_report().reason
    model.fit(*data(40), batch_size=8, epochs=2, verbose=0)
    assert len(calls) == 10
    assert model.step_report().kind == "captured"


@pytest.mark.parametrize("name", ["Adam", "SGD", "NAdam"])
def test_optimizers_of_torch(name):
    def halve(model, epoch):
        model.optimizer.learning_rate = 0.01 / (epoch + 1)

    results = []
    for eager in (False, True):
        model = dense()(eager)
        optimizer = functools.partial(getattr(torch.optim, name), lr=0.01)
        model.compile(optimizer, "mse", metrics=["mae"], run_eagerly=eager)
        keras.utils.set_random_seed(1)
        for _ in range(2):
            hook = Hook(epoch_end=halve)
            model.fit(*data(), batch_size=8, epochs=3, verbose=0, callbacks=[hook])
        results.append(model.get_weights())
        assert model.step_report().kind == "eager"
    same(*results)


def test_an_optimizer_of_the_users():
    class Signs(keras.optimizers.SGD):
        def _rule(self, parameters, gradients, slots, scalars):
            super()._rule(parameters, [g.sign() for g in gradients], slots, scalars)

    class Counting(keras.optimizers.SGD):
        steps = 0

        def _rule(self, parameters, gradients, slots, scalars):
            self.steps += 1
            factor = 1 / self.steps
            super()._rule(parameters, [g * factor for g in gradients], slots, scalars)

    compare(dense(optimizer=lambda: Signs(0.01)))
    compare(dense(optimizer=lambda: Counting(0.01)), kind="eager")


def test_constraints_and_regularizers_of_the_users():
    class Decay:
        def __init__(self):
            self.calls = 0

        def __call__(self, weight):
            self.calls += 1
            return 0.01 * weight.square().sum() / self.calls

    def halved(weight):
        return weight * 0.5

    compare(dense(lambda: layers.Dense(6, kernel_constraint=halved)))
    compare(dense(lambda: layers.Dense(6, kernel_regularizer=Decay())), kind="eager")


def test_a_user_function_that_comes_later_counts_as_the_users():
    scale = [1.0]

    def activation(x):
        return x * scale[0]

    def train(run_eagerly):
        scale[0] = 1.0
        keras.utils.set_random_seed(0)
        model = keras.Sequential([layers.Input((4,)), layers.Dense(3), layers.Dense(1)])
        model.compile("sgd", "mse", run_eagerly=run_eagerly)
        x = np.linspace(-1, 1, 96, dtype="float32").reshape(24, 4)
        losses = model.fit(x, x[:, :1], batch_size=4, epochs=2, verbose=0).history["loss"]
        model.layers[0].activation = activation
        losses += model.fit(x, x[:, :1], batch_size=4, epochs=2, verbose=0).history["loss"]
        scale[0] = 0.5
        losses += model.fit(x, x[:, :1], batch_size=4, epochs=2, verbose=0).history["loss"]
        return losses

    np.testing.assert_allclose(train(False), train(True), rtol=1e-6)


def test_a_penalty_that_comes_later_is_evaluated():
    model = keras.Sequential([layers.Input((4,)), layers.Dense(1, kernel_initializer="ones")])
    model.compile("sgd", "mse")
    x = np.zeros((12, 4), "float32")
    for _ in range(2):
        assert model.evaluate(x, x[:, :1], batch_size=3, verbose=0) == 0
    model.layers[0].kernel_regularizer = keras.regularizers.L2(0.5)
    for _ in range(2):
        assert model.evaluate(x, x[:, :1], batch_size=3, verbose=0) == pytest.approx(2.0)
