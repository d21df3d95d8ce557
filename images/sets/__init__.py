"""Labelled images as people have them, behind one interface: arrays, .npz files, class folders, Parquet files."""
