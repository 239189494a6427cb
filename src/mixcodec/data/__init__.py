"""Audio folders -> manifest -> packed store -> random segments. No torch in here: batches are numpy arrays.

data = open_data(DataConfig(root="corpus", split="train", validation=("klettres/nds",)))
with Prefetcher(data.train_segments().batch, start=step) as batches:
    for step, wave in batches:  # wave: (B, N) float32 in [-1, 1]
        ...
"""

from mixcodec.data.augment import Augment
from mixcodec.data.config import Data, DataConfig, open_data
from mixcodec.data.manifest import Broken, Entry, Manifest, build_manifest, split_by_speaker
from mixcodec.data.prefetch import Prefetcher
from mixcodec.data.segments import Segments
from mixcodec.data.store import Clip, Store, open_store

__all__ = [
    "Augment",
    "Broken",
    "Clip",
    "Data",
    "DataConfig",
    "Entry",
    "Manifest",
    "Prefetcher",
    "Segments",
    "Store",
    "build_manifest",
    "open_data",
    "open_store",
    "split_by_speaker",
]
