"""The stages that build the shipped bundle, one network each."""
