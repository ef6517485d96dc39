"""Variational autoencoders: losses, the model, and the convolutional networks that papers share.

Kingma and Welling 2013, arXiv:1312.6114; the importance-weighted bound: Burda et al. 2015,
arXiv:1509.00519. Everything here runs on each backend of Keras.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, Self

import keras
from keras import layers, ops

from dentalzoo.nn.losses import MeanOverBatch, Tensor
from dentalzoo.nn.replicas import mean_over_replicas, place_in_batch

if TYPE_CHECKING:
    import tensorflow as tf

LIKELIHOODS = ("bernoulli", "gaussian")


def log_likelihood(
    image: Tensor, reconstruction: Tensor, likelihood: str = "bernoulli", sigma: float = 0.1
) -> Tensor:
    """Return log p(x | z) of images, summed over height, width and channels, in nats.

    Args:
        image, reconstruction: (B, H, W, C) float32 in [0, 1].
        likelihood: "bernoulli", the negative cross-entropy; or "gaussian" of deviation `sigma`.

    Returns:
        (B,) float32.
    """
    if likelihood == "bernoulli":
        return -ops.sum(ops.binary_crossentropy(image, reconstruction), axis=(1, 2, 3))
    squares = ops.square((image - reconstruction) / sigma)
    return -ops.sum(0.5 * squares + math.log(sigma * math.sqrt(2 * math.pi)), axis=(1, 2, 3))


def kl_divergence(z_mean: Tensor, z_log_var: Tensor) -> Tensor:
    """Return KL(N(mean, exp(log_var)) || N(0, 1)) of each latent unit, (B, D) float32, in nats."""
    return -0.5 * (1 + z_log_var - ops.square(z_mean) - ops.exp(z_log_var))


def importance_bound(log_p_x: Tensor, z: Tensor, z_mean: Tensor, z_log_var: Tensor) -> Tensor:
    """Return the k-sample bound of log p(x): log mean_k p(x, z_k) / q(z_k | x); k = 1 is the ELBO.

    Args:
        log_p_x: log p(x | z), (k, B).
        z: the samples, (k, B, D).
        z_mean, z_log_var: (B, D).

    Returns:
        (B,), in nats.
    """
    log_p_z = -0.5 * ops.square(z)  # both densities without log(2 pi) / 2, which cancels
    log_q_z = -0.5 * (z_log_var + ops.square(z - z_mean) / ops.exp(z_log_var))
    log_weights = log_p_x + ops.sum(log_p_z - log_q_z, axis=-1)
    return ops.logsumexp(log_weights, axis=0) - math.log(log_weights.shape[0])


@keras.saving.register_keras_serializable("dentalzoo")
class Sampling(layers.Layer):
    """z = mean + exp(log_var / 2) * noise, with noise from N(0, 1).

    Called with [mean, log_var], (B, D) each; returns (k * B, D): B rows for each of the k samples.

    Args:
        samples: k.
        seed: of the noise; from Keras' global seed where None.
    """

    def __init__(self, samples: int = 1, seed: int | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.samples, self.seed = samples, seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, inputs: Sequence[Tensor]) -> Tensor:
        mean, log_var = (ops.tile(tensor, (self.samples, 1)) for tensor in inputs)
        return mean + ops.exp(0.5 * log_var) * self._noise(inputs[0])

    def _noise(self, mean: Tensor) -> Tensor:
        """Return the noise of these samples: on several replicas that of one device, cut alike."""
        first, total = place_in_batch(mean)
        rows, size = ops.shape(mean)
        noise = keras.random.normal(
            (self.samples * total, size), dtype=mean.dtype, seed=self.seed_generator
        )
        noise = ops.reshape(noise, (self.samples, total, size))[:, first : first + rows]
        return ops.reshape(noise, (self.samples * rows, size))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "samples": self.samples, "seed": self.seed}


@keras.saving.register_keras_serializable("dentalzoo")
class FittedPrior(layers.Layer):
    """The normal distribution that the samples of the encoder have, kept as moving moments.

    The posteriors of all images together are N(0, I) in theory only. Called with noise (B, D),
    returns samples (B, D): mean + noise @ L^T, L L^T the covariance. Sampling from such a fit is
    that of Ghosh et al. 2020, arXiv:1903.12436, section 4.

    Args:
        momentum: of the moments, over batches.
    """

    def __init__(self, momentum: float = 0.99, **options: Any) -> None:
        super().__init__(trainable=False, **options)
        self.momentum = momentum

    def build(self, shape: tuple[int | None, ...]) -> None:
        size = shape[-1]
        options: dict[str, Any] = {"trainable": False, "aggregation": "mean"}
        self.mean = self.add_weight(shape=(size,), initializer="zeros", name="mean", **options)
        self.moments = self.add_weight(
            shape=(size, size), initializer="identity", name="moments", **options
        )

    def update(self, z: Tensor) -> None:
        """Move the moments towards those of a batch of samples (B, D)."""
        z = ops.stop_gradient(z)
        products = ops.matmul(ops.transpose(z), z) / ops.cast(ops.shape(z)[0], z.dtype)
        for moment, of_batch in ((self.mean, ops.mean(z, axis=0)), (self.moments, products)):
            of_batch = mean_over_replicas(of_batch, ops.shape(z)[0])
            moment.assign(self.momentum * moment + (1 - self.momentum) * of_batch)

    def call(self, noise: Tensor) -> Tensor:
        mean, moments = ops.convert_to_tensor(self.mean), ops.convert_to_tensor(self.moments)
        covariance = moments - ops.outer(mean, mean) + 1e-6 * ops.eye(mean.shape[0])
        return mean + ops.matmul(noise, ops.transpose(ops.cholesky(covariance)))

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "momentum": self.momentum}


@keras.saving.register_keras_serializable("dentalzoo")
class VAE(keras.Model):
    """A variational autoencoder that carries its own loss: compile it with an optimizer alone.

    image (B, H, W, C) float32 in [0, 1] -> {"reconstruction": (B, H, W, C), "z_mean": (B, D),
    "z_log_var": (B, D), "z": (B, D)}; with k samples, k * B rows of "reconstruction" and "z".

    Args:
        encoder: image -> [mean, log_var, z], its `z` made by a layer of that name, a `Sampling`.
        decoder: z -> image.
        likelihood, sigma: see `log_likelihood`.
        beta: factor on the KL divergence.
        kl_reduction: over the latent units, "sum", the bound, or "mean".
        free_bits: nats of each latent unit that cost nothing (arXiv:1606.04934, C.8).
        warmup_steps: steps over which beta rises from 0; while training only.
        fitted_prior: keep a `FittedPrior` of the samples, as the model `prior`.

    The reported losses are `reconstruction_loss` (negative log-likelihood) and `kl_loss`, both in
    nats an image. With more than one sample the loss is the negative importance-weighted bound,
    without beta and free bits.
    """

    def __init__(
        self,
        encoder: keras.Model,
        decoder: keras.Model,
        *,
        likelihood: str = "bernoulli",
        sigma: float = 0.1,
        beta: float = 1.0,
        kl_reduction: str = "sum",
        free_bits: float = 0.0,
        warmup_steps: int = 0,
        fitted_prior: bool = False,
        name: str = "vae",
    ) -> None:
        image = keras.Input(encoder.input_shape[1:], name="image")
        z_mean, z_log_var, z = encoder(image)
        outputs = {"reconstruction": decoder(z), "z_mean": z_mean, "z_log_var": z_log_var, "z": z}
        if fitted_prior:
            noise = keras.Input(z_mean.shape[1:])
            moments = FittedPrior(name="moments", dtype="float32")
            prior = keras.Model(noise, moments(noise), name="prior")
            # An output, the prior's mean, so that its weights are the model's.
            outputs["prior"] = prior(0.0 * z_mean)
        super().__init__(inputs=image, outputs=outputs, name=name)
        self.encoder, self.decoder = encoder, decoder
        self.likelihood, self.sigma, self.beta = likelihood, sigma, beta
        self.kl_reduction, self.free_bits = kl_reduction, free_bits
        self.warmup_steps = warmup_steps
        self.samples = encoder.get_layer("z").samples
        self.fitted_prior = fitted_prior
        self.reconstruction_tracker = keras.metrics.Mean(name="reconstruction_loss")
        self.kl_tracker = keras.metrics.Mean(name="kl_loss")
        self.mean_over_batch = MeanOverBatch(name="mean_over_batch")

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Tensor:
        loss, reconstruction, kl = self.losses_of(x, y_pred, training)
        if training and self.fitted_prior:
            self.get_layer("prior").get_layer("moments").update(y_pred["z"])
        self.reconstruction_tracker.update_state(reconstruction)
        self.kl_tracker.update_state(kl)
        return self.mean_over_batch(loss, loss)

    def losses_of(
        self, image: Tensor, outputs: dict[str, Tensor], training: bool = False
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return loss, negative log-likelihood and KL divergence of each image, (B,) each."""
        image = ops.cast(image, "float32")
        outputs = {key: ops.cast(value, "float32") for key, value in outputs.items()}
        z_mean, z_log_var, z = (outputs[key] for key in ("z_mean", "z_log_var", "z"))
        log_p_x = log_likelihood(
            ops.tile(image, (self.samples, 1, 1, 1)),
            outputs["reconstruction"],
            self.likelihood,
            self.sigma,
        )
        log_p_x = ops.reshape(log_p_x, (self.samples, -1))
        reconstruction = -ops.mean(log_p_x, axis=0)
        over_units = ops.sum if self.kl_reduction == "sum" else ops.mean
        units = kl_divergence(z_mean, z_log_var)
        kl = over_units(units, axis=-1)
        if self.samples > 1:
            z = ops.reshape(z, (self.samples, -1, z.shape[-1]))
            return -importance_bound(log_p_x, z, z_mean, z_log_var), reconstruction, kl
        beta, priced = self.beta, kl
        if training and self.warmup_steps:
            step = ops.cast(self.optimizer.iterations, "float32")
            beta = beta * ops.minimum(1.0, step / self.warmup_steps)
        if self.free_bits:
            mean = ops.mean(units, axis=0, keepdims=True)
            mean = mean_over_replicas(mean, ops.shape(units)[0])
            in_batch = ops.maximum(mean, self.free_bits)
            priced = over_units(in_batch, axis=-1)
        return reconstruction + beta * priced, reconstruction, kl

    def get_config(self) -> dict[str, Any]:
        parts = {key: keras.saving.serialize_keras_object(getattr(self, key)) for key in _PARTS}
        return {**parts, **{key: getattr(self, key) for key in _OPTIONS}}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        parts = {key: keras.saving.deserialize_keras_object(config[key]) for key in _PARTS}
        return cls(**{**config, **parts})


