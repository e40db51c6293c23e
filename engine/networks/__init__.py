"""The networks of a class, from layers to generator, encoder and trunks."""
