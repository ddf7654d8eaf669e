"""The charts: each function returns a Plotly figure whose numbers are calls into the package.

A trace's `meta` names its component or its place among lines; the site's style sheet gives that name a colour in each
scheme. Away from the site a figure has the light scheme's colours.
"""