_PARTS = ("encoder", "decoder")
_OPTIONS = (
    *("likelihood", "sigma", "beta", "kl_reduction"),
    *("free_bits", "warmup_steps", "fitted_prior", "name"),
)


def conv_encoder(
    size: Sequence[int],
    channels: int,
    latent_dim: int,
    *,
    filters: Sequence[int] = (32, 64),
    hidden: int = 16,
    hidden_activation: str = "relu",
    activation: str = "relu",
    samples: int = 1,
    seed: int | None = None,
) -> keras.Model:
    """Build the encoder of the Keras example, for any size, depth and width.

    Returns:
        A `keras.Model` "encoder": image (B, H, W, C) -> [mean (B, D), log_var (B, D), z].
    """
    x = image = keras.Input((*size, channels))
    for number in filters:
        x = layers.Conv2D(number, 3, strides=2, padding="same", activation=activation)(x)
    x = layers.Flatten()(x)
    x = layers.Dense(hidden, activation=hidden_activation, name="hidden")(x)
    return latent_head(image, x, latent_dim, samples, seed)


def latent_head(
    image: Tensor, x: Tensor, latent_dim: int, samples: int = 1, seed: int | None = None
) -> keras.Model:
    """Complete an encoder from its features (B, F): a model image -> [mean, log_var, z]."""
    # In float32 even under mixed precision: the exponential of log_var follows.
    z_mean = layers.Dense(latent_dim, name="z_mean", dtype="float32")(x)
    z_log_var = layers.Dense(latent_dim, name="z_log_var", dtype="float32")(x)
    z = Sampling(samples, seed, name="z", dtype="float32")([z_mean, z_log_var])
    return keras.Model(image, [z_mean, z_log_var, z], name="encoder")


