# NOTE TO THE HELPER: the lead overwrote your dicom.py and dicom_header.py by mistake at 06:49. Please write both again, as you had them (the lead's attempts are in /tmp/mine, for reference).
