"""Synthetic data (phantoms) with exact labels, for tests, demos and pre-training.

Panoramic radiographs, photographs of single teeth, grey surfaces with cracks and pores, upper jaws,
scans of them, and rows of upper crowns from a statistical shape model. The same seed and arguments
give the same data everywhere; NumPy's global random state is neither used nor changed.
"""

from dentalzoo.data.synthetic.crowns import CrownModel as CrownModel
from dentalzoo.data.synthetic.crowns import crown_row as crown_row
from dentalzoo.data.synthetic.crowns import read_crown_model as read_crown_model
from dentalzoo.data.synthetic.dataset import write_crown_rows as write_crown_rows
from dentalzoo.data.synthetic.dataset import write_jaw_dataset as write_jaw_dataset
from dentalzoo.data.synthetic.dataset import write_jaw_scans as write_jaw_scans
from dentalzoo.data.synthetic.dataset import write_panoramic_dataset as write_panoramic_dataset
from dentalzoo.data.synthetic.defects import DEFECTS as DEFECTS
from dentalzoo.data.synthetic.defects import TEXTURES as TEXTURES
from dentalzoo.data.synthetic.defects import Defect as Defect
from dentalzoo.data.synthetic.defects import defect as defect
from dentalzoo.data.synthetic.defects import write_defect_dataset as write_defect_dataset
from dentalzoo.data.synthetic.jaw import Jaw as Jaw
from dentalzoo.data.synthetic.jaw import upper_jaw as upper_jaw
from dentalzoo.data.synthetic.mouth import SHADES as SHADES
from dentalzoo.data.synthetic.photo import ToothPhoto as ToothPhoto
from dentalzoo.data.synthetic.photo import tooth_photo as tooth_photo
from dentalzoo.data.synthetic.photo import write_tooth_photos as write_tooth_photos
from dentalzoo.data.synthetic.radiograph import FINDINGS as FINDINGS
from dentalzoo.data.synthetic.radiograph import Finding as Finding
from dentalzoo.data.synthetic.radiograph import Panoramic as Panoramic
from dentalzoo.data.synthetic.radiograph import panoramic as panoramic
from dentalzoo.data.synthetic.scan import upper_scan as upper_scan
