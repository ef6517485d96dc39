"""What Keras' `fit` lacks for several processes is known to be lacking, and looked for."""

import pytest

from dentalzoo.errors import DentalzooError
from dentalzoo.training.replicas import check_keras


def test_this_keras_works_as_known():
    check_keras()


def test_another_trainer_is_refused_by_name():
    import keras

    class Other(keras.Model):
        def make_train_function(self, force=False):
            self.train_function = None

    with pytest.raises(DentalzooError, match="install keras 3.15.*make_train_function without"):
        check_keras(Other)
    with pytest.raises(DentalzooError, match="_symbolic_build without 'data_batch'"):
        check_keras(object)
