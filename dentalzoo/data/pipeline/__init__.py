"""The shared tf.data pipeline: cache, order, augmentation, batches."""

from dentalzoo.data.pipeline.batches import Cache as Cache
from dentalzoo.data.pipeline.batches import balanced_order as balanced_order
from dentalzoo.data.pipeline.batches import batches as batches
from dentalzoo.data.pipeline.batches import epoch_order as epoch_order
