"""The library of editing vectors: SQL, blobs and numpy; never torch."""
