//! Holds nothing: its manifest selects features.
