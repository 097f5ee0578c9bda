"""Which Keras a script is written for: one test a rule, and whole listings."""

import pytest

from torchkeras.compat.versions import era_of

MODULES = {
    "from keras.initializations import uniform": "1",
    "from keras.utils.visualize_util import plot": "1",
    "from keras.layers.core import Dense": "2",
    "from keras.layers.core import *": "2",
    "import keras.layers.convolutional as c; c.Conv2D": "2",
    "from keras.layers.normalization import BatchNormalization": "2",
    "from keras import objectives; objectives.mse": "2",
    "from keras.engine.topology import Layer": "2",
    "from keras.layers.merge import concatenate": "2",
    "from keras.utils import np_utils; np_utils.to_categorical(y)": "2",
    "from keras.wrappers.scikit_learn import KerasClassifier": "2",
    "from keras import ops; ops.relu(x)": "3",
    "import keras; keras.random.normal((2,))": "3",
    "from tensorflow.keras import layers": "tf2",
    "import tensorflow as tf; tf.keras.Sequential()": "tf2",
    "from tensorflow import keras": "tf2",
    "from tensorflow.python.keras.layers import Dense": "tf2",
    "import tf_keras": "tf2",
    "from tensorflow import keras; keras.ops.relu(x)": "3",
    "import keras": "3",
    "from keras.models import Sequential; from keras.layers import Dense": "3",
    "import keras; x = keras.Input((3,)); model.save('model.keras')": "3",
    "import torch, numpy": "3",
    "import tensorflow as tf; tf.constant(1)": "3",
    "": "3",
    "print 'not today\\'s Python'": "3",
}
NAMES = {
    "from keras.layers import Merge": "1",
    "from keras.layers.core import MaxoutDense": "1",
    "from keras.regularizers import l1l2": "1",
    "from keras import regularizers; regularizers.activity_l2(0.1)": "1",
    "from keras.layers import CuDNNLSTM": "2",
    "from keras.utils import multi_gpu_model": "2",
    "from keras.layers import LayerNormalization": "3",
    "import keras; keras.Variable(1)": "3",
}
ARGUMENTS = {
    "from keras.layers import Dense; Dense(output_dim=3)": "1",
    "from keras.layers import Dense; Dense(3, init='uniform')": "1",
    "import keras; keras.layers.Dense(3, W_regularizer=r)": "1",
    "from keras import layers as L; L.Dense(3, b_constraint=c)": "1",
    "from keras.layers import Dense as D; D(3, bias=False)": "1",
    "from keras.layers import LSTM; LSTM(3, inner_activation='tanh')": "1",
    "from keras.layers import Dropout; Dropout(p=0.5)": "1",
    "from keras.layers import BatchNormalization as B; B(mode=0)": "1",
    "from keras.layers import Convolution2D; Convolution2D(32, 3, 3)": "1",
    "from keras.layers import Conv2D; Conv2D(32, 3, border_mode='same')": "1",
    "from keras.layers import merge; merge([a, b], mode='concat')": "1",
    "from keras.models import Model; Model(input=a, output=b)": "1",
    "from keras.optimizers import SGD; SGD(lr=0.1)": "2",
    "from keras import optimizers; optimizers.Adam(lr=0.1, decay=0.1)": "2",
    "import keras; keras.optimizers.Adam(learning_rate=0.1)": "3",
    "import tensorflow as tf; tf.keras.optimizers.Adam(lr=0.1)": "tf2",
    # What was spelt so in all versions, or is not Keras', tells nothing.
    "from keras.layers import Embedding; Embedding(input_dim=9, output_dim=3)": "3",
    "from keras.layers import Dense; Dense(3, input_dim=8)": "3",
    "from keras.layers import Convolution2D; Convolution2D(32, (3, 3), (2, 2))": "3",
    "import keras; from torch import nn; nn.Dropout(p=0.5); nn.Linear(3, 3, bias=False)": "3",
    "import keras; from torch.optim import SGD; SGD(lr=0.1)": "3",
}
METHODS = {
    "from keras.models import Sequential; m.fit(x, y, nb_epoch=3)": "1",
    "import keras; m.fit_generator(g, samples_per_epoch=3, nb_epoch=2)": "1",
    "import keras; m.fit_generator(g, steps_per_epoch=3, epochs=2)": "2",
    "import keras; m.predict_classes(x)": "2",
    "import keras; m.fit(x, y, workers=4)": "2",
    "import keras; m.fit(x, y, epochs=3)": "3",
    "import tensorflow.keras; m.fit_generator(g)": "tf2",
    "import keras; train(nb_epoch=3)": "3",
    "m.fit(x, y, nb_epoch=3)": "3",
}
_COMPILE = "import keras; m.compile(metrics=['{}']); h = m.fit(x, y); "
HISTORY = {
    _COMPILE.format("accuracy") + "h.history['acc']": "2",
    _COMPILE.format("accuracy") + "plot(h.history['val_acc'])": "2",
    _COMPILE.format("acc") + "h.history['acc']": "3",
    _COMPILE.format("accuracy") + "h.history['accuracy']": "3",
    _COMPILE.format("accuracy") + "h.history['loss']": "3",
    _COMPILE.format("accuracy").replace("keras", "tensorflow.keras") + "h.history['acc']": "tf2",
}
CONTRADICTIONS = {
    "from keras.layers import Dense; Dense(units=3); Dense(output_dim=3)": "3",
    "import keras; m.fit(nb_epoch=1) if keras.__version__ < '2' else m.fit(epochs=1)": "3",
    "from tensorflow.keras.layers import Dense; Dense(output_dim=3)": "tf2",
}


@pytest.mark.parametrize(
    "script, era",
    [
        pair
        for table in (MODULES, NAMES, ARGUMENTS, METHODS, HISTORY, CONTRADICTIONS)
        for pair in table.items()
    ],
)
def test_rule(script, era):
    assert era_of(script) == era


def test_keras_1_listing():
    assert (
        era_of(b"""
import numpy
from keras.models import Sequential
from keras.layers import Dense
model = Sequential()
model.add(Dense(12, input_dim=8, init='uniform', activation='relu'))
model.compile(loss='binary_crossentropy', optimizer='adam', metrics=['accuracy'])
model.fit(X, Y, nb_epoch=150, batch_size=10)
""")
        == "1"
    )


def test_keras_2_listing():
    assert (
        era_of("""
from keras.models import Sequential
from keras.layers.core import Dense, Dropout
from keras.optimizers import RMSprop
from keras.utils import np_utils
y = np_utils.to_categorical(y, 10)
model.add(Dense(512, kernel_initializer='uniform'))
model.compile(optimizer=RMSprop(lr=0.001), metrics=['accuracy'])
history = model.fit(x, y, epochs=5)
plt.plot(history.history['acc'])
""")
        == "2"
    )


def test_a_listing_with_an_encoding():
    assert (
        era_of("# -*- coding: latin-1 -*-\nfrom keras import ops\nops.é = 1".encode("latin-1"))
        == "3"
    )
    assert era_of("# coding: latin-1\nimport tensorflow.keras as é".encode("latin-1")) == "tf2"
