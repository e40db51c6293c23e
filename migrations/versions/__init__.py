"""One file per revision, in a straight line; the file's number is the revision."""
