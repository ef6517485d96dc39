"""From a name, an address or a path to the folder of a bundle, downloaded where it has to be.

`names` has the one function that decides what a name means. `releases` (the zoo's own bundles),
`huggingface` (`hf://`), `addresses` (`https://`, `gs://`, ...) and `index` (the bundles of others)
each bring a bundle into the cache, `download` fetches a file, `cache` gives a bundle its name when
it is whole and verified.
"""

from dentalzoo.bundle.hub.folders import cache_dir as cache_dir
from dentalzoo.bundle.hub.folders import find as find
from dentalzoo.bundle.hub.folders import folders as folders
from dentalzoo.bundle.hub.names import on_disk as on_disk
from dentalzoo.bundle.hub.names import resolve as resolve