def conv_decoder(
    size: Sequence[int],
    channels: int,
    latent_dim: int,
    *,
    filters: Sequence[int] = (64, 32),
    activation: str = "relu",
) -> keras.Model:
    """Build the decoder of the Keras example, the mirror image of `conv_encoder`.

    Returns:
        A `keras.Model` "decoder": z (B, D) -> image (B, H, W, C) in (0, 1).
    """
    height, width = (side // 2 ** len(filters) for side in size)
    x = z = keras.Input((latent_dim,))
    x = layers.Dense(height * width * filters[0], activation=activation)(x)
    x = layers.Reshape((height, width, filters[0]))(x)
    for number in filters:
        x = layers.Conv2DTranspose(number, 3, strides=2, padding="same", activation=activation)(x)
    # In float32 even under mixed precision: bfloat16 rounds sigmoid(6) to 1, and logs follow.
    options: dict[str, Any] = {"padding": "same", "activation": "sigmoid", "dtype": "float32"}
    return keras.Model(z, layers.Conv2DTranspose(channels, 3, **options)(x), name="decoder")


class LatentConfig(Protocol):
    """The settings that `latent_signatures` needs."""

    @property
    def input_size(self) -> tuple[int, int]: ...

    @property
    def channels(self) -> int: ...

    @property
    def latent_dim(self) -> int: ...


def latent_signatures(
    model: Any, config: LatentConfig, invert: bool = False
) -> "Mapping[str, tf.types.experimental.PolymorphicFunction]":
    """Return the functions of a SavedModel that encode and decode, with all processing.

    - `encode`: images uint8 (B, h, w, 1 or 3), any size -> z_mean and z_log_var (B, D), and the
      image as the network read it, float32 (B, H, W, C) in [0, 1].
    - `encode_encoded`: encoded, string (B,), each the bytes of one PNG, JPEG, BMP or GIF, of any
      size -> the same; EXIF orientation is not applied.
    - `decode`: z float32 (B, D) -> image float32 (B, H, W, C) in [0, 1].

    Args:
        model: has the callables `encoder` and `decoder`.
        invert: the network works on 1 - image.
    """
    import tensorflow as tf

    from dentalzoo.data.io.graph import encoded_spec, files_to_network, image_spec, to_network

    size, channels = config.input_size, config.channels

    @tf.function(input_signature=[tf.TensorSpec((None, *size, channels))])
    def encoded_by_network(image: Tensor) -> dict[str, Tensor]:
        z_mean, z_log_var, _ = model.encoder(1.0 - image if invert else image)
        return {"z_mean": z_mean, "z_log_var": z_log_var, "image": image}

    @tf.function(input_signature=[image_spec()])
    def encode(images: Tensor) -> dict[str, Tensor]:
        return encoded_by_network(to_network(images, size, channels))

    @tf.function(input_signature=[encoded_spec()])
    def encode_encoded(encoded: Tensor) -> dict[str, Tensor]:
        return encoded_by_network(files_to_network(encoded, size, channels)[0])

    @tf.function(input_signature=[tf.TensorSpec((None, config.latent_dim), tf.float32, "z")])
    def decode(z: Tensor) -> dict[str, Tensor]:
        image = model.decoder(z)
        return {"image": 1.0 - image if invert else image}

    return {"encode": encode, "encode_encoded": encode_encoded, "decode": decode}
