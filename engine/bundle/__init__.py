"""A class on disk: bundle.json and safetensors, checked digest by digest."""
