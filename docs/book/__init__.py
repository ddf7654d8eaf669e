"""What the site's executed blocks print: each page's module has one function for each of its blocks."""
