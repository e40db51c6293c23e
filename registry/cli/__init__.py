"""Commands of the library: click in, a call, a print; the texts stand beside them."""
