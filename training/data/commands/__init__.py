"""The commands of `dabt data`, a file each: options in, words out."""
