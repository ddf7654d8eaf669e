"""How labs are executed: a template, settings and a kernel, which mkdocs-jupyter finds here."""
