"""Networks and algorithms of latent editing; knows torch, no database and no queue."""
