"""Readers and writers of file formats: arrays in, arrays out. They know no model and no data set."""
