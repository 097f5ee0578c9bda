"""The frozen discriminator of Keras 1 and 2: compiled, then frozen inside of a second model."""

import copy
import pickle
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from torchkeras import Input, Model, Sequential
from torchkeras.layers import BatchNormalization, Dense, Dropout
from torchkeras.optimizers import SGD, Adam

REAL = np.random.default_rng(0).normal(2.0, 1.0, size=(16, 2)).astype("float32")
NOISE = np.random.default_rng(1).normal(size=(16, 3)).astype("float32")
ONES, ZEROS = np.ones((16, 1), "float32"), np.zeros((16, 1), "float32")


def networks():
    generator = Sequential([Dense(6, activation="tanh", input_dim=3), Dense(2)])
    discriminator = Sequential(
        [Dense(6, activation="tanh", input_dim=2), Dense(1, activation="sigmoid")]
    )
    return generator, discriminator


def gan(rate=0.1):
    """Compile the discriminator, freeze it, compile both in one graph, as the old examples do."""
    generator, discriminator = networks()
    discriminator.compile(loss="binary_crossentropy", optimizer=SGD(rate))
    z = Input((3,))
    image = generator(z)
    discriminator.trainable = False
    combined = Model(z, discriminator(image))
    combined.compile(loss="binary_crossentropy", optimizer=SGD(rate))
    return generator, discriminator, combined


def train(generator, discriminator, combined, steps=4):
    """Train both in turns; return the losses of each step."""
    losses = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(steps):
            fake = generator.predict(NOISE, verbose=0)
            real_loss = discriminator.train_on_batch(REAL, ONES)
            fake_loss = discriminator.train_on_batch(fake, ZEROS)
            losses.append((real_loss, fake_loss, combined.train_on_batch(NOISE, ONES)))
    return losses


def plain_torch(generator, discriminator, rate=0.1, steps=4):
    """The same arithmetic in a loop of torch's own; returns the losses and both networks."""

    def twin(model, last):
        layers = []
        for kernel, bias in zip(*[iter(model.get_weights())] * 2):
            linear = nn.Linear(*kernel.shape)
            with torch.no_grad():
                linear.weight.copy_(torch.tensor(kernel.T))
                linear.bias.copy_(torch.tensor(bias))
            layers += [linear, nn.Tanh()]
        return nn.Sequential(*layers[:-1], *last)

    g, d = twin(generator, []), twin(discriminator, [nn.Sigmoid()])
    d_optimizer = torch.optim.SGD(d.parameters(), rate)
    g_optimizer = torch.optim.SGD(g.parameters(), rate)
    real, noise, ones, zeros = map(torch.tensor, (REAL, NOISE, ONES, ZEROS))

    def step(optimizer, outputs, targets):
        optimizer.zero_grad()
        loss = nn.functional.binary_cross_entropy(outputs, targets)
        loss.backward()
        optimizer.step()
        return loss.item()

    losses = []
    for _ in range(steps):
        fake = g(noise).detach()
        losses.append(
            (
                step(d_optimizer, d(real), ones),
                step(d_optimizer, d(fake), zeros),
                step(g_optimizer, d(g(noise)), ones),
            )
        )
    return losses, g, d


def test_discriminator_goes_on_training_and_the_combined_model_does_not_move_it():
    generator, discriminator, combined = gan()
    expected, g, d = plain_torch(generator, discriminator)
    found = train(generator, discriminator, combined)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    for model, torchs in ((generator, g), (discriminator, d)):
        kernels = [p.detach().numpy() for p in torchs.parameters()]
        for mine, other in zip(model.get_weights(), kernels, strict=True):
            np.testing.assert_allclose(mine, other.T, rtol=1e-4, atol=1e-6)


