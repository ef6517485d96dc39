"""The sub-commands: `do_NAME` calls one public function and prints what it returns.

Each takes the parsed options and returns the exit status, None for 0.
"""

from dentalzoo.commands.bundles import do_augment as do_augment
from dentalzoo.commands.bundles import do_compare as do_compare
from dentalzoo.commands.bundles import do_evaluate as do_evaluate
from dentalzoo.commands.bundles import do_export as do_export
from dentalzoo.commands.bundles import do_generate as do_generate
from dentalzoo.commands.bundles import do_info as do_info
from dentalzoo.commands.bundles import do_list as do_list
from dentalzoo.commands.bundles import do_predict as do_predict
from dentalzoo.commands.bundles import do_push as do_push
from dentalzoo.commands.bundles import do_superimpose as do_superimpose
from dentalzoo.commands.bundles import do_train as do_train
from dentalzoo.commands.bundles import do_verify as do_verify
from dentalzoo.commands.charts import do_chart as do_chart
from dentalzoo.commands.data import SYNTHETIC as SYNTHETIC
from dentalzoo.commands.data import do_agree as do_agree
from dentalzoo.commands.data import do_check as do_check
from dentalzoo.commands.data import do_convert as do_convert
from dentalzoo.commands.data import do_shape_model as do_shape_model
from dentalzoo.commands.data import do_split as do_split
from dentalzoo.commands.data import do_synthetic as do_synthetic
from dentalzoo.commands.data import do_tfrecord as do_tfrecord
from dentalzoo.commands.data import do_views as do_views
from dentalzoo.commands.serving import do_serve as do_serve
from dentalzoo.doctor import do_doctor as do_doctor
