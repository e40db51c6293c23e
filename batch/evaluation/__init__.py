"""How good editing vectors are: measured on images, stored with them, shown on a page."""
