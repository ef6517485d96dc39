"""The shared tf.data pipeline, its order decided once:

decode -> cache -> shuffle -> augment -> batch -> to float -> prefetch, of one shard.
"""

from dentalzoo.data.pipeline.batching import batches as batches
from dentalzoo.data.pipeline.cache import Cache as Cache
from dentalzoo.data.pipeline.order import balanced_order as balanced_order
from dentalzoo.data.pipeline.order import epoch_order as epoch_order
