"""Pictures drawn by a seed, with exact labels: for tests, demos and pre-training.

Panoramic films, photographs of single teeth, grey surfaces with cracks and pores, upper jaws, and
rows of upper crowns from a statistical shape model.
"""

from dentalzoo.data.phantoms.crowns import CrownModel as CrownModel
from dentalzoo.data.phantoms.crowns import crown_row as crown_row
from dentalzoo.data.phantoms.crowns import read_crown_model as read_crown_model
from dentalzoo.data.phantoms.dataset import write_crown_rows as write_crown_rows
from dentalzoo.data.phantoms.dataset import write_jaw_dataset as write_jaw_dataset
from dentalzoo.data.phantoms.dataset import write_panoramic_dataset as write_panoramic_dataset
from dentalzoo.data.phantoms.defects import DEFECTS as DEFECTS
from dentalzoo.data.phantoms.defects import TEXTURES as TEXTURES
from dentalzoo.data.phantoms.defects import Defect as Defect
from dentalzoo.data.phantoms.defects import defect as defect
from dentalzoo.data.phantoms.defects import write_defect_dataset as write_defect_dataset
from dentalzoo.data.phantoms.film import FINDINGS as FINDINGS
from dentalzoo.data.phantoms.film import Finding as Finding
from dentalzoo.data.phantoms.film import Panoramic as Panoramic
from dentalzoo.data.phantoms.film import panoramic as panoramic
from dentalzoo.data.phantoms.jaw import Jaw as Jaw
from dentalzoo.data.phantoms.jaw import upper_jaw as upper_jaw
from dentalzoo.data.phantoms.mouth import SHADES as SHADES
from dentalzoo.data.phantoms.photo import ToothPhoto as ToothPhoto
from dentalzoo.data.phantoms.photo import tooth_photo as tooth_photo
from dentalzoo.data.phantoms.photo import write_tooth_photos as write_tooth_photos
