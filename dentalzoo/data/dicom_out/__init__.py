"""Results as DICOM objects beside the radiograph they were computed from: SEG, SR and SC.

`writer.DicomWriter` is the entrance. Only it is imported without highdicom, the extra "dicom".
"""