def test_each_step_moves_its_own_network_only():
    generator, discriminator, combined = gan()
    before = copy.deepcopy((generator.get_weights(), discriminator.get_weights()))
    combined.train_on_batch(NOISE, ONES)
    assert all(map(np.array_equal, discriminator.get_weights(), before[1]))
    assert not any(map(np.array_equal, generator.get_weights(), before[0]))
    moved = copy.deepcopy(generator.get_weights())
    with pytest.warns(UserWarning, match="changed after compile"):
        discriminator.train_on_batch(REAL, ONES)
    assert all(map(np.array_equal, generator.get_weights(), moved))
    assert not any(map(np.array_equal, discriminator.get_weights(), before[1]))


def test_fit_in_turns_does_what_train_on_batch_does():
    generator, discriminator, combined = gan()
    expected, _, _ = plain_torch(generator, discriminator, steps=3)
    found = []
    quiet = {"batch_size": 16, "epochs": 1, "verbose": 0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(3):
            fake = generator.predict(NOISE, verbose=0)
            runs = [
                discriminator.fit(REAL, ONES, **quiet),
                discriminator.fit(fake, ZEROS, **quiet),
                combined.fit(NOISE, ONES, **quiet),
            ]
            found.append(tuple(run.history["loss"][0] for run in runs))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_flags_are_the_users_between_steps():
    generator, discriminator, combined = gan()
    train(generator, discriminator, combined, steps=1)
    assert discriminator.trainable is False
    assert not any(p.requires_grad for p in discriminator.parameters())
    assert len(combined.trainable_weights) == 4 and len(discriminator.trainable_weights) == 0


def test_flags_set_back_and_forth_as_some_scripts_do():
    generator, discriminator, combined = gan()
    expected, _, _ = plain_torch(generator, discriminator, steps=3)
    found = []
    for _ in range(3):
        fake = generator.predict(NOISE, verbose=0)
        discriminator.trainable = True
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            losses = [discriminator.train_on_batch(REAL, ONES)]
            losses.append(discriminator.train_on_batch(fake, ZEROS))
            discriminator.trainable = False
            losses.append(combined.train_on_batch(NOISE, ONES))
        found.append(tuple(losses))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_frozen_batch_normalization_keeps_its_statistics_in_the_combined_model():
    discriminator = Sequential(
        [Dense(4, input_dim=2), BatchNormalization(), Dropout(0.5), Dense(1)]
    )
    generator = Sequential([Dense(2, input_dim=3)])
    discriminator.compile(SGD(0.1), "mse")
    z = Input((3,))
    discriminator.trainable = False
    combined = Model(z, discriminator(generator(z)))
    combined.compile(SGD(0.1), "mse")
    before = discriminator.layers[1].moving_mean.numpy()
    combined.train_on_batch(NOISE, ONES)
    assert np.array_equal(discriminator.layers[1].moving_mean.numpy(), before)
    with pytest.warns(UserWarning, match="changed after compile"):
        discriminator.train_on_batch(REAL, ONES)
    assert not np.array_equal(discriminator.layers[1].moving_mean.numpy(), before)


def test_the_optimizers_state_is_each_models_own_and_survives_copies():
    generator, discriminator, _ = gan()
    discriminator.trainable = True
    discriminator.compile(Adam(0.01), "binary_crossentropy")
    discriminator.trainable = False
    z = Input((3,))
    combined = Model(z, discriminator(generator(z)))
    combined.compile(Adam(0.02), "binary_crossentropy")
    train(generator, discriminator, combined, steps=2)
    assert int(discriminator.optimizer.iterations) == 4
    assert int(combined.optimizer.iterations) == 2
    for copied in (
        copy.deepcopy((generator, discriminator, combined)),
        pickle.loads(pickle.dumps((generator, discriminator, combined))),
    ):
        g, d, both = copied
        assert both.layers[-1] is d and g in both.layers
        assert int(d.optimizer.iterations) == 4
        originals = copy.deepcopy((generator, discriminator, combined))
        np.testing.assert_allclose(train(g, d, both), train(*originals), rtol=1e-6)
