"""Panoramic films drawn by a seed, with exact labels: for tests, demos and pre-training."""

from dentalzoo.data.phantoms.dataset import write_panoramic_dataset as write_panoramic_dataset
from dentalzoo.data.phantoms.film import FINDINGS as FINDINGS
from dentalzoo.data.phantoms.film import Finding as Finding
from dentalzoo.data.phantoms.film import Panoramic as Panoramic
from dentalzoo.data.phantoms.film import panoramic as panoramic
