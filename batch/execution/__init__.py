"""Have a run done: in this process, or by workers."""
