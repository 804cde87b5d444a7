"""Readers and writers of file formats, from and to arrays. They depend on no model and no data set."""
