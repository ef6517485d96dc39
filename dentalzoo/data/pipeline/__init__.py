"""The shared tf.data pipeline: cache, order, augmentation, batches."""

from dentalzoo.data.pipeline.batching import Cache as Cache
from dentalzoo.data.pipeline.batching import balanced_order as balanced_order
from dentalzoo.data.pipeline.batching import batches as batches
from dentalzoo.data.pipeline.batching import epoch_order as epoch_order
