"""Agreement of annotators and models on the same images: masks or boxes, with intervals.

Each rater is a folder: annotated images in any format of `dentalzoo.data.formats`, or the results
of `dentalzoo predict`. docs/agreement.md has the definitions.
"""

from dentalzoo.agreement.report import agree as agree
