"""What errors call the functions of keras.backend."""

import pytest
import torch

from torchkeras import backend as K, ops

A, B = torch.ones(2, 3), torch.ones(4, 5)


@pytest.mark.parametrize("name", "batch_dot dot equal less_equal maximum not_equal pow".split())
def test_errors_name_the_function_as_it_was_called(name):
    shapes = r"float32 of shape \(2, 3\), float32 of shape \(4, 5\): "
    with pytest.raises(ValueError, match=rf"^K\.{name} failed on {shapes}"):
        getattr(K, name)(A, B)


def test_functions_of_ops_keep_their_name():
    with pytest.raises(ValueError, match=r"^ops\.maximum failed on float32 of shape"):
        ops.maximum(A, B)
    with pytest.raises(ValueError, match=r"^ops\.sum failed on float32 of shape \(2, 3\)"):
        K.sum(A, axis=5)
