"""Parts of a class: labels, schemes, and how tools spell them."""
