//! Images: decoding, resizing as Pillow does, and normalising.
